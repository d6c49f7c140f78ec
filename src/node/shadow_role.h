// SPDX-License-Identifier: Apache-2.0
// ShadowRole: what a node does for the DVIPAs that others own: it learns the VIPAList (spec A3), keeps the shadow
// SA cache and the filters of each (B4, B5), tells the owner which distributed ports have a listening application
// (A4) and what of each SA's lifesize was used here (D2, E4). Whatever carries an epoch that is over is refused,
// and its sender told (G5).
//
//   ShadowRole shadow(parts);
//   shadow.received("owner", message);
//   shadow.listening(ports);              // polled by the node
//
// Control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "ike/installation.h"
#include "io/netlink/host_network.h"
#include "node/event_log.h"
#include "node/local_sas.h"
#include "node/log.h"
#include "xcf/bus.h"

namespace testudo::node {

class ShadowRole {
 public:
  struct Parts {
    Executor& executor;
    xcf::Bus& bus;
    LocalSas& local_sas;
    Log& log;
    EventLog& events;
    std::function<void()> tables_changed;  // filters or DVIPAs are others now
    std::function<void()> dvipas_changed;  // the set of DVIPAs is another one now: steering and sockets follow
    /// This node may own the DVIPA one day: it keeps its SAs so that it can give them to others.
    std::function<bool(IpAddress)> stands_by = [](IpAddress) { return false; };
    std::function<void(IpAddress, SaId)> deleted = [](IpAddress, SaId) {};  // by its owner
  };

  explicit ShadowRole(Parts parts) : parts_(std::move(parts)) {}
  ~ShadowRole() { *alive_ = false; }
  ShadowRole(const ShadowRole&) = delete;
  ShadowRole& operator=(const ShadowRole&) = delete;

  void vipa_list(const xcf::v1::Hello& from, const xcf::v1::VipaList& list);
  /// The coupling facility has seen this epoch: claims under older ones are refused, also by a node that has just
  /// started and has met no owner yet.
  void epoch_seen(IpAddress dvipa, Epoch epoch);
  /// The keys in it are the bus's to zero.
  void install(const xcf::v1::Hello& from, const xcf::v1::Install& install);
  void refused(const std::string& node, const xcf::v1::Refused& refused);
  /// More of the lifesize of SAs (spec D2, E4).
  void granted(const xcf::v1::Hello& from, const xcf::v1::LifesizeGrant& grant);
  /// The link to an owner is up (again): it has forgotten what listens here, and may have missed what was used.
  void link_up(const std::string& node);

  /// The TCP ports with a listening socket on this host. Changes go to the owners.
  void listening(const std::set<io::Listener>& listeners);
  /// A forwarded packet needs an SA that is not here.
  void unknown_spi(IpAddress dvipa, Spi spi, IpAddress remote);
  /// Reports use to the SAs' owners.
  void used(const std::vector<LocalSas::Use>& uses);

  /// What the former owner of a DVIPA has left here.
  struct Inheritance {
    std::map<SaId, ipsec::SaParameters> sas;
    std::map<std::uint64_t, xcf::v1::Filter> filters;
  };
  /// This node owns the DVIPA now, under this epoch: it is no shadow any more. Its SAs stay in the data plane.
  Inheritance take_over(IpAddress dvipa, Epoch epoch, NodeId self);

  /// What an owner has named since it began to replace everything.
  struct Named {
    std::set<SaId> sas;
    std::set<std::uint64_t> filters;
  };
  struct Dvipa {
    xcf::v1::Dvipa record;
    Epoch epoch;
    std::string owner;
    NodeId owner_id;
    std::map<std::uint64_t, xcf::v1::Filter> filters;  // by id
    std::vector<ike::FilterChange> filter_changes;     // that take_filter_changes() has not returned yet
    std::set<std::uint16_t> listening;                 // told to the owner
    std::optional<Named> named;                        // while all is being replaced, in parts
    std::map<SaId, ipsec::SaParameters> sas;           // where this node stands by
    bool given_up = false;                             // by its owner; a backup will come
  };
  [[nodiscard]] const std::map<IpAddress, Dvipa>& dvipas() const { return dvipas_; }
  /// The node is the DVIPA's owner, under this epoch, as far as is known here.
  [[nodiscard]] bool follows(IpAddress dvipa, const std::string& node, Epoch epoch) const;
  /// As Installation's, of one DVIPA.
  std::vector<ike::FilterChange> take_filter_changes(IpAddress dvipa);

 private:
  bool learn(const xcf::v1::Hello& from, const xcf::v1::Dvipa& record);
  void follow(Dvipa& dvipa, IpAddress address, const xcf::v1::Hello& owner, Epoch epoch);
  void given_up(IpAddress address);
  void forget(IpAddress address);
  Result<void> install_sa(Dvipa& dvipa, const xcf::v1::Sa& message);
  void move_sa(Dvipa& dvipa, const xcf::v1::UpdateSa& message);
  void delete_sa(IpAddress address, Dvipa& dvipa, SaId id);
  [[nodiscard]] std::string why_refused(const xcf::v1::Hello& from, const xcf::v1::Install& install) const;
  Result<void> apply(Dvipa& dvipa, const xcf::v1::Install& install);
  void drop_unnamed(IpAddress address, Dvipa& dvipa, const Named& named);
  void tell_listeners(IpAddress address, Dvipa& dvipa);
  [[nodiscard]] std::set<std::uint16_t> distributed_listeners(IpAddress address, const Dvipa& dvipa) const;

  Parts parts_;
  std::map<IpAddress, Dvipa> dvipas_;
  std::map<IpAddress, Epoch> newest_epochs_;  // also of DVIPAs that nobody owns at the moment
  std::set<io::Listener> listeners_;
  std::map<std::pair<Spi, IpAddress>, Time> pulled_;  // not asked for again within a short time
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace testudo::node
