// SPDX-License-Identifier: Apache-2.0
#include "cli/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "cli/query.h"
#include "node/config.h"
#include "node/diagnostic_json.h"

namespace testudo::cli {
namespace {

using nlohmann::json;
using node::NodeConfig;

std::string ports_text(const vipa::Distribute& d) {
  if (d.all_ports()) return "all ports";
  return fmt::format("{} {}", d.ports.size() == 1 ? "port" : "ports", fmt::join(d.ports, ", "));
}

std::vector<std::string> target_names(const vipa::Distribute& d) {
  std::vector<std::string> out;
  for (const IpAddress t : d.targets) out.push_back(t.to_string());
  return out;
}

/// "port 80 to all members; port 443 to 10.77.0.11".
std::string distribution_text(const NodeConfig& c, IpAddress dvipa) {
  std::vector<std::string> parts;
  for (const vipa::Distribute& d : c.definition.distributes_of(dvipa)) {
    parts.push_back(
        fmt::format("{} to {}", ports_text(d),
                    d.all_targets() ? "all members" : fmt::format("{}", fmt::join(target_names(d), ", "))));
  }
  return parts.empty() ? "not distributed" : fmt::format("{}", fmt::join(parts, "; "));
}

std::size_t filter_count(const NodeConfig& c, IpAddress dvipa) {
  return static_cast<std::size_t>(
      std::count_if(c.filters.begin(), c.filters.end(), [&](const auto& f) { return f.dvipa == dvipa; }));
}

/// What is right, but may not be what was meant.
std::vector<std::string> notes_on(const NodeConfig& c) {
  std::vector<std::string> out;
  if (!c.ike.enabled() && !c.definition.defines.empty()) {
    out.push_back(
        "there is no [ike] socket: this node runs no charon, so no client can negotiate IPsec for the DVIPAs it "
        "owns");
  }
  if (!c.debug.key_log.empty())
    out.push_back(fmt::format("[debug] key-log: the keys of all SAs will be written to {}", c.debug.key_log));
  for (const vipa::Define& d : c.definition.defines) {
    if (!c.definition.distributes_of(d.address).empty()) continue;
    out.push_back(
        fmt::format("{} is defined but has no VIPADISTRIBUTE: only this node serves it", d.address.to_string()));
  }
  if (!c.definition.backups.empty()) {
    out.push_back("VIPABACKUP: this version lists the node as backup, but takes nothing over yet");
  }
  if (!c.definition.ranges.empty()) out.push_back("VIPARANGE: this version reads it, but does not act on it yet");
  return out;
}

std::string filters_text(std::size_t count) {
  if (count == 0) return "no static filter";
  return fmt::format("{} static filter{}", count, count == 1 ? "" : "s");
}

void write_summary(const NodeConfig& c, std::ostream& out) {
  out << fmt::format("{}: no errors. Node {} of cluster {} would\n", c.file, c.name, c.cluster);
  out << fmt::format("  join by the facility at {}, reachable for members at {} on {}\n",
                     fmt::join(c.facility.endpoints, ", "), c.xcf.address.to_string(), c.interfaces.xcf);
  for (const vipa::Define& d : c.definition.defines) {
    out << fmt::format("  own {}/{} on {}: {}; {}\n", d.address.to_string(), d.subnet.length, c.interfaces.network,
                       distribution_text(c, d.address), filters_text(filter_count(c, d.address)));
  }
  for (const vipa::Backup& b : c.definition.backups) {
    out << fmt::format("  back up {} with rank {}: {}; {}\n", b.address.to_string(), b.rank,
                       distribution_text(c, b.address), filters_text(filter_count(c, b.address)));
  }
  out << "  be a target of every DVIPA whose owner names it\n";
  out << (c.ike.enabled() ? fmt::format("  take keys from charon at {}\n", c.ike.socket) : "  run no charon\n");
  out << fmt::format("  answer testudo status at {}\n", c.control.socket);
  for (const std::string& note : notes_on(c)) out << "note: " << note << "\n";
}

json distributions_json(const NodeConfig& c, IpAddress dvipa) {
  json out = json::array();
  for (const vipa::Distribute& d : c.definition.distributes_of(dvipa)) {
    out.push_back({{"ports", d.all_ports() ? json("all") : json(d.ports)},
                   {"targets", d.all_targets() ? json("all") : json(target_names(d))}});
  }
  return out;
}

json summary_json(const NodeConfig& c) {
  json owns = json::array();
  for (const vipa::Define& d : c.definition.defines) {
    owns.push_back({{"address", d.address.to_string()},
                    {"subnet", d.subnet.to_string()},
                    {"distributes", distributions_json(c, d.address)},
                    {"filters", filter_count(c, d.address)}});
  }
  json backs_up = json::array();
  for (const vipa::Backup& b : c.definition.backups) {
    backs_up.push_back({{"address", b.address.to_string()},
                        {"rank", b.rank},
                        {"distributes", distributions_json(c, b.address)},
                        {"filters", filter_count(c, b.address)}});
  }
  return {{"node", c.name}, {"cluster", c.cluster}, {"owns", owns}, {"backs_up", backs_up}, {"notes", notes_on(c)}};
}

/// What the running node says of charon's proposals; nothing when it does not run, for then charon has no one to
/// tell.
vipa::Diagnostics check_charon(const NodeConfig& c) {
  vipa::Diagnostics out;
  if (!c.ike.enabled()) return out;
  const Result<json> status = ask(c.control.socket, "status", 5s);
  if (!status) return out;
  for (const json& mismatch : status->value("ike", json::object()).value("mismatches", json::array())) {
    if (mismatch.is_string()) out.push_back({c.file, 0, 0, "charon's configuration", mismatch.get<std::string>()});
  }
  return out;
}

}  // namespace

int check(const CheckOptions& options, std::ostream& out) {
  node::LoadedConfig loaded = node::load_config(options.config);
  if (loaded.errors.empty() && options.live) {
    loaded.errors = node::check_live(loaded.config);
    const vipa::Diagnostics charon = check_charon(loaded.config);
    loaded.errors.insert(loaded.errors.end(), charon.begin(), charon.end());
  }
  const bool ok = loaded.errors.empty();
  if (options.json) {
    json answer = ok ? summary_json(loaded.config) : json::object();
    answer["ok"] = ok;
    answer["file"] = options.config;
    answer["errors"] = node::errors_json(loaded.errors);
    out << answer.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  } else if (ok) {
    write_summary(loaded.config, out);
  } else {
    for (const vipa::Diagnostic& e : loaded.errors) out << e.to_string() << "\n";
    out << fmt::format("{}: {} error{}\n", options.config, loaded.errors.size(),
                       loaded.errors.size() == 1 ? "" : "s");
  }
  return ok ? kOk : kFailed;
}

}  // namespace testudo::cli
