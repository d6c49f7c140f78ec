// SPDX-License-Identifier: Apache-2.0
// Node: one member of a cluster, its control plane composed. It joins through the coupling facility, keeps XCF
// links to all members, owns the DVIPAs that its definition block defines, shadows those of others, and keeps its
// data plane and its host's kernel in step. Everything it touches is injected: the daemon gives it the real world,
// the simulation a virtual one.
//
//   node::Node node(config, {executor, rng, facility, bus, plane, host, &charon, log});
//   node.on_failed([&](const Error& e) { exit_status = 1; loop.stop(); });
//   node.start();
//   …
//   node.stop();                        // orderly: leaves the cluster, takes the steering away
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/rng.h"
#include "facility/facility.h"
#include "ike/ike_daemon.h"
#include "io/netlink/host_network.h"
#include "node/ceilings.h"
#include "node/config.h"
#include "node/control_socket.h"
#include "node/data_plane.h"
#include "node/event_log.h"
#include "node/filter_feed.h"
#include "node/key_log.h"
#include "node/local_sas.h"
#include "node/log.h"
#include "node/manual_sas.h"
#include "node/moves.h"
#include "node/owner_replay.h"
#include "node/owner_role.h"
#include "node/shadow_role.h"
#include "node/succession.h"
#include "node/window_requests.h"
#include "node/witness_role.h"
#include "vipa/failure_detector.h"
#include "vipa/membership.h"
#include "vipa/ownership.h"
#include "vipa/readiness.h"
#include "xcf/bus.h"

namespace testudo::node {

class Node {
 public:
  struct World {
    Executor& executor;
    Rng& rng;
    facility::Facility& facility;
    xcf::Bus& bus;
    DataPlane& plane;
    io::HostNetwork& host;
    ike::IkeDaemon* ike;  // null: no charon on this node
    Log& log;
    KeyLog* key_log = nullptr;  // null: none
  };

  Node(const NodeConfig& config, World world);
  ~Node();

  /// `failed` runs when the node can never be a member ("a node named X is already running at …").
  void on_failed(std::function<void(const Error&)> failed) { failed_ = std::move(failed); }
  void start();
  void stop();

  /// Answers a request of the control socket (docs/commands.md). May answer later.
  using Reply = std::function<void(const nlohmann::json&)>;
  void answer(const ControlSocket::Request& request, Reply reply);

  // ---- for the simulation's checks ----
  [[nodiscard]] const std::optional<vipa::Identity>& identity() const { return membership_.identity(); }
  [[nodiscard]] const OwnerRole* owner_role() const { return owner_ ? &*owner_ : nullptr; }
  [[nodiscard]] const LocalSas* local_sas() const { return local_sas_ ? &*local_sas_ : nullptr; }
  [[nodiscard]] const ShadowRole* shadow_role() const { return shadow_ ? &*shadow_ : nullptr; }

 private:
  friend class Report;
  struct Link {
    xcf::v1::Hello hello;
    Time since;
  };

  vipa::MembershipEvents membership_events();
  vipa::OwnershipEvents ownership_events();
  xcf::BusEvents bus_events();

  void ready(const vipa::Identity& self);
  Result<void> begin(const vipa::Identity& self);
  void make_roles(const vipa::Identity& self);
  void make_succession(const vipa::Identity& self);
  void make_moves();
  void move_dvipa(const ControlSocket::Request& request, const Reply& reply);
  void drain(const ControlSocket::Request& request, const Reply& reply);
  void ownership_changed(const vipa::DvipaState& state);
  void link_up(const xcf::v1::Hello& hello);
  void link_down(const std::string& node, const std::string& reason);
  void received(const std::string& node, const xcf::v1::Envelope& message);
  void worker_event(path::Event event);
  void load_manual_sas(const std::string& file, Reply reply);
  void unload_manual_sas(const std::string& file, const Reply& reply);
  void beat();
  void heard(const std::string& node, const xcf::v1::Heartbeat& heartbeat);
  void members_changed();
  void poll_listeners();
  void sample_use();
  void publish_soon();
  void publish();
  void steer();
  void renew_addresses();
  void serving(IpAddress dvipa);
  void announce(IpAddress dvipa, Epoch epoch, Duration again);
  void replay_record(const xcf::v1::Hello& from, const xcf::v1::ReplayRecord& record);
  void takeover_query(const xcf::v1::Hello& from, const xcf::v1::TakeoverQuery& query);
  [[nodiscard]] const xcf::v1::Hello* link(const std::string& node) const;
  [[nodiscard]] const xcf::v1::Hello* link(NodeId node) const;
  [[nodiscard]] std::vector<io::SteeredDvipa> steered() const;
  [[nodiscard]] xcf::v1::Hello hello() const;
  void every(Duration period, void (Node::*task)());

  NodeConfig config_;
  World world_;
  EventLog events_{world_.executor, world_.log};
  std::function<void(const Error&)> failed_;
  vipa::Membership membership_;
  vipa::Ownership ownership_;
  Ceilings ceilings_;
  // From the moment on that the node is a member:
  std::unique_ptr<ipsec::SaFactory> factory_;
  std::optional<LocalSas> local_sas_;
  std::optional<vipa::Readiness> readiness_;
  std::optional<vipa::FailureDetector> detector_;
  std::optional<OwnerRole> owner_;
  std::optional<ManualSas> manual_;
  std::optional<ShadowRole> shadow_;
  std::optional<WindowRequests> windows_;
  std::optional<WitnessRole> witness_;
  std::optional<OwnerReplay> replay_;
  std::optional<Succession> succession_;
  std::optional<Moves> moves_;
  std::optional<FilterFeed> filters_;

  std::map<std::string, Link> links_;  // that are up, by node
  std::uint64_t beats_ = 0;
  std::vector<io::SteeredDvipa> steered_;
  bool steering_failed_ = false;
  Time renewed_{};  // the lease of the owned ones
  bool publish_pending_ = false;
  bool stopped_ = false;
  bool facility_reachable_ = true;
  Time facility_since_;
  std::vector<std::function<void(const std::vector<distributor::ConnectionInfo>&)>> want_connections_;
  std::vector<std::function<void(const std::vector<sequence::SequencerInfo>&)>> want_leases_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
