// SPDX-License-Identifier: Apache-2.0
#include "sim/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "vipa/definition.h"
#include "vipa/membership.h"

namespace testudo::sim {
namespace {

constexpr const char* kCluster = "sim";
constexpr Duration kSessionTtl = 10s;

std::string destinations(std::size_t targets) {
  std::string list;
  for (std::size_t i = 0; i < targets; ++i) list += fmt::format(" 10.77.0.{}", 11 + i);
  return list;
}

node::StaticFilter permit_plain() {
  return {.dvipa = kPlainDvipa,
          .action = node::StaticFilter::Action::kPermit,
          .protocol = 6,
          .ports = {{.first = kPort, .last = kPort}},
          .remote_ports = {},
          .remote = {}};
}

}  // namespace

Cluster::Cluster(std::uint64_t seed, const Options& options, bool verbose)
    : options_(options),
      transcript_(time_),
      world_(time_),
      network_(time_, transcript_, options.network, seed * 11 + 1),
      store_(world_, {.latency = options.facility_latency}),
      control_(world_, seed * 11 + 2, {.jitter = options.control_jitter}) {
  transcript_.set_verbose(verbose);
  invariants_.clear_permitted(kPlainDvipa);
  invariants_.limits(options.child.limits);
  const std::string distribute =
      fmt::format("VIPADISTRIBUTE {0} PORT {2} DESTIP{3}\nVIPADISTRIBUTE {1} PORT {2} DESTIP{3}\n",
                  kDvipa.to_string(), kPlainDvipa.to_string(), kPort, destinations(options.targets));
  const std::string addresses = kDvipa.to_string() + " " + kPlainDvipa.to_string();
  add_node("owner", 1, "VIPADYNAMIC VIPADEFINE 255.255.255.0 " + addresses + "\n" + distribute + "ENDVIPADYNAMIC",
           true, seed);
  add_node("backup", 2, "VIPADYNAMIC VIPABACKUP 200 " + addresses + "\n" + distribute + "ENDVIPADYNAMIC", true,
           seed);
  for (std::size_t i = 0; i < options.targets; ++i)
    add_node(fmt::format("t{}", i + 1), static_cast<std::uint32_t>(11 + i), "", false, seed);
  client_ = std::make_unique<Client>(Client::World{.time = time_,
                                                   .network = network_,
                                                   .transcript = transcript_,
                                                   .invariants = invariants_,
                                                   .seed = seed * 11 + 3},
                                     "client", kClientAddress, options_.child);
}

Cluster::~Cluster() = default;

void Cluster::add_node(const std::string& name, std::uint32_t number, const std::string& definition, bool ike,
                       std::uint64_t seed) {
  node::NodeConfig config;
  config.name = name;
  config.cluster = kCluster;
  config.interfaces.network = "lan";
  config.interfaces.xcf = "xcf";
  config.xcf.address = IpAddress((10U << 24 | 77U << 16) + number);
  config.sequence.skew_guard = options_.skew_guard;
  config.sequence.ceiling_step = options_.ceiling_step;
  config.sequence.offers = options_.offers;
  config.facility.session_ttl = kSessionTtl;
  config.connections.max = options_.connections;
  config.hold.packets = 128;
  config.lifesize = options_.lifesize;
  if (!definition.empty()) {
    const auto parsed = vipa::parse_definition(definition, name + ".vipa");
    CHECK(parsed.errors.empty());
    config.definition = parsed.definition;
    config.filters = {permit_plain()};
  }
  if (ike) config.ike.socket = "simulated";
  nodes_.push_back(std::make_unique<SimNode>(
      SimNode::World{.time = time_,
                     .transcript = transcript_,
                     .invariants = invariants_,
                     .network = network_,
                     .store = store_,
                     .control = control_},
      std::move(config),
      SimNode::Options{
          .seed = seed * 100 + number, .scheduling = options_.scheduling, .ike = ike ? &options_.child : nullptr}));
}

void Cluster::start() {
  for (auto& node : nodes_) {
    node->listen({IpAddress(0), kPort});
    time_.after(network_.up_to(50ms), [&node] { node->start(); });
  }
}

bool Cluster::ready() const {
  const SimNode& owner = *nodes_[0];
  if (!owner.running() || owner.node().owner_role() == nullptr || !owner.node().owner_role()->owns(kDvipa))
    return false;
  const auto& members = owner.node().owner_role()->owned().at(kDvipa).members;
  return std::all_of(nodes_.begin() + 2, nodes_.end(),
                     [&](const auto& target) { return !target->running() || members.contains(target->name()); });
}

bool Cluster::step() {
  if (!time_.step()) return false;
  check();
  return true;
}

void Cluster::check() {
  for (const IpAddress dvipa : {kDvipa, kPlainDvipa}) {
    std::vector<std::string> owners;
    for (const auto& node : nodes_) {
      if (!node->running() || node->node().owner_role() == nullptr) continue;
      if (node->node().owner_role()->owns(dvipa)) owners.push_back(node->name());
    }
    invariants_.owners(dvipa, owners);
  }
  check_lifesize();
  if (store_.revision() == checked_) return;
  checked_ = store_.revision();
  const std::string prefix = vipa::key_prefix(kCluster) + "ceiling/";
  for (auto entry = store_.entries().lower_bound(prefix);
       entry != store_.entries().end() && entry->first.starts_with(prefix); ++entry) {
    std::uint64_t id = 0;
    std::uint64_t last = 0;
    const std::string name = entry->first.substr(prefix.size());
    std::from_chars(name.data(), name.data() + name.size(), id, 16);
    const std::string& value = entry->second.value;
    std::from_chars(value.data(), value.data() + value.size(), last);
    invariants_.ceiling(SaId(id), SeqNo(last));
  }
}

// Packets are counted in a worker's turn, and nowhere else.
void Cluster::check_lifesize() {
  for (const auto& node : nodes_) {
    if (!node->running() || !node->take_turned() || node->node().local_sas() == nullptr) continue;
    for (const auto& [id, entry] : node->node().local_sas()->all()) {
      invariants_.carried({.node = node->name(),
                           .life = node->lives(),
                           .id = id,
                           .spi = entry.shown.spi,
                           .outbound = entry.shown.direction == ipsec::Direction::kOutbound,
                           .bytes = entry.sa->totals().bytes.value(),
                           .packets = entry.sa->totals().packets.value()});
    }
  }
}

bool Cluster::run_until(const std::function<bool()>& condition, Duration limit) {
  const Time end = time_.now() + limit;
  while (!failed() && time_.now() < end) {
    if (condition()) return true;
    if (!step()) return false;
  }
  return !failed() && condition();
}

bool Cluster::run_for(Duration duration) {
  const Time end = time_.now() + duration;
  time_.at(end, [] {});
  while (!failed() && time_.now() < end) step();
  return !failed();
}

}  // namespace testudo::sim
