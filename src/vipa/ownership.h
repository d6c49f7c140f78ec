// SPDX-License-Identifier: Apache-2.0
// Ownership: who owns which DVIPA, decided in the coupling facility. A node whose definition block has VIPADEFINE
// takes owner/ADDRESS by compare-and-set, with its session; the revision that created the key is the ownership's
// epoch, which travels with everything said in the DVIPA's name (spec G5). Everybody watches and learns the owners
// and backups of all DVIPAs. Runs on the node's Executor alone.
//
//   vipa::Ownership ownership(facility, executor, {.cluster = "c1", .definition = config.definition}, {
//       .became_owner = [](const vipa::Acquired& a) { … a.dvipa, a.epoch, a.former … },
//       .lost = [](IpAddress dvipa, const std::string& reason) { … stop at once … }, …});
//   membership ready → ownership.start(identity);  membership session_lost → ownership.session_lost();
//   each period      → ownership.suspect(failure_detector.dead(now));
//
// Keys, under /testudo/CLUSTER/:
//   owner/ADDRESS         OwnerRecord (JSON), with the session
//   backup/ADDRESS/NAME   BackupRecord (JSON), with the session; of a node that defines the address with
//   kRankDefines
//
// Takeover (spec G1). A DVIPA goes to the highest-ranked of those who list themselves and are not suspected, by
// rank, then by name; who defines it stands above all ranks. The others follow, each a delay later, so that the
// address finds an owner though the first one does not act.
// - The owner is suspected: the next one removes its key, at the revision that it has seen, and creates it anew. (A
//   change of the existing key would leave `created` as it is, and that is the epoch.)
// - The key has vanished, as its session has ended or its owner has left: the next one creates it.
// - Every race is settled by compare-and-set. The one that was deposed hears of it by its watch, loses the DVIPA at
//   once and stands by for a while: it does not snatch the address from the one that is about to take it. Nor does
//   it depose its successor in turn until it has heard that one for as long: of two members whose cable is cut,
//   each finds the other dead, and both of them reach the facility.
// - An owner that was suspected already when it took the key has shown by this that it lives: it is deposed only
//   after it was not suspected once.
// - At the start of a cluster a DVIPA belongs to whoever defines it; a backup that has never seen an owner of it
//   waits for orphan_delay, longer than the key of a dead owner lives.
//
// Planned move (spec G1, G4), at the owner:
//
//   ownership.move(dvipa, "b")      the heir is written into the owner's record → event move_ready
//                                   … the data plane stops to forward, what it knows goes to the heir …
//   ownership.hand_over(dvipa)      the key is removed → event lost, "moved to b"; the heir takes it at once (event
//                                   became_owner, planned) and others only if it does not for heir_delay
//   ownership.abandon(dvipa)        instead of hand_over: it goes on to own. If the heir is dead or gone before
//                                   hand_over, Ownership does so itself → event move_failed
//
// Give-back: a node that defines the address, and finds that a backup has it, asks (event move_wanted) for it,
// until it has it: after its start, and after it was deposed or has lost its session. Not after it was moved away
// as planned, for as long as it runs. The owner's movement_of() says whether to move it at once.
//
// Facility away (failsafe.h): while it does not answer, an owner asks its backups each second (event ask) not to
// take over (event promise, at the backup). When its session ends and all of them have promised, it goes on to own
// under its epoch, for as long as they do; the facility does not know it then, and refuses its fenced writes. A
// backup promises only if it knows no newer owner, has not seen the owner's key vanish and has no claim of its own
// under way. It takes nothing over before its promises have run out, whatever the failure detector says. The key of
// the old session vanishes as the facility comes back; the owner, a member again, creates it anew: its epoch is a
// new one, though it has owned the address all the time (event renewed). If somebody else was first it has lost. An
// owner that has no backup stops with its session: nobody could say that he will not start meanwhile. A node that
// starts during such a time has promised nothing and may become the owner; its epoch then is the newer one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/executor.h"
#include "base/strong.h"
#include "facility/facility.h"
#include "vipa/definition.h"
#include "vipa/failsafe.h"
#include "vipa/membership.h"

namespace testudo::vipa {

/// What owner/ADDRESS holds.
struct OwnerRecord {
  std::string node;
  NodeId node_id;
  std::vector<Distribute> distributes;  // ports and targets; `at` is not kept
  std::uint32_t incarnation = 0;        // of the node: tells its own writes from a predecessor's
  std::uint32_t session = 0;
  bool as_backup = false;                    // it has taken the address over, and does not define it
  Movement movement = Movement::kImmediate;  // as VIPADEFINE says; handed down from owner to owner
  std::string heir;                          // whom it is about to hand the address over to; empty: nobody

  [[nodiscard]] std::string to_json() const;
  static Result<OwnerRecord> from_json(IpAddress dvipa, const std::string& text);
};

/// Rank of a node that has VIPADEFINE for the address: above all that VIPABACKUP can give.
inline constexpr std::uint8_t kRankDefines = 255;

/// What backup/ADDRESS/NAME holds.
struct BackupRecord {
  std::string node;
  NodeId node_id;
  std::uint8_t rank = 1;
  std::uint32_t incarnation = 0;
  std::uint32_t session = 0;

  [[nodiscard]] std::string to_json() const;
  static Result<BackupRecord> from_json(const std::string& text);
};

enum class Role : std::uint8_t { kOwner, kBackup, kNone };

/// One DVIPA of the cluster as this node sees it.
struct DvipaState {
  IpAddress address;
  std::optional<OwnerRecord> owner;   // nothing: nobody owns it now
  Epoch epoch;                        // of the present owner; of the last one while there is none
  std::vector<BackupRecord> backups;  // but the owner; highest rank first, then by name
  Role role = Role::kNone;            // of this node; who defines the address and does not own it is a backup
};

/// Who owned a DVIPA before.
struct Former {
  std::string node;
  NodeId node_id;
  std::uint32_t incarnation = 0;
  Epoch epoch;
};

/// This node has become the owner of a DVIPA.
struct Acquired {
  IpAddress dvipa;
  Epoch epoch;
  /// Nothing: no owner was known. May be this node itself, which had lost its session.
  std::optional<Former> former = {};
  /// The former owner has named this node its heir. It was about to hand over in order, but may have died before.
  bool planned = false;
  Time since;  // when the address was found without an owner, or its owner dead; else when it was claimed
};

struct OwnershipEvents {
  std::function<void(const Acquired&)> became_owner;
  /// This node owned it and must stop acting for it before this returns.
  std::function<void(IpAddress dvipa, const std::string& reason)> lost;
  /// Owner, epoch or backups of a DVIPA (of this node's too) have changed; after became_owner and lost.
  std::function<void(const DvipaState&)> changed;
  /// One line for the log.
  std::function<void(const std::string& line)> note;
  /// This node has gone on to own while the facility was away, and has a new epoch: `former` is itself, with the
  /// old one. Not set: lost and became_owner run instead.
  std::function<void(const Acquired&)> renewed = {};
  /// To be sent to another member, whose Ownership::asked() and promised() take it.
  std::function<void(const std::string& to, const Ask&)> ask = [](const std::string&, const Ask&) {};
  std::function<void(const std::string& to, const Promise&)> promise = [](const std::string&, const Promise&) {};
  /// The facility knows the heir: the data plane may stop, and then hand_over().
  std::function<void(IpAddress dvipa, const std::string& to)> move_ready = [](IpAddress, const std::string&) {};
  /// A move ends without hand_over(): this node goes on to own. (If it was lost instead, only lost() says so.)
  std::function<void(IpAddress dvipa, const std::string& reason)> move_failed = [](IpAddress, const std::string&) {
  };
  /// Of a node that defines the address: `owner`, a backup, is to be asked to move it here. Again and again.
  std::function<void(IpAddress dvipa, const std::string& owner)> move_wanted = [](IpAddress, const std::string&) {};
};

class Ownership {
 public:
  struct Options {
    std::string cluster;
    Definition definition;                                       // empty on a node that is target only
    Duration retry = std::chrono::milliseconds(500);             // after the facility did not answer
    Duration lower_rank_delay = std::chrono::milliseconds(300);  // for each better one that could take over
    Duration stand_by = std::chrono::seconds(2);                 // of a node that was deposed
    Duration orphan_delay = std::chrono::seconds(12);            // more than the session's TTL
    Failsafe::Options failsafe = {};
    Duration heir_delay = std::chrono::seconds(2);       // of others than the heir
    Duration give_back_after = std::chrono::seconds(2);  // of a backup's takeover or this node's start; then each
  };

  Ownership(facility::Facility& facility, Executor& executor, Options options, OwnershipEvents events);
  Ownership(const Ownership&) = delete;
  Ownership& operator=(const Ownership&) = delete;
  ~Ownership();

  /// The node is a member, with an open session: claims its DVIPAs and lists itself as backup. Called again after a
  /// lost session has been replaced.
  void start(const Identity& self);
  /// The session is gone, and the owner keys with it: lost() runs for every DVIPA of this node, but not for one
  /// that all backups have promised to leave to it.
  void session_lost();
  /// Messages of other members, from their events ask and promise.
  void asked(const std::string& from, const Ask& ask);
  void promised(const std::string& from, const Promise& promise);
  /// The members that are dead now, as the failure detector judges; others it had named before are not any more.
  /// To be called each period, also with an unchanged set. May call became_owner before it returns.
  void suspect(const std::set<std::string>& dead);

  /// Begins to move a DVIPA of this node to another one that defines it or backs it up. The error says why not, and
  /// what to do.
  Result<void> move(IpAddress dvipa, const std::string& to);
  /// After move_ready: nothing is forwarded for the DVIPA any more, and lost() follows. False, and nothing is done,
  /// if no move is ready (it has failed meanwhile).
  bool hand_over(IpAddress dvipa);
  /// Ends a move that was not yet handed over.
  void abandon(IpAddress dvipa);
  /// Who would take the DVIPA over from its owner, whom to drain to; nothing: nobody alive.
  [[nodiscard]] std::optional<std::string> best_backup(IpAddress dvipa) const;
  /// When a DVIPA may be moved, as whoever defines it says, also while a backup owns it.
  [[nodiscard]] Movement movement_of(IpAddress dvipa) const;

  /// Every DVIPA that has an owner, had one, has a backup, or is of this node's definition; by address.
  [[nodiscard]] std::vector<DvipaState> dvipas() const;
  [[nodiscard]] std::optional<DvipaState> dvipa(IpAddress address) const;
  /// Key and created revision with which a write for this DVIPA is fenced (facility::CompareAndSet::fence_key).
  [[nodiscard]] std::string owner_key(IpAddress dvipa) const;
  /// How the DVIPA is distributed: as this node's definition says, or else as its present or last owner did.
  [[nodiscard]] std::vector<Distribute> distributes_of(IpAddress dvipa) const;

 private:
  enum class Claim : std::uint8_t { kIdle, kUnderWay, kHeld };
  enum class Move : std::uint8_t { kNone, kRecording, kReady, kHandingOver };
  struct Dvipa {
    DvipaState state;
    std::map<std::string, BackupRecord> backups;  // by node name
    Claim claim = Claim::kIdle;
    facility::Revision modified;      // of owner/ADDRESS, while there is an owner
    facility::Revision last_deleted;  // of owner/ADDRESS, as watched
    std::optional<OwnerRecord> former;
    Epoch former_epoch;
    // Succession: what this node does about an owner that is dead or gone.
    std::optional<Time> since;       // it needs another owner; nothing: it does not
    bool stands_by = false;          // others first
    bool removing = false;           // a dead owner's key; the answer is under way
    Time retry_at;                   // the facility did not answer
    std::optional<Time> hear_after;  // the owner must be found alive after this before it may be deposed
    Executor::Timer timer = 0;
    // Planned move, of a DVIPA that this node owns.
    Move move = Move::kNone;
    std::string heir;      // as it should be recorded
    bool writing = false;  // it is being recorded
    // Facility away.
    bool on_promise = false;         // owned without a session
    bool claim_unknown = false;      // a claim's or a removal's answer was lost: it may have been done
    std::set<std::string> required;  // whose promises are needed: who was a backup when the session ended, or since
    Executor::Timer promise_timer = 0;
    // Give-back, to this node.
    bool wants_back = true;
    Time ask_at;
  };

  void watch_all();
  void claim(IpAddress address);
  void claim_answered(IpAddress address, const Result<facility::CasOutcome>& outcome);
  void list_as_backup(IpAddress address, std::uint8_t rank);
  void hold(Dvipa& dvipa, OwnerRecord record, facility::Revision created, facility::Revision modified);
  void take(Dvipa& dvipa, OwnerRecord record, facility::Revision created, facility::Revision modified);
  void lose(Dvipa& dvipa, const std::string& reason);
  void forget_owner(Dvipa& dvipa);
  void on_owner_event(const facility::Event& event);
  void on_owner_put(Dvipa& dvipa, const facility::Entry& entry);
  void on_owner_gone(Dvipa& dvipa, facility::Revision at);
  void on_backup_event(const facility::Event& event);
  void changed(Dvipa& dvipa);
  void later(std::function<void()> task);
  Dvipa& entry_of(IpAddress address);
  [[nodiscard]] OwnerRecord own_record(IpAddress address) const;
  [[nodiscard]] Acquired acquired(const Dvipa& dvipa) const;
  [[nodiscard]] bool is_mine(const OwnerRecord& record) const;
  [[nodiscard]] Role role_of(const Dvipa& dvipa) const;
  /// A callback for this session's answer to a request: nothing is heard after the session's, or this object's,
  /// end.
  facility::Facility::Callback<facility::CasOutcome> answer(
      std::function<void(const Result<facility::CasOutcome>&)> then);

  // ownership_succession.cc
  void succeed(Dvipa& dvipa);
  void depose(Dvipa& dvipa);
  void depose_answered(IpAddress address, const Result<facility::CasOutcome>& outcome);
  void new_owner_seen(Dvipa& dvipa);
  [[nodiscard]] bool needs_owner(const Dvipa& dvipa) const;
  [[nodiscard]] std::optional<Duration> delay_of(const Dvipa& dvipa) const;
  [[nodiscard]] std::optional<std::uint8_t> own_rank(IpAddress address) const;
  [[nodiscard]] std::uint32_t better_ones(const Dvipa& dvipa, std::uint8_t rank) const;
  [[nodiscard]] const std::string* heir_of(const Dvipa& dvipa) const;

  // ownership_move.cc
  void record_heir(Dvipa& dvipa);
  void heir_recorded(Dvipa& dvipa, OwnerRecord record, const Result<facility::CasOutcome>& outcome);
  void remove_own(IpAddress address);
  void remove_answered(IpAddress address, const Result<facility::CasOutcome>& outcome);
  void check_heir(Dvipa& dvipa);
  void ask_back(Dvipa& dvipa);
  void end_move(Dvipa& dvipa);

  // ownership_failsafe.cc
  void reachable(bool now);
  void ask_backups();
  void go_on_or_lose(Dvipa& dvipa);
  void check_promises(Dvipa& dvipa);
  void end_promise(Dvipa& dvipa);
  void renew(Dvipa& dvipa, OwnerRecord record, facility::Revision created, facility::Revision modified);

  facility::Facility& facility_;
  Executor& executor_;
  Options options_;
  OwnershipEvents events_;
  std::string prefix_;
  std::optional<Identity> self_;  // nothing: not a member at the moment
  std::set<std::string> dead_;
  Failsafe failsafe_;
  bool reachable_ = true;  // the facility
  Executor::Timer ask_timer_ = 0;
  std::map<IpAddress, Dvipa> dvipas_;
  bool watching_ = false;
  std::shared_ptr<std::uint32_t> generation_;  // of callbacks; grows with each session
};

}  // namespace testudo::vipa
