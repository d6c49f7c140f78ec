// SPDX-License-Identifier: Apache-2.0
// Moves: DVIPAs that go to another node as planned (spec G1): because an operator says so, or because a node that
// defines the address is back. The owner stops to receive, lets what it has forwarded arrive, and hands the key
// over; the heir does what every new owner does (succession.h).
//
//   moves.move(dvipa, "backup")        → an error says why not, and what to do
//   moves.asked("t1", request);        // another member's
//   moves.ready(dvipa, to);  moves.failed(dvipa, reason);  moves.lost(dvipa);     // from vipa::Ownership
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "distributor/connection_table.h"
#include "node/event_log.h"
#include "node/owner_role.h"
#include "vipa/ownership.h"
#include "xcf/bus.h"

namespace testudo::node {

class Moves {
 public:
  using Counted = std::function<void(const std::vector<distributor::ConnectionInfo>&)>;
  struct Parts {
    Executor& executor;
    xcf::Bus& bus;
    Log& log;
    EventLog& events;
    vipa::Ownership& ownership;
    OwnerRole& owner;
    std::function<void()> steer;
    std::function<void(IpAddress)> serving;
    std::function<void(Counted)> connections;  // of all DVIPAs, as the worker has them
  };

  explicit Moves(Parts parts) : parts_(std::move(parts)) {}
  ~Moves() { *alive_ = false; }
  Moves(const Moves&) = delete;
  Moves& operator=(const Moves&) = delete;

  /// At the owner. With MOVEABLE WHENIDLE it begins when the last connection has ended.
  Result<void> move(IpAddress dvipa, const std::string& to);
  /// False: the link to the owner is down.
  bool ask(IpAddress dvipa, const std::string& owner, const std::string& to);
  void asked(const std::string& from, const xcf::v1::MoveRequest& request);

  void ready(IpAddress dvipa, const std::string& to);
  void failed(IpAddress dvipa, const std::string& reason);
  void lost(IpAddress dvipa) { waiting_.erase(dvipa); }

 private:
  void look();

  Parts parts_;
  std::map<IpAddress, std::string> waiting_;  // until they are idle: where to
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
