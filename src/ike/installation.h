// SPDX-License-Identifier: Apache-2.0
// Installation: the SAs and filters of one owned DVIPA under one epoch, as its owner keeps them, and who holds
// shadows of them (spec B2–B5). Changes go in, Install messages come out; pure, deterministic.
//
//   Installation installation(dvipa, epoch, rng);
//   installation.member_up("t1");                        // queues all there is, with replace_all
//   SaId id = *installation.add_sa(std::move(sa));       // queues an Install to every member
//   while (const std::string* node = installation.next_outgoing(install)) bus.send(*node, …install…),
//   scrub(install); installation.acknowledged("t1", ack);                // then next_outgoing() may have more
//   installation.holders(id);                            // → {"t1"}
//
// The owner's own data plane is not a member here: the caller installs what add_sa() has returned.
//
// A member is sent a bounded number of Installs ahead of its acknowledgements, so that its link's queue holds them
// whatever their number: what waits meanwhile is put together, and all there is comes in parts. SAs wait by their
// ids: keys are nowhere but in the SAs themselves, and in the one message that is about to leave.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/address.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/strong.h"
#include "ike/ike_daemon.h"
#include "ipsec/sa_parameters.h"
#include "xcf/messages.pb.h"

namespace testudo::ike {

/// Who wants a filter: the IKE daemon, or the operator by a file. The operator's stay whatever the daemon does.
enum class Origin : std::uint8_t { kDaemon, kOperator };

/// A filter that has come into force, or no longer is.
struct FilterChange {
  std::uint64_t id = 0;
  std::optional<xcf::v1::Filter> filter;  // none: gone
};

class Installation {
 public:
  Installation(IpAddress dvipa, Epoch epoch, Rng& rng);
  Installation(const Installation&) = delete;
  Installation& operator=(const Installation&) = delete;
  ~Installation() = default;

  [[nodiscard]] IpAddress dvipa() const { return dvipa_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }

  // ---- SAs ----
  /// In use by an inbound SA of either protocol, or allocated.
  [[nodiscard]] bool spi_taken(Spi spi) const;
  /// Random, at least 256 (RFC 4303 section 2.1), in use by no inbound SA and by no other allocation of this DVIPA.
  /// Of allocations that no SA has followed the oldest are forgotten when there are more than kSpisAllocatedMax.
  Spi allocate_spi();
  /// Gives the SA its id and queues it to every member. The name must be free.
  Result<SaId> add_sa(ipsec::SaParameters sa);
  /// Takeover, before there is a member: an SA of a former owner, under the id that everybody knows it by. False:
  /// its name is taken.
  bool inherit_sa(ipsec::SaParameters sa);
  /// The same id on another path, queued to every member, who replace what they have.
  Result<SaId> update_sa(SaName name, const SaPath& path);
  /// None when the name was only an allocated SPI, or nothing.
  std::optional<SaId> delete_sa(SaName name);
  [[nodiscard]] const ipsec::SaParameters* find(SaId id) const;
  [[nodiscard]] const ipsec::SaParameters* find(SaName name) const;
  [[nodiscard]] const std::map<SaId, ipsec::SaParameters>& sas() const { return sas_; }

  // ---- filters ----
  // Of filters with the same direction, selectors and priority the one that came last is in force, as in a kernel;
  // the others wait, and come back when it goes.
  /// A filter that is there already (all but its id equal) is counted, not doubled. True: what is in force has
  /// changed. One that an IKE daemon before the current one has left behind goes for good when it is replaced, and
  /// its SAs with it: take_deleted() names them.
  bool add_filter(const xcf::v1::Filter& filter, Origin origin = Origin::kDaemon);
  /// Takeover, before there is a member: an IKE daemon's filter of a former owner, under its id. It stays until
  /// replaced, as after daemon_restarted().
  void inherit_filter(const xcf::v1::Filter& filter);
  /// True: what is in force has changed. An unknown filter is ignored.
  bool delete_filter(const xcf::v1::Filter& filter, Origin origin = Origin::kDaemon);
  /// SAs that add_filter() has deleted since the last call: the owner's own data plane must drop them too.
  std::vector<SaId> take_deleted() { return std::exchange(deleted_, {}); }
  /// What has changed of the filters in force since the last call, in order: the owner's own data plane follows.
  std::vector<FilterChange> take_filter_changes() { return std::exchange(filter_changes_, {}); }
  /// In force, with ids, in the order of their ids.
  [[nodiscard]] std::vector<xcf::v1::Filter> filters() const;

  /// A new process of the IKE daemon has come and knows nothing of what is here: it stays until replaced. The
  /// operator's filters, and those that name no tunnel, are not concerned.
  void daemon_restarted();

  /// Deletes all SAs, or all but manual ones (manual_sa.h), here and at every member. Returns what is gone.
  std::vector<SaId> flush_sas(Origin origin = Origin::kOperator);
  /// Deletes the IKE daemon's filters, here and at every member. Returns the ids of those that were in force.
  std::vector<std::uint64_t> flush_filters();

  // ---- members: potential targets and backups whose link is up ----
  /// Queues everything, in parts, with replace_all. Also for a member that is up already (its role has changed).
  void member_up(const std::string& node);
  /// Forgets the member; what is queued for it goes as well.
  void member_down(const std::string& node);
  /// Of another epoch or an unknown number: ignored. A refusal is returned, for the log; that member then counts as
  /// holder of nothing that this Install brought, and gets each of its SAs once more, alone.
  std::optional<std::string> acknowledged(const std::string& node, const xcf::v1::Ack& ack);
  /// SAs that, with what was acknowledged since the last call, all members hold.
  std::vector<SaId> take_complete() { return std::exchange(complete_, {}); }
  /// An Install with the inbound SA, or with nothing when there is none: then the member drops what it holds. None
  /// for a message of another epoch or a node that is no member.
  std::optional<xcf::v1::Install> answer(const std::string& node, const xcf::v1::Pull& pull);
  /// Puts the next Install that may leave into `install`, and names its member: null when there is none. For each
  /// member in the order in which changes were made; numbers of them may be one Install. What `install` held is
  /// overwritten and its memory used again: with one message for all of them, nothing is allocated for each SA. It
  /// has keys: scrub() it after sending. The name is good until the member goes.
  const std::string* next_outgoing(xcf::v1::Install& install);

  /// Members that have acknowledged the SA: who can be given its traffic.
  [[nodiscard]] std::vector<std::string> holders(SaId id) const;
  [[nodiscard]] bool holds(const std::string& node, SaId id) const;

 private:
  /// What an Install says, but for the SAs themselves.
  struct Change {
    std::vector<SaId> sas;  // that come; one that has gone meanwhile is left out
    xcf::v1::Install rest;  // without SAs, DVIPA, epoch and number
  };
  struct Waiting {
    Change change;
    std::size_t bytes = 0;  // about
    bool alone = false;     // nothing is added to it
  };
  /// All there is, on its way to a member: in the order of ids, and filters then.
  struct Everything {
    bool begun = false;
    SaId last_sa;
    bool filters_taken = false;
    std::vector<xcf::v1::Filter> filters;  // that are still to be sent, the last one first
  };
  struct Member {
    absl::flat_hash_set<SaId> holds;                 // look-up only: its order never matters
    std::map<std::uint64_t, Change> unacknowledged;  // by Install number
    std::optional<Everything> everything;            // comes before what waits
    std::deque<Waiting> waiting;
  };
  struct FilterUse {
    xcf::v1::Filter filter;
    std::size_t uses = 0;   // by whomever
    std::size_t owned = 0;  // of them the operator's
    bool orphaned = false;
  };
  using Stack = std::vector<FilterUse>;  // of equal selectors; the last one is in force

  /// What is looked up of an SA for every member and Install.
  struct Indexed {
    const ipsec::SaParameters* sa = nullptr;  // in sas_
    std::size_t holders = 0;                  // members
  };

  // installation_members.cc
  void queue(const Change& change);
  static bool added(Member& member, const Change& change, std::size_t bytes);
  static void begin_anew(Member& member);
  bool next_change(Member& member, Change& change);
  void fill(const Change& change, xcf::v1::Install& install);
  void note_sent(Member& member, std::uint64_t number, Change change);
  [[nodiscard]] std::size_t size_of(const Change& change) const;
  [[nodiscard]] Change next_part(Member& member);
  void send_apart(Member& member, const Change& refused);
  void forget_allocation(Spi spi);
  void erase_sa(SaId id);
  void note_filters(const xcf::v1::Install& change);
  void drop_orphans(Stack& stack, Change& change);
  void count_tunnel(const xcf::v1::Filter& filter, int change);

  const IpAddress dvipa_;
  const Epoch epoch_;
  Rng& rng_;
  std::map<SaId, ipsec::SaParameters> sas_;
  absl::flat_hash_map<SaId, Indexed> index_;  // of sas_; look-up only: its order never matters
  std::map<SaName, SaId> by_name_;
  std::deque<Spi> allocated_;             // oldest first
  std::map<std::string, Stack> filters_;  // by direction, priority and selectors; no stack is empty
  std::map<std::string, std::set<SaId>> by_tunnel_;
  std::map<std::string, std::size_t> naming_;  // filters in the stacks that name the tunnel; no 0
  std::map<std::string, Member> members_;
  std::vector<SaId> deleted_;
  std::vector<SaId> complete_;
  std::vector<FilterChange> filter_changes_;
  std::uint64_t next_number_ = 1;
  std::uint32_t next_sa_ = 1;
  std::uint64_t next_filter_ = 1;
};

inline constexpr std::size_t kSpisAllocatedMax = 65'536;

}  // namespace testudo::ike
