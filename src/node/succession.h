// SPDX-License-Identifier: Apache-2.0
// Succession: the way from having won a DVIPA in the coupling facility to serving it, and what keeps it fit to be
// taken over again. The members learn of the new owner; a Takeover finds what the former one has left; the SAs go
// on from there (OwnerRole::go_on); the OwnerReplay names the new witnesses; and only then packets come here.
//
//   Succession succession(parts);
//   succession.became_owner(acquired);  succession.lost(dvipa);        // from vipa::Ownership
//   succession.members_changed();                                          // links, backups, targets
//   succession.report(hello, report);  succession.link_up(node);
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/executor.h"
#include "node/event_log.h"
#include "node/owner_replay.h"
#include "node/owner_role.h"
#include "node/shadow_role.h"
#include "node/takeover.h"
#include "node/witness_role.h"
#include "vipa/ownership.h"
#include "vipa/readiness.h"

namespace testudo::node {

class Succession {
 public:
  struct Parts {
    Executor& executor;
    DataPlane& plane;
    EventLog& events;
    vipa::Ownership& ownership;
    vipa::Readiness& readiness;
    OwnerRole& owner;
    ShadowRole& shadow;
    OwnerReplay& replay;
    WindowRequests& windows;
    Takeover::Parts takeover;
    std::function<const xcf::v1::Hello*(const std::string&)> link;  // by the node's name; null: it is down
    std::function<void()> publish;                                  // the worker's tables, at once
    std::function<void(IpAddress)> serving;  // its packets may come: steering and announcements follow
  };

  explicit Succession(Parts parts) : parts_(std::move(parts)) {}
  ~Succession() { *alive_ = false; }
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;

  void became_owner(const vipa::Acquired& acquired);
  void lost(IpAddress dvipa);
  void members_changed();
  void replay_changed(IpAddress dvipa);
  void report(const xcf::v1::Hello& from, const xcf::v1::TakeoverReport& message);
  void link_up(NodeId node);
  /// All steps are done.
  [[nodiscard]] bool receives(IpAddress dvipa) const {
    const auto way = ways_.find(dvipa);
    return way != ways_.end() && way->second.receives;
  }

 private:
  struct Way {
    Epoch epoch;
    Time since;  // the address had no owner that was alive
    std::unique_ptr<Takeover> takeover;
    Takeover::Found found;
    bool known = false;    // the takeover is done
    bool serving = false;  // the members get SAs
    bool receives = false;
  };
  void found(IpAddress dvipa, Way& way, Takeover::Found found);
  void tell_replay(IpAddress dvipa);
  void serve(IpAddress dvipa, Way& way);
  void served(IpAddress dvipa, Epoch epoch, std::size_t connections);

  Parts parts_;
  std::map<IpAddress, Way> ways_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
