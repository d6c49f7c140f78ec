// SPDX-License-Identifier: Apache-2.0
// Takeover: how a new owner of a DVIPA learns what its predecessors have left (spec C5, G1, G2): the sequence
// numbers that were set aside, from the coupling facility; the replay windows and the connections, from the members
// that the former owner has named there. Then it can own: nothing is sent, forwarded or accepted before.
//
//   Takeover takeover(parts, {.dvipa = d, .epoch = e, .sas = ids that are here as shadows},
//                     [this](Takeover::Found found) { … });
//   takeover.start();                                  // the members have the VIPAList with this epoch
//   takeover.report(hello, report);  takeover.link_up(node);
//
// A member that does not answer for a while, though it was named, has lost what it knew: then no inbound SA can go
// on. Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "distributor/replay_recovery.h"
#include "facility/facility.h"
#include "node/ceilings.h"
#include "node/log.h"
#include "node/witness_role.h"
#include "xcf/bus.h"

namespace testudo::node {

class Takeover {
 public:
  struct Parts {
    Executor& executor;
    xcf::Bus& bus;
    facility::Facility& facility;
    std::string prefix;  // of the cluster's keys
    WitnessRole& witness;
    Log& log;
    NodeId self;
    std::function<const xcf::v1::Hello*(NodeId)> link;  // null: it is down
  };
  struct What {
    IpAddress dvipa;
    Epoch epoch;
    std::set<SaId> sas;
  };
  struct Found {
    Epoch epoch;                                   // under which it was found
    facility::Revision witnesses;                  // of the facility's record; 0: there is none
    std::map<SaId, Ceilings::Inherited> ceilings;  // of the SAs that have one
    /// What the SA's ledger begins with; nothing: close it.
    std::function<std::optional<distributor::WindowReport>(SaId)> window;
    std::map<NodeId, std::vector<path::AddConnections::One>> connections;
    std::string loss;  // why no inbound SA can go on; empty: they can
  };

  Takeover(Parts parts, What what, std::function<void(Found)> done);
  ~Takeover() { *alive_ = false; }
  Takeover(const Takeover&) = delete;
  Takeover& operator=(const Takeover&) = delete;

  void start();
  void report(const xcf::v1::Hello& from, const xcf::v1::TakeoverReport& message);
  void link_up(NodeId node);

 private:
  void list(const std::string& key, std::function<void(const facility::Facility::Listing&)> then);
  void found_witnesses(const facility::Facility::Listing& listing);
  void list_ceilings();
  void found_ceilings(const facility::Facility::Listing& listing);
  void ask_members();
  void ask(NodeId node);
  void watch(NodeId node);
  void take(WitnessRole::Report report);
  void finish_if_done();

  Parts parts_;
  What what_;
  std::function<void(Found)> done_;
  Found found_;
  distributor::ReplayWitnesses before_;
  std::set<std::string> ceilings_;  // what the keys begin with that are still to be listed
  std::optional<distributor::ReplayRecovery> recovery_;
  std::set<NodeId> missing_;                        // members that have not answered yet
  std::map<NodeId, WitnessRole::Report> parts_of_;  // reports that are not complete
  std::map<NodeId, std::uint64_t> progress_;        // counts what a member has said
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
