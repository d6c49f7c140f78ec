// SPDX-License-Identifier: Apache-2.0
#include "node/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/drop.h"
#include "ike/filter_message.h"
#include "ike/manual_sa.h"
#include "node/sa_text.h"

namespace testudo::node {
namespace {

using nlohmann::json;

json ports_of(bool all, const std::vector<std::uint16_t>& ports) { return all ? json("all") : json(ports); }

/// The message was checked when it came.
json filter_json(const xcf::v1::Filter& message, IpAddress dvipa) {
  static constexpr const char* kActions[] = {"deny", "permit", "protect"};
  const policy::Filter filter = ike::filter_from_message(message).value();
  return {{"id", filter.id},
          {"dvipa", dvipa.to_string()},
          {"direction", filter.direction == policy::Direction::kOutbound ? "out" : "in"},
          {"action", kActions[static_cast<std::size_t>(filter.action)]},
          {"tunnel", filter.tunnel},
          {"priority", filter.priority},
          {"protocol", ike::protocol_name(filter.protocol)},
          {"source", filter.source.to_string()},
          {"source_ports", ike::ports_text(filter.source_ports, filter.protocol)},
          {"destination", filter.destination.to_string()},
          {"destination_ports", ike::ports_text(filter.destination_ports, filter.protocol)},
          {"log", filter.log},
          {"origin", filter.tunnel.empty()           ? "static"
                     : ike::is_manual(filter.tunnel) ? "manual"
                                                     : "dynamic"}};
}

json port_json(const io::PortCounters* c) {
  if (c == nullptr) return nullptr;
  return {{"packets_in", c->packets_in.value()},  {"bytes_in", c->bytes_in.value()},
          {"trains_in", c->trains_in.value()},    {"packets_out", c->packets_out.value()},
          {"bytes_out", c->bytes_out.value()},    {"trains_out", c->trains_out.value()},
          {"send_failed", c->send_failed.value()}};
}

const char* state_name(distributor::ConnectionState state) {
  switch (state) {
    case distributor::ConnectionState::kNew:
      return "opening";
    case distributor::ConnectionState::kEstablished:
      return "established";
    case distributor::ConnectionState::kClosing:
      break;
  }
  return "closing";
}

std::uint64_t seconds(Duration d) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(d).count());
}

}  // namespace

std::string Report::name_of(NodeId id) const {
  if (node_.identity() && node_.identity()->id == id) return node_.config_.name;
  for (const auto& [name, member] : node_.membership_.members()) {
    if (member.id == id) return name;
  }
  return fmt::format("node {}", id.value());
}

// ---- status ----

json Report::status() const {
  return {{"node", node_.config_.name},
          {"cluster", node_.config_.cluster},
          {"version", TESTUDO_VERSION},
          {"members", members()},
          {"dvipas", dvipas()},
          {"facility",
           {{"reachable", node_.facility_reachable_},
            {"since_seconds", seconds(node_.world_.executor.now() - node_.facility_since_)},
            {"endpoints", node_.config_.facility.endpoints}}},
          {"ike",
           {{"configured", node_.world_.ike != nullptr},
            {"connected", node_.world_.ike != nullptr && node_.world_.ike->connected()},
            {"mismatches", node_.owner_ ? node_.owner_->mismatches() : std::vector<std::string>()}}},
          {"manual", manual_files()},
          {"sa_install_ms", sa_install_times()},
          {"warnings", warnings()}};
}

/// Null on a node that has installed none at other members.
json Report::sa_install_times() const {
  if (!node_.owner_) return nullptr;
  const InstallTimes::Summary times = node_.owner_->install_times().summary();
  if (times.count == 0) return nullptr;
  return {{"count", times.count},
          {"p50", milliseconds(times.p50)},
          {"p99", milliseconds(times.p99)},
          {"max", milliseconds(times.max)}};
}

json Report::manual_files() const {
  json list = json::array();
  if (!node_.manual_) return list;
  for (const ManualSas::Shown& file : node_.manual_->files()) {
    list.push_back(
        {{"file", file.path}, {"sas", file.sas}, {"installed", file.installed}, {"filters", file.filters}});
  }
  return list;
}

json Report::members() const {
  json list = json::array();
  if (const auto& self = node_.identity()) {
    list.push_back({{"name", self->name},
                    {"id", self->id.value()},
                    {"xcf_address", node_.config_.xcf.address.to_string()},
                    {"link", "self"},
                    {"ipsec", true},
                    {"distributed_ipsec", true}});
  }
  for (const auto& [name, member] : node_.membership_.members()) {
    json entry = {{"name", name},
                  {"id", member.id.value()},
                  {"xcf_address", member.xcf_address.to_string()},
                  {"link", "down"}};
    if (const auto link = node_.links_.find(name); link != node_.links_.end()) {
      entry["link"] = "up";
      entry["ipsec"] = link->second.hello.ipsec();
      entry["distributed_ipsec"] = link->second.hello.distributed_ipsec();
    }
    list.push_back(std::move(entry));
  }
  return list;
}

json Report::dvipas() const {
  json list = json::array();
  if (!node_.owner_) return list;
  for (const auto& [address, owned] : node_.owner_->owned()) list.push_back(dvipa(address, owned));
  for (const auto& [address, shadow] : node_.shadow_->dvipas()) {
    if (!node_.owner_->owns(address)) list.push_back(dvipa(address, shadow));
  }
  for (const vipa::DvipaState& state : node_.ownership_.dvipas()) {
    const bool known = node_.owner_->owns(state.address) || node_.shadow_->dvipas().contains(state.address);
    if (known) continue;
    list.push_back({{"address", state.address.to_string()},
                    {"owner", state.owner ? json(state.owner->node) : json(nullptr)},
                    {"epoch", state.epoch.value()},
                    {"role", state.role == vipa::Role::kBackup ? "backup" : "none"}});
  }
  return list;
}

json Report::dvipa(IpAddress address, const OwnerRole::Owned& owned) const {
  json backups = json::array();
  if (const auto state = node_.ownership_.dvipa(address)) {
    for (const auto& backup : state->backups) backups.push_back({{"name", backup.node}, {"rank", backup.rank}});
  }
  json ready = json::object();
  for (const std::uint16_t port : owned.ports) ready[std::to_string(port)] = json::array();
  for (const auto& [port, targets] : node_.readiness_->ready(address)) {
    json& names = ready[std::to_string(port)];
    for (const vipa::ReadyTarget& target : targets) names.push_back(name_of(target.node));
  }
  return {{"address", address.to_string()},
          {"owner", node_.config_.name},
          {"epoch", owned.epoch.value()},
          {"role", "owner"},
          {"serving", owned.serving},
          {"backups", std::move(backups)},
          {"ports", ports_of(owned.all_ports, owned.ports)},
          {"targets_ready", std::move(ready)}};
}

json Report::dvipa(IpAddress address, const ShadowRole::Dvipa& shadow) const {
  json backups = json::array();
  std::string role = "none";
  if (const auto state = node_.ownership_.dvipa(address)) {
    for (const auto& backup : state->backups) backups.push_back({{"name", backup.node}, {"rank", backup.rank}});
  }
  const auto& targets = shadow.record.target_node_ids();
  const NodeId self = node_.identity()->id;
  if (std::find(targets.begin(), targets.end(), self.value()) != targets.end()) role = "target";
  const auto state = node_.ownership_.dvipa(address);
  if (state && state->role == vipa::Role::kBackup) role = "backup";
  return {
      {"address", address.to_string()},
      {"owner", shadow.owner},
      {"epoch", shadow.epoch.value()},
      {"role", role},
      {"backups", std::move(backups)},
      {"ports", ports_of(shadow.record.all_ports(), {shadow.record.ports().begin(), shadow.record.ports().end()})}};
}

json Report::events() const {
  json list = json::array();
  const Time now = node_.world_.executor.now();
  for (const EventLog::Event& event : node_.events_.list()) {
    json one = {{"dvipa", event.dvipa.to_string()},
                {"epoch", event.epoch.value()},
                {"what", event.what},
                {"reason", event.reason},
                {"ago_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now - event.when).count()}};
    if (event.took) one["took_ms"] = milliseconds(*event.took);
    list.push_back(std::move(one));
  }
  return {{"node", node_.config_.name}, {"events", std::move(list)}};
}

json Report::warnings() const {
  json list = json::array();
  if (!node_.facility_reachable_) {
    list.push_back(
        "the coupling facility does not answer: no takeover, no new member, and no sequence numbers beyond those "
        "set "
        "aside");
  }
  if (node_.ceilings_.waiting() > 0 && !node_.facility_reachable_) {
    list.push_back(fmt::format("sequence numbers of {} SAs wait to be set aside", node_.ceilings_.waiting()));
  }
  if (node_.world_.ike != nullptr && !node_.world_.ike->connected()) {
    list.push_back("charon is away: nothing is negotiated, and no SA is rekeyed");
  }
  if (node_.owner_) {
    for (const std::string& mismatch : node_.owner_->mismatches())
      list.push_back("charon's configuration: " + mismatch);
  }
  if (node_.steering_failed_) list.push_back("the host's kernel could not be set up for its DVIPAs; see the log");
  if (const KeyLog* keys = node_.world_.key_log) {
    list.push_back(fmt::format("[debug] key-log is on: the keys of all SAs are written to {}", keys->path()));
    if (keys->failed() != 0) list.push_back(fmt::format("the keys of {} SAs could not be written", keys->failed()));
  }
  if (!node_.identity()) list.push_back("not a member of the cluster yet");
  return list;
}

// ---- sa ----

json Report::sa(const std::vector<sequence::SequencerInfo>& leases) const {
  json list = json::array();
  if (node_.local_sas_) {
    for (const auto& [id, entry] : node_.local_sas_->all()) list.push_back(sa(id, entry, leases));
  }
  return {{"sas", std::move(list)}, {"filters", filters()}};
}

json Report::sa(SaId id, const LocalSas::Entry& entry, const std::vector<sequence::SequencerInfo>& leases) const {
  const ipsec::SaParameters& p = entry.shown;
  const ipsec::LifesizeLimits& limits = p.limits;
  json lifesize = {{"soft_bytes", limits.soft_bytes},     {"hard_bytes", limits.hard_bytes},
                   {"soft_packets", limits.soft_packets}, {"hard_packets", limits.hard_packets},
                   {"soft_seconds", limits.soft_seconds}, {"hard_seconds", limits.hard_seconds}};
  lifesize["allowed_bytes"] = limits.hard_bytes != 0 ? entry.share.allowed.bytes : 0;
  lifesize["allowed_packets"] = limits.hard_packets != 0 ? entry.share.allowed.packets : 0;
  lifesize["report_bytes"] = entry.share.report.bytes;
  lifesize["report_packets"] = entry.share.report.packets;
  json result = {{"id", id.value()},
                 {"dvipa", p.local.to_string()},
                 {"tunnel", p.tunnel},
                 {"origin", ike::is_manual(p.tunnel) ? "manual" : "ike"},
                 {"direction", p.direction == ipsec::Direction::kInbound ? "in" : "out"},
                 {"spi", fmt::format("{:#010x}", p.spi.value())},
                 {"protocol", protocol_name(p)},
                 {"ipsec_mode", p.mode == ipsec::Mode::kTransport ? "transport" : "tunnel"},
                 {"peer", peer_of(p)},
                 {"encapsulation", p.udp_encapsulation ? "udp" : "none"},
                 {"algorithm", suite_name(p)},
                 {"esn", p.esn},
                 {"bytes", entry.sa->totals().bytes.value()},
                 {"packets", entry.sa->totals().packets.value()},
                 {"replay_window", p.replay_window}};
  const auto owned = node_.owner_->owned().find(p.local);
  if (owned != node_.owner_->owned().end()) {
    const ike::SaUse use = node_.owner_->lifesize().total(id, node_.world_.executor.now());
    lifesize["used_bytes"] = use.bytes;
    lifesize["used_packets"] = use.packets;
    const ike::Used given = node_.owner_->lifesize().given(id);
    lifesize["given_bytes"] = given.bytes;
    lifesize["given_packets"] = given.packets;
    lifesize["report_percent"] = node_.owner_->lifesize().level(id) / 100.0;
    result["shadows"] = owned->second.installation->holders(id);
  }
  result["lifesize"] = std::move(lifesize);
  const auto lease = std::find_if(leases.begin(), leases.end(), [id](const auto& info) { return info.sa == id; });
  if (lease != leases.end()) {
    result["mode"] = lease->shared ? "shared" : "exclusive";
    result["leases_outstanding"] = lease->outstanding;
    result["ceiling"] = lease->ceiling.value();
    result["next"] = lease->next.value();
  }
  return result;
}

json Report::filters() const {
  std::vector<std::pair<IpAddress, xcf::v1::Filter>> all;
  if (node_.owner_) {
    for (const auto& [address, owned] : node_.owner_->owned()) {
      for (const xcf::v1::Filter& filter : owned.installation->filters()) all.emplace_back(address, filter);
    }
    for (const auto& [address, shadow] : node_.shadow_->dvipas()) {
      for (const auto& [id, filter] : shadow.filters) all.emplace_back(address, filter);
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.second.priority() < b.second.priority(); });
  json list = json::array();
  for (const auto& [address, filter] : all) list.push_back(filter_json(filter, address));
  return list;
}

// ---- connections, counters ----

json Report::connections(const std::vector<distributor::ConnectionInfo>& list) const {
  json connections = json::array();
  for (const distributor::ConnectionInfo& c : list) {
    connections.push_back({{"client", c.client.to_string()},
                           {"dvipa", c.dvipa.to_string()},
                           {"protocol", "tcp"},
                           {"target", name_of(c.target)},
                           {"state", state_name(c.state)},
                           {"ipsec", c.tunnel != ipsec::TunnelId()},
                           {"packets", c.packets},
                           {"bytes", c.bytes},
                           {"idle_ms", std::chrono::duration_cast<std::chrono::milliseconds>(c.idle).count()}});
  }
  return {{"connections", std::move(connections)}};
}

json Report::counters() const {
  const path::WorkerCounters* c = node_.world_.plane.counters();
  if (c == nullptr) return {{"error", "the data plane has not started: this node is not a member yet"}};
  json drops = json::object();
  for (std::size_t i = 0; i < kDropNames.size(); ++i) {
    drops[std::string(kDropNames[i])] = c->drops->value(static_cast<Drop>(i));
  }
  const auto& owner = *c->owner_inbound;
  const KeyLog* keys = node_.world_.key_log;
  return {{"ports",
           {{"tun", port_json(c->tun)},
            {"raw", port_json(c->raw)},
            {"xcf_data", port_json(c->xcf_data)},
            {"xcf_fast", port_json(c->xcf_fast)}}},
          {"inbound",
           {{"peeked", owner.peeked.value()},
            {"read", owner.read.value()},
            {"authenticated", owner.authenticated_syn.value()},
            {"authenticated_first", owner.authenticated_first.value()},
            {"decrypted", owner.fully_processed.value()},
            {"established_decrypted", owner.established_full_decrypt.value()},
            {"forwarded", owner.forwarded.value()},
            {"forwarded_clear", owner.forwarded_clear.value()},
            {"local", owner.local.value()},
            {"connections_made", owner.connections_made.value()},
            {"reassembled", owner.reassembled.value()},
            {"icmp_relayed", owner.icmp_relayed.value()},
            {"path_mtu_hints", owner.path_mtu_hints.value()}}},
          {"target",
           {{"received", c->target_inbound->forwarded_packets.value()},
            {"decrypted", c->target_inbound->decrypted_packets.value()},
            {"decrypted_bytes", c->target_inbound->decrypted_bytes.value()},
            {"filtered_by_owner", c->target_inbound->filtered.value()},
            {"clear_in", c->target_inbound->clear_packets.value()},
            {"held_for_sa", c->target_inbound->held.value()},
            {"encrypted", c->target_outbound->encrypted_packets.value()},
            {"encrypted_bytes", c->target_outbound->encrypted_bytes.value()},
            {"trains", c->target_outbound->trains.value()},
            {"clear_out", c->target_outbound->clear_packets.value()},
            {"held_for_numbers", c->target_outbound->held.value()},
            {"reassembled", c->target_outbound->reassembled.value()},
            {"fragmented", c->target_outbound->fragmented.value()},
            {"too_big_told", c->target_outbound->too_big_told.value()},
            {"via_owner", c->target_outbound->via_owner.value()},
            {"replies_protected", c->target_inbound->replies.value()}}},
          {"key_log",
           {{"written", keys == nullptr ? 0 : keys->written()}, {"failed", keys == nullptr ? 0 : keys->failed()}}},
          {"refreshes",
           {{"timely", node_.owner_->thresholds().counts().timely},
            {"late", node_.owner_->thresholds().counts().late}}},
          {"drops", std::move(drops)}};
}

}  // namespace testudo::node
