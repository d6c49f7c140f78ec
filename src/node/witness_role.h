// SPDX-License-Identifier: Apache-2.0
// WitnessRole: what a member does so that a new owner of a DVIPA finds what the former one knew (spec C5, G2). As
// the keeper of an owner it holds the record of what that has accepted itself; asked by a new owner it tells its
// own replay windows, that record, and the connections that live on its host.
//
//   WitnessRole witness(parts);
//   witness.record(hello, record);                   // of the present owner
//   witness.query(hello, query);                     // the new epoch is adopted, here and in the worker
//   witness.collect(dvipa, epoch, [](Report r) {…}); // the same for this node's own takeover
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/strong.h"
#include "distributor/replay_recovery.h"
#include "io/netlink/host_network.h"
#include "node/log.h"
#include "node/window_requests.h"
#include "path/messages.h"
#include "xcf/bus.h"

namespace testudo::node {

class WitnessRole {
 public:
  struct Parts {
    xcf::Bus& bus;
    WindowRequests& windows;
    io::HostNetwork& host;
    std::string tun;  // the interface by which DVIPAs' packets come to this host
    Log& log;
    distributor::Witness self;
  };
  struct Report {
    distributor::MemberReport replay;
    std::vector<path::AddConnections::One> connections;
  };

  explicit WitnessRole(Parts parts) : parts_(std::move(parts)) {}

  /// From the DVIPA's present owner, under its epoch: the caller has checked.
  void record(const xcf::v1::Hello& from, const xcf::v1::ReplayRecord& message);
  /// From the DVIPA's new owner. The caller has adopted the epoch: nothing is accepted from the former one any
  /// more.
  void query(const xcf::v1::Hello& from, const xcf::v1::TakeoverQuery& message);
  void collect(IpAddress dvipa, Epoch epoch, std::function<void(Report)> done);
  /// Its owner has deleted the SA.
  void forget(IpAddress dvipa, SaId sa);

 private:
  struct Kept {
    distributor::ReplayKeeper keeper;
    distributor::ReplayRecord incoming;  // its parts so far
  };
  [[nodiscard]] std::vector<path::AddConnections::One> connections(IpAddress dvipa) const;
  void answer(const std::string& node, IpAddress dvipa, Epoch epoch, const Report& report);

  Parts parts_;
  std::map<IpAddress, Kept> kept_;
};

}  // namespace testudo::node
