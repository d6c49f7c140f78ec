// SPDX-License-Identifier: Apache-2.0
// OwnerRole: what a node does for the DVIPAs that it owns. Its IKE daemon's SAs and filters go into the local SA
// cache and to every potential target and backup (spec B2–B5); the sequencer's ceilings are reserved; use is added
// up over all hosts and the IKE daemon told of expiry (D2, E4).
//
//   OwnerRole owner(parts);
//   owner.became_owner(dvipa, epoch, shadow.take_over(…));     // from vipa::Ownership
//   owner.go_on(dvipa, found);                  // a takeover: what is known of the SAs' numbers (takeover.h)
//   owner.serve(dvipa);                         // members get everything, packets may come
//   owner.link_up("t1", hello); owner.received("t1", message);
//   owner.tick(now);                            // a few times a second
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/rng.h"
#include "ike/ike_daemon.h"
#include "ike/installation.h"
#include "ike/lifesize.h"
#include "ike/report_threshold.h"
#include "node/ceilings.h"
#include "node/config.h"
#include "node/data_plane.h"
#include "node/install_times.h"
#include "node/local_sas.h"
#include "node/log.h"
#include "node/shadow_role.h"
#include "node/takeover.h"
#include "vipa/ownership.h"
#include "vipa/readiness.h"
#include "xcf/bus.h"

namespace testudo::node {

class OwnerRole final : public ike::IkeEvents {
 public:
  struct Parts {
    const NodeConfig& config;
    Executor& executor;
    Rng& rng;
    xcf::Bus& bus;
    DataPlane& plane;
    LocalSas& local_sas;
    Ceilings& ceilings;
    vipa::Ownership& ownership;
    vipa::Readiness& readiness;
    ike::IkeDaemon* ike;  // null: no charon on this node
    Log& log;
    NodeId self;
    std::function<void()> tables_changed;                    // filters or ready targets are others now
    std::function<void(SaId)> manual_expired = [](SaId) {};  // a manual SA is gone: its hard limit is reached
    std::function<void(IpAddress, SaId)> sa_added = [](IpAddress, SaId) {};  // an inbound one
  };

  explicit OwnerRole(Parts parts);

  // ---- ownership ----
  /// From now on members refuse the former owner. Nothing is received yet.
  void became_owner(IpAddress dvipa, Epoch epoch, ShadowRole::Inheritance left = {});
  /// What the former owner has left goes on from what is known of its numbers, here first. The rest is closed by
  /// serve().
  void go_on(IpAddress dvipa, const Takeover::Found& found);
  void serve(IpAddress dvipa);
  /// Its packets may not come any more: another node is about to own it. serve() takes it back.
  void pause(IpAddress dvipa);
  void lost(IpAddress dvipa);
  /// Backups of an owned DVIPA have come or gone.
  void backups_changed(IpAddress dvipa);
  [[nodiscard]] bool owns(IpAddress dvipa) const { return owned_.contains(dvipa); }
  [[nodiscard]] bool serves(IpAddress dvipa) const {
    const auto found = owned_.find(dvipa);
    return found != owned_.end() && found->second.serving;
  }

  // ---- members ----
  void link_up(const xcf::v1::Hello& hello);
  void link_down(const std::string& node);
  void listener(const std::string& node, NodeId id, const xcf::v1::ListenerUpdate& update);
  void acknowledged(const std::string& node, const xcf::v1::Ack& ack);
  void pull(const std::string& node, const xcf::v1::Pull& pull);
  void lifesize_report(const std::string& node, const xcf::v1::LifesizeReport& report);

  // ---- the operator's (manual_sas.h) ----
  /// As add_sa(), for any SA with a tunnel name of its own. `first`: of its sequence numbers, if outbound.
  Result<SaId> install_sa(ipsec::SaParameters sa, SeqNo first);
  /// An SA that is not there is ignored.
  void delete_manual_sa(SaId id);
  void add_filters(IpAddress dvipa, const std::vector<xcf::v1::Filter>& filters);
  void delete_filters(IpAddress dvipa, const std::vector<xcf::v1::Filter>& filters);

  // ---- the local worker ----
  void need_ceiling(SaId sa, SeqNo last);
  void near_exhaustion(SaId sa);
  /// Authentic packets of the inbound SA come from there. Another port of the same address is what a NAT does: the
  /// SAs of its tunnel follow at once, here and at the members. Another address is believed when IKE says it.
  void peer_moved(SaId sa, Endpoint remote);
  void used(const LocalSas::Use& use);
  /// Sends what is queued, and tells the IKE daemon what has expired.
  void tick();

  // ---- for tables and reports ----
  struct Owned {
    Epoch epoch;
    std::vector<std::uint16_t> ports;  // distributed ones, unless all_ports
    bool all_ports = false;
    std::unique_ptr<ike::Installation> installation;
    std::set<std::string> members;  // that get its SAs and filters
    bool serving = false;           // its packets may come
    std::vector<SaId> closed;       // of the former owner; gone when it serves
  };
  [[nodiscard]] const std::map<IpAddress, Owned>& owned() const { return owned_; }
  [[nodiscard]] const ike::Lifesize& lifesize() const { return lifesize_; }
  [[nodiscard]] const ike::ReportThresholds& thresholds() const { return thresholds_; }
  [[nodiscard]] const InstallTimes& install_times() const { return install_times_; }
  [[nodiscard]] const std::string& charon() const { return charon_; }
  /// What charon may negotiate and an SA of which would be refused here. Empty while charon is away.
  [[nodiscard]] const std::vector<std::string>& mismatches() const { return mismatches_; }

  // ---- ike::IkeEvents ----
  void ike_connected(const std::string& daemon, bool restarted) override;
  void ike_disconnected(const std::string& reason) override;
  Result<void> ike_configuration(const std::vector<ike::ChildConfiguration>& children) override;
  Result<Spi> allocate_spi(IpAddress dvipa, IpAddress peer) override;
  Result<void> add_sa(ipsec::SaParameters sa) override;
  Result<void> update_sa(ike::SaName name, const ike::SaPath& path) override;
  Result<ike::SaUse> query_sa(ike::SaName name) override;
  Result<void> delete_sa(ike::SaName name) override;
  void flush_sas() override;
  Result<void> add_policy(const ike::Policy& policy) override;
  Result<void> delete_policy(const ike::Policy& policy) override;
  void flush_policies() override;
  void send_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) override;
  void ike_warning(const std::string& text) override;

 private:
  /// This node in Lifesize's accounts. No start of a member has this incarnation.
  static constexpr std::uint32_t kThisHost = 0;

  Owned* find(IpAddress dvipa, Epoch epoch);
  Result<Owned*> owned_by_us(IpAddress dvipa);
  /// The DVIPA and SA that the IKE daemon means.
  struct Named {
    Owned* owned = nullptr;
    const ipsec::SaParameters* sa = nullptr;
  };
  Named named(ike::SaName name);
  const ipsec::SaParameters* find_sa(SaId id) const;
  void remove_sa(SaId id);
  void inherit(IpAddress dvipa, Owned& owned, ShadowRole::Inheritance left);
  bool go_on(const Owned& owned, const ipsec::SaParameters& sa, const Takeover::Found& found);
  void add_shares(const std::string& node, xcf::v1::Install& install);
  void refresh_members(IpAddress dvipa, Owned& owned);
  void flush_outgoing(Owned& owned);
  void send_vipa_list(const std::string& node);
  void broadcast_vipa_list();
  void tell_expired();
  void manual_due(const ipsec::SaParameters& sa, bool hard);

  Parts parts_;
  std::map<IpAddress, Owned> owned_;
  std::map<std::string, xcf::v1::Hello> links_;  // that are up
  ike::Lifesize lifesize_;
  ike::ReportThresholds thresholds_;
  InstallTimes install_times_;
  xcf::v1::Envelope outgoing_;  // an Install without keys: its memory is used again and again
  std::string charon_;          // its own description; empty: away
  std::vector<std::string> mismatches_;
};

}  // namespace testudo::node
