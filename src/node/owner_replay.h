// SPDX-License-Identifier: Apache-2.0
// OwnerReplay: what an owner does while it lives so that another node finds the replay windows of its DVIPAs after
// its death (spec C5): a ReplayJournal for each DVIPA, between the worker, the keeper and the coupling facility.
//
//   OwnerReplay replay(parts);
//   replay.became_owner(dvipa, epoch, revision of the facility's record);
//   replay.set_keeper(dvipa, first backup whose link is up);
//   replay.set_targets(dvipa, {{node, incarnation}, …});
//   if (replay.active(dvipa)) receive packets; if (replay.may_forward(dvipa, node)) give it connections
//
// Key: replay-witnesses/ADDRESS, which stays when its owner has gone: the next one needs it. Control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "distributor/replay_journal.h"
#include "facility/facility.h"
#include "node/data_plane.h"
#include "node/log.h"
#include "node/window_requests.h"
#include "xcf/bus.h"

namespace testudo::node {

class OwnerReplay {
 public:
  struct Parts {
    Executor& executor;
    xcf::Bus& bus;
    DataPlane& plane;
    facility::Facility& facility;
    std::string prefix;                               // of the cluster's keys
    std::function<std::string(IpAddress)> owner_key;  // of a DVIPA, in the facility
    WindowRequests& windows;
    Log& log;
    std::function<void(IpAddress)> changed;  // active() or may_forward()
  };
  struct Keeper {
    std::string name;
    NodeId node;
    std::uint32_t incarnation = 0;
    friend bool operator==(const Keeper&, const Keeper&) = default;
  };

  explicit OwnerReplay(Parts parts) : parts_(std::move(parts)) {}
  ~OwnerReplay() { *alive_ = false; }
  OwnerReplay(const OwnerReplay&) = delete;
  OwnerReplay& operator=(const OwnerReplay&) = delete;

  /// `revision`: of what the facility holds of the DVIPA's witnesses; 0: nothing. The worker has the ledgers by
  /// now.
  void became_owner(IpAddress dvipa, Epoch epoch, facility::Revision revision);
  void lost(IpAddress dvipa);
  /// None: there is no backup that could be reached, and this node is alone.
  void set_keeper(IpAddress dvipa, const std::optional<Keeper>& keeper);
  /// All members to whom the DVIPA's connections may be given. Of one that has gone the worker has been told.
  void set_targets(IpAddress dvipa, const std::vector<distributor::Witness>& targets);
  void added(IpAddress dvipa, SaId sa);

  void accepted(const path::OwnerAccepted& accepted);
  void acknowledged(NodeId from, const xcf::v1::ReplayRecordAck& ack);

  /// The DVIPA may receive.
  [[nodiscard]] bool active(IpAddress dvipa) const;
  [[nodiscard]] bool may_forward(IpAddress dvipa, NodeId node) const;

  /// "replay-witnesses/192.0.2.100"
  [[nodiscard]] static std::string key(const std::string& prefix, IpAddress dvipa);

 private:
  using Ticket = distributor::ReplayJournal::Ticket;
  struct Dvipa {
    explicit Dvipa(Epoch of) : epoch(of), journal(of, std::chrono::milliseconds(250)) {}
    Epoch epoch;
    distributor::ReplayJournal journal;
    std::optional<Keeper> keeper;
    bool keeper_set = false;
    std::uint64_t copying = 0;                      // which snapshot the keeper waits for; 0: none
    std::vector<std::pair<SaId, SeqNo>> meanwhile;  // accepted since that was asked for
    std::map<NodeId, std::uint32_t> targets;        // that have joined, with their incarnations
    std::set<NodeId> leaving;                       // that wait for a snapshot
    std::vector<distributor::Witness> wanted;       // the last set_targets()
    facility::Revision revision;
    bool writing = false;
    bool over = false;  // the epoch is
    Executor::Timer timer = 0;
  };
  /// Packets that the worker holds.
  struct Held {
    IpAddress dvipa;
    Epoch epoch;
    Ticket ticket = 0;
  };
  struct Batch {
    std::uint64_t number = 0;
    Time told;
    std::vector<Held> packets;
  };

  Dvipa* find(IpAddress dvipa, Epoch epoch);
  void copied(IpAddress address, Dvipa& dvipa, std::vector<distributor::WindowReport> snapshot);
  void join_targets(IpAddress address, Dvipa& dvipa);
  void leave(IpAddress address, Dvipa& dvipa, NodeId node);
  void progress(IpAddress address, Dvipa& dvipa);
  void send_record(IpAddress address, const Dvipa& dvipa, const distributor::ReplayRecord& record);
  void set_timer(IpAddress address, Dvipa& dvipa);
  void write(IpAddress address, Dvipa& dvipa, const distributor::ReplayWitnesses& wanted);
  void written(IpAddress address, const distributor::ReplayWitnesses& witnesses, Epoch epoch,
               const Result<facility::CasOutcome>& outcome);
  [[nodiscard]] bool is_safe(const Held& held) const;
  void release();

  Parts parts_;
  std::map<IpAddress, Dvipa> dvipas_;
  std::deque<Batch> held_;
  std::uint64_t copies_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
