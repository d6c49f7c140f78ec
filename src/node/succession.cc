// SPDX-License-Identifier: Apache-2.0
#include "node/succession.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "xcf/hello.h"

namespace testudo::node {

namespace {

std::string reason_of(const vipa::Acquired& acquired) {
  if (!acquired.former) return "nobody has owned it before";
  return fmt::format("{} {}, epoch {}", acquired.planned ? "handed over by" : "taken over from",
                     acquired.former->node, acquired.former->epoch.value());
}

}  // namespace

void Succession::became_owner(const vipa::Acquired& acquired) {
  const IpAddress dvipa = acquired.dvipa;
  const Epoch epoch = acquired.epoch;
  Way& way = ways_[dvipa] = Way{.epoch = epoch, .since = acquired.since, .takeover = {}, .found = {}};
  parts_.events.add({.what = "won", .dvipa = dvipa, .epoch = epoch, .reason = reason_of(acquired)});
  parts_.owner.became_owner(dvipa, epoch, parts_.shadow.take_over(dvipa, epoch, parts_.takeover.self));
  parts_.publish();  // from here on nothing of the former owner is accepted here: this host's windows can be told
  Takeover::What what{.dvipa = dvipa, .epoch = epoch, .sas = {}};
  for (const auto& [id, sa] : parts_.owner.owned().at(dvipa).installation->sas()) what.sas.insert(id);
  way.takeover = std::make_unique<Takeover>(parts_.takeover, std::move(what), [this, dvipa](Takeover::Found found) {
    // Not from within the Takeover, which goes now.
    parts_.executor.post([this, dvipa, found = std::move(found), alive = alive_]() mutable {
      if (!*alive) return;
      const auto present = ways_.find(dvipa);
      if (present != ways_.end() && present->second.epoch == found.epoch)
        this->found(dvipa, present->second, std::move(found));
    });
  });
  way.takeover->start();
}

void Succession::lost(IpAddress dvipa) {
  ways_.erase(dvipa);
  parts_.replay.lost(dvipa);
}

void Succession::found(IpAddress dvipa, Way& way, Takeover::Found found) {
  way.takeover.reset();
  if (!found.loss.empty()) {
    parts_.events.add({.what = "closed",
                       .dvipa = dvipa,
                       .epoch = way.epoch,
                       .reason = fmt::format("the former owner's inbound SAs cannot go on: {}", found.loss),
                       .level = LogLevel::kError});
  }
  parts_.owner.go_on(dvipa, found);
  parts_.replay.became_owner(dvipa, way.epoch, found.witnesses);
  way.found = std::move(found);
  way.known = true;
  tell_replay(dvipa);
}

// ---- who keeps the record, and who may be forwarded to ----

void Succession::members_changed() {
  for (const auto& [dvipa, way] : ways_) {
    if (way.known) tell_replay(dvipa);
  }
}

void Succession::tell_replay(IpAddress dvipa) {
  std::vector<distributor::Witness> targets;
  for (const NodeId node : parts_.readiness.potential_targets(dvipa)) {
    if (const xcf::v1::Hello* hello = parts_.takeover.link(node))
      targets.push_back({.node = node, .incarnation = hello->incarnation()});
  }
  parts_.replay.set_targets(dvipa, targets);
  std::optional<OwnerReplay::Keeper> keeper;
  const auto state = parts_.ownership.dvipa(dvipa);
  for (std::size_t i = 0; state && !keeper && i < state->backups.size(); ++i) {
    const std::string& name = state->backups[i].node;
    if (const xcf::v1::Hello* hello = parts_.link(name))
      keeper = {.name = name, .node = xcf::number_of(*hello), .incarnation = hello->incarnation()};
  }
  parts_.replay.set_keeper(dvipa, keeper);
}

void Succession::replay_changed(IpAddress dvipa) {
  const auto way = ways_.find(dvipa);
  if (way != ways_.end() && !way->second.serving && parts_.replay.active(dvipa)) serve(dvipa, way->second);
}

// ---- the end of it ----

void Succession::serve(IpAddress dvipa, Way& way) {
  way.serving = true;
  parts_.owner.serve(dvipa);
  parts_.publish();
  std::size_t connections = 0;
  for (auto& [node, list] : way.found.connections) {
    connections += list.size();
    if (!list.empty())
      parts_.plane.submit(path::AddConnections{.dvipa = dvipa, .node = node, .list = std::move(list)});
  }
  way.found = {};
  if (connections == 0) return served(dvipa, way.epoch, connections);
  // The answer comes when they are all in the table: to a segment of one that is not the kernel would answer with
  // RST.
  parts_.windows.ask(
      dvipa, path::ReportWindows::Of::kTarget,
      [this, dvipa, connections, epoch = way.epoch](const auto&) { served(dvipa, epoch, connections); });
}

void Succession::served(IpAddress dvipa, Epoch epoch, std::size_t connections) {
  const auto way = ways_.find(dvipa);
  if (way == ways_.end() || way->second.epoch != epoch) return;
  way->second.receives = true;
  parts_.serving(dvipa);
  parts_.events.add({.what = "serving",
                     .dvipa = dvipa,
                     .epoch = epoch,
                     .reason = fmt::format("{} connections and {} SAs go on", connections,
                                           parts_.owner.owned().at(dvipa).installation->sas().size()),
                     .took = parts_.executor.now() - way->second.since});
}

void Succession::report(const xcf::v1::Hello& from, const xcf::v1::TakeoverReport& message) {
  const auto dvipa = IpAddress::from_bytes(message.dvipa());
  const auto way = dvipa ? ways_.find(*dvipa) : ways_.end();
  if (way != ways_.end() && way->second.takeover) way->second.takeover->report(from, message);
}

void Succession::link_up(NodeId node) {
  for (auto& [dvipa, way] : ways_) {
    if (way.takeover) way.takeover->link_up(node);
  }
}

}  // namespace testudo::node
