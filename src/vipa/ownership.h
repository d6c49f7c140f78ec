// SPDX-License-Identifier: Apache-2.0
// Ownership: who owns which DVIPA, decided in the coupling facility. A node whose definition block has VIPADEFINE
// takes owner/ADDRESS by compare-and-set, with its session; the revision that created the key is the ownership's
// epoch, which travels with everything said in the DVIPA's name (spec G5). Everybody watches and learns the owners
// and backups of all DVIPAs. Runs on the node's Executor alone.
//
//   vipa::Ownership ownership(facility, executor, {.cluster = "c1", .definition = config.definition}, {
//       .became_owner = [](IpAddress dvipa, Epoch epoch) { … },
//       .lost = [](IpAddress dvipa, const std::string& reason) { … stop at once … }, …});
//   membership ready → ownership.start(identity);  membership session_lost → ownership.session_lost();
//
// Keys, under /testudo/CLUSTER/:
//   owner/ADDRESS         OwnerRecord (JSON), with the session
//   backup/ADDRESS/NAME   BackupRecord (JSON), with the session
//
// Takeover is not decided here yet: a backup only lists itself. Its place is Ownership::on_owner_gone().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/executor.h"
#include "base/strong.h"
#include "facility/facility.h"
#include "vipa/definition.h"
#include "vipa/membership.h"

namespace testudo::vipa {

/// What owner/ADDRESS holds.
struct OwnerRecord {
  std::string node;
  NodeId node_id;
  std::vector<Distribute> distributes;  // ports and targets; `at` is not kept
  std::uint32_t incarnation = 0;        // of the node: tells its own writes from a predecessor's
  std::uint32_t session = 0;

  [[nodiscard]] std::string to_json() const;
  static Result<OwnerRecord> from_json(IpAddress dvipa, const std::string& text);
};

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
  std::vector<BackupRecord> backups;  // highest rank first, then by name
  Role role = Role::kNone;            // of this node
};

struct OwnershipEvents {
  std::function<void(IpAddress dvipa, Epoch epoch)> became_owner;
  /// This node owned it and must stop acting for it before this returns.
  std::function<void(IpAddress dvipa, const std::string& reason)> lost;
  /// Owner, epoch or backups of a DVIPA (of this node's too) have changed; after became_owner and lost.
  std::function<void(const DvipaState&)> changed;
  /// One line for the log.
  std::function<void(const std::string& line)> note;
};

class Ownership {
 public:
  struct Options {
    std::string cluster;
    Definition definition;                            // empty on a node that is target only
    Duration retry = std::chrono::milliseconds(500);  // after the facility did not answer
  };

  Ownership(facility::Facility& facility, Executor& executor, Options options, OwnershipEvents events);
  Ownership(const Ownership&) = delete;
  Ownership& operator=(const Ownership&) = delete;
  ~Ownership();

  /// The node is a member, with an open session: claims its DVIPAs and lists itself as backup. Called again after a
  /// lost session has been replaced.
  void start(const Identity& self);
  /// The session is gone, and the owner keys with it: lost() runs for every DVIPA of this node.
  void session_lost();

  /// Every DVIPA that has an owner, had one, has a backup, or is of this node's definition; by address.
  [[nodiscard]] std::vector<DvipaState> dvipas() const;
  [[nodiscard]] std::optional<DvipaState> dvipa(IpAddress address) const;
  /// Key and created revision with which a write for this DVIPA is fenced (facility::CompareAndSet::fence_key).
  [[nodiscard]] std::string owner_key(IpAddress dvipa) const;

 private:
  enum class Claim : std::uint8_t { kIdle, kUnderWay, kHeld };
  struct Dvipa {
    DvipaState state;
    std::map<std::string, BackupRecord> backups;  // by node name
    Claim claim = Claim::kIdle;
    facility::Revision last_deleted;  // of owner/ADDRESS, as watched
  };

  void claim(IpAddress address);
  void claim_answered(IpAddress address, const Result<facility::CasOutcome>& outcome);
  void list_as_backup(const Backup& backup);
  void hold(Dvipa& dvipa, OwnerRecord record, facility::Revision created);
  void lose(Dvipa& dvipa, const std::string& reason);
  void on_owner_event(const facility::Event& event);
  void on_owner_put(Dvipa& dvipa, const facility::Entry& entry);
  void on_owner_gone(Dvipa& dvipa, facility::Revision at);
  void on_backup_event(const facility::Event& event);
  void changed(Dvipa& dvipa);
  void later(std::function<void()> task);
  Dvipa& entry_of(IpAddress address);
  [[nodiscard]] OwnerRecord own_record(IpAddress address) const;
  [[nodiscard]] bool is_mine(const OwnerRecord& record) const;

  facility::Facility& facility_;
  Executor& executor_;
  Options options_;
  OwnershipEvents events_;
  std::string prefix_;
  std::optional<Identity> self_;  // nothing: not a member at the moment
  std::map<IpAddress, Dvipa> dvipas_;
  bool watching_ = false;
  std::shared_ptr<std::uint32_t> generation_;  // of callbacks; grows with each session
};

}  // namespace testudo::vipa
