// SPDX-License-Identifier: Apache-2.0
// The parts of a node that play its roles, and what each of them is given of the others.
#include "node/node.h"

namespace testudo::node {

void Node::make_roles(const vipa::Identity& self) {
  readiness_.emplace(self.id);
  owner_.emplace(OwnerRole::Parts{.config = config_,
                                  .executor = world_.executor,
                                  .rng = world_.rng,
                                  .bus = world_.bus,
                                  .plane = world_.plane,
                                  .local_sas = *local_sas_,
                                  .ceilings = ceilings_,
                                  .ownership = ownership_,
                                  .readiness = *readiness_,
                                  .ike = world_.ike,
                                  .log = world_.log,
                                  .self = self.id,
                                  .tables_changed = [this] { publish_soon(); },
                                  .manual_expired = [this](SaId sa) { manual_->expired(sa); },
                                  .sa_added = [this](IpAddress dvipa, SaId sa) { replay_->added(dvipa, sa); }});
  manual_.emplace(ManualSas::Parts{.config = config_,
                                   .executor = world_.executor,
                                   .rng = world_.rng,
                                   .ceilings = ceilings_,
                                   .owner = *owner_,
                                   .log = world_.log});
  const auto stands_by = [this](IpAddress dvipa) {
    return config_.definition.find_backup(dvipa) != nullptr || config_.definition.find_define(dvipa) != nullptr;
  };
  shadow_.emplace(ShadowRole::Parts{.executor = world_.executor,
                                    .bus = world_.bus,
                                    .local_sas = *local_sas_,
                                    .log = world_.log,
                                    .events = events_,
                                    .tables_changed = [this] { publish_soon(); },
                                    .dvipas_changed = [this] { steer(); },
                                    .stands_by = stands_by,
                                    .deleted = [this](IpAddress dvipa, SaId sa) { witness_->forget(dvipa, sa); }});
}

void Node::make_succession(const vipa::Identity& self) {
  windows_.emplace(world_.plane);
  witness_.emplace(WitnessRole::Parts{.bus = world_.bus,
                                      .windows = *windows_,
                                      .host = world_.host,
                                      .tun = config_.interfaces.tun,
                                      .log = world_.log,
                                      .self = {.node = self.id, .incarnation = self.incarnation}});
  const auto replay_changed = [this](IpAddress dvipa) {
    succession_->replay_changed(dvipa);
    publish_soon();
  };
  replay_.emplace(OwnerReplay::Parts{.executor = world_.executor,
                                     .bus = world_.bus,
                                     .plane = world_.plane,
                                     .facility = world_.facility,
                                     .prefix = vipa::key_prefix(config_.cluster),
                                     .owner_key = [this](IpAddress a) { return ownership_.owner_key(a); },
                                     .windows = *windows_,
                                     .log = world_.log,
                                     .changed = replay_changed});
  // Who has vanished is a backup, with a link, until his session and the link have found out.
  const auto keeper_link = [this](const std::string& node) {
    return detector_->silent(world_.executor.now()).contains(node) ? nullptr : link(node);
  };
  succession_.emplace(Succession::Parts{.executor = world_.executor,
                                        .plane = world_.plane,
                                        .events = events_,
                                        .ownership = ownership_,
                                        .readiness = *readiness_,
                                        .owner = *owner_,
                                        .shadow = *shadow_,
                                        .replay = *replay_,
                                        .windows = *windows_,
                                        .takeover = {.executor = world_.executor,
                                                     .bus = world_.bus,
                                                     .facility = world_.facility,
                                                     .prefix = vipa::key_prefix(config_.cluster),
                                                     .witness = *witness_,
                                                     .log = world_.log,
                                                     .self = self.id,
                                                     .link = [this](NodeId node) { return link(node); }},
                                        .link = keeper_link,
                                        .publish = [this] { publish(); },
                                        .serving = [this](IpAddress dvipa) { serving(dvipa); }});
}

void Node::make_moves() {
  moves_.emplace(Moves::Parts{.executor = world_.executor,
                              .bus = world_.bus,
                              .log = world_.log,
                              .events = events_,
                              .ownership = ownership_,
                              .owner = *owner_,
                              .steer = [this] { steer(); },
                              .serving = [this](IpAddress dvipa) { serving(dvipa); },
                              .connections =
                                  [this](Moves::Counted counted) {
                                    want_connections_.emplace_back(std::move(counted));
                                    world_.plane.submit(path::ListConnections{});
                                  }});
}

}  // namespace testudo::node
