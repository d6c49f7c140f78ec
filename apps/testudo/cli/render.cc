// SPDX-License-Identifier: Apache-2.0
#include "cli/render.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/drop.h"
#include "cli/table.h"

namespace testudo::cli {
namespace {

using nlohmann::json;

constexpr Align kRight = Align::kRight;
constexpr Align kLeft = Align::kLeft;

/// A field as text; "" if it is missing or null.
std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_boolean()) return found->get<bool>() ? "yes" : "no";
  return found->dump();
}

std::uint64_t number(const json& object, const char* key) { return object.value(key, std::uint64_t{0}); }

const json& list(const json& object, const char* key) {
  static const json kEmpty = json::array();
  const auto found = object.find(key);
  return found == object.end() ? kEmpty : *found;
}

std::string joined(const json& strings) {
  return fmt::format("{}", fmt::join(strings.get<std::vector<std::string>>(), ", "));
}

std::string ports(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return fmt::format("{}", fmt::join(value.get<std::vector<unsigned>>(), ", "));
}

/// {"80": ["t1", "t2"], …} in the order of the port numbers, which is not that of the keys.
std::string ready(const json& per_port) {
  std::vector<std::pair<int, std::string>> sorted;
  for (const auto& [port, names] : per_port.items()) sorted.emplace_back(std::stoi(port), joined(names));
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> parts;
  for (const auto& [port, names] : sorted)
    parts.push_back(fmt::format("{}: {}", port, names.empty() ? "none" : names));
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string backups(const json& value) {
  std::vector<std::string> parts;
  for (const json& b : value) parts.push_back(fmt::format("{} ({})", text(b, "name"), text(b, "rank")));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string section(const std::string& title, const Table& table, const char* none) {
  return title + "\n" + (table.empty() ? std::string(none) + "\n" : table.text());
}

std::string status(const json& a) {
  Table members({"MEMBER", "ID", "XCF ADDRESS", "LINK", "IPSEC", "DISTRIBUTED IPSEC"}, {kLeft, kRight});
  for (const json& m : list(a, "members")) {
    members.row({text(m, "name"), text(m, "id"), text(m, "xcf_address"), text(m, "link"), text(m, "ipsec"),
                 text(m, "distributed_ipsec")});
  }
  Table dvipas({"DVIPA", "OWNER", "EPOCH", "ROLE HERE", "BACKUPS (RANK)", "PORTS", "TARGETS READY"},
               {kLeft, kLeft, kRight});
  for (const json& d : list(a, "dvipas")) {
    dvipas.row({text(d, "address"), text(d, "owner"), text(d, "epoch"), text(d, "role"),
                backups(list(d, "backups")), ports(list(d, "ports")),
                ready(d.value("targets_ready", json::object()))});
  }
  const json facility = a.value("facility", json::object());
  const json ike = a.value("ike", json::object());
  std::string out =
      fmt::format("node {} of cluster {}, testudo {}\n", text(a, "node"), text(a, "cluster"), text(a, "version"));
  out += fmt::format(
      "facility: {} for {}, endpoints {}\n", facility.value("reachable", false) ? "reachable" : "out of reach",
      milliseconds_text(number(facility, "since_seconds") * 1000), joined(list(facility, "endpoints")));
  out += fmt::format("charon:   {}\n", !ike.value("configured", false) ? "none on this node"
                                       : ike.value("connected", false) ? "connected"
                                                                       : "not connected");
  for (const json& m : list(a, "manual")) {
    out += fmt::format("manual:   {}: {} of {} SAs installed, {} filters\n", text(m, "file"), text(m, "installed"),
                       text(m, "sas"), text(m, "filters"));
  }
  for (const json& w : list(a, "warnings")) out += "warning: " + w.get<std::string>() + "\n";
  return out + section("\nMembers", members, "none") + section("\nDVIPAs", dvipas, "none");
}

/// Used of the soft limit of bytes, or of packets; and on the owner after what part of it hosts report.
std::string lifesize(const json& sa) {
  const json l = sa.value("lifesize", json::object());
  const std::string reports =
      l.contains("report_percent") ? fmt::format(", reports at {} %", l["report_percent"].get<double>()) : "";
  if (const std::uint64_t soft = number(l, "soft_bytes"); soft != 0)
    return fmt::format("{} of {}{}", bytes_text(number(l, "used_bytes")), bytes_text(soft), reports);
  if (const std::uint64_t soft = number(l, "soft_packets"); soft != 0)
    return fmt::format("{} of {} packets{}", number(l, "used_packets"), soft, reports);
  return "no limit";
}

std::string sa(const json& a) {
  Table sas({"DVIPA", "TUNNEL", "ORIGIN", "DIRECTION", "PROTOCOL", "IPSEC MODE", "SPI", "PEER", "ENCAPSULATION",
             "ALGORITHM", "PACKETS", "BYTES", "LIFESIZE", "SHADOWS"},
            {kLeft, kLeft, kLeft, kLeft, kLeft, kLeft, kLeft, kLeft, kLeft, kLeft, kRight, kRight, kRight});
  Table leases({"SPI", "MODE", "NEXT", "CEILING", "OUTSTANDING", "REPLAY WINDOW"},
               {kLeft, kLeft, kRight, kRight, kRight, kRight});
  for (const json& s : list(a, "sas")) {
    sas.row({text(s, "dvipa"), text(s, "tunnel"), text(s, "origin"), text(s, "direction"), text(s, "protocol"),
             text(s, "ipsec_mode"), text(s, "spi"), text(s, "peer"), text(s, "encapsulation"), text(s, "algorithm"),
             text(s, "packets"), bytes_text(number(s, "bytes")), lifesize(s), joined(list(s, "shadows"))});
    if (text(s, "direction") != "out") continue;
    leases.row({text(s, "spi"), text(s, "mode"), text(s, "next"), text(s, "ceiling"), text(s, "leases_outstanding"),
                text(s, "replay_window")});
  }
  Table filters(
      {"PRIORITY", "DIRECTION", "ACTION", "TUNNEL", "PROTOCOL", "SOURCE", "PORTS", "DESTINATION", "PORTS", "LOG"},
      {kRight});
  for (const json& f : list(a, "filters")) {
    filters.row({text(f, "priority"), text(f, "direction"), text(f, "action"), text(f, "tunnel"),
                 text(f, "protocol"), text(f, "source"), text(f, "source_ports"), text(f, "destination"),
                 text(f, "destination_ports"), text(f, "log")});
  }
  return section("Security associations", sas, "none") + section("\nSequence numbers (outbound)", leases, "none") +
         section("\nFilters, in the order of lookup", filters, "none");
}

std::string connections(const json& a) {
  Table table({"CLIENT", "DVIPA", "PROTOCOL", "TARGET", "STATE", "IPSEC", "PACKETS", "BYTES", "IDLE"},
              {kLeft, kLeft, kLeft, kLeft, kLeft, kLeft, kRight, kRight, kRight});
  for (const json& c : list(a, "connections")) {
    table.row({text(c, "client"), text(c, "dvipa"), text(c, "protocol"), text(c, "target"), text(c, "state"),
               text(c, "ipsec"), text(c, "packets"), bytes_text(number(c, "bytes")),
               milliseconds_text(number(c, "idle_ms"))});
  }
  return section(fmt::format("Connections: {}", list(a, "connections").size()), table, "none");
}

std::string_view drop_text(const std::string& name) {
  const auto* found = std::find(kDropNames.begin(), kDropNames.end(), name);
  return found == kDropNames.end() ? std::string_view()
                                   : kDropTexts[static_cast<std::size_t>(found - kDropNames.begin())];
}

std::string counters(const json& a) {
  const json port_map = a.value("ports", json::object());
  Table ports_table(
      {"PORT", "PACKETS IN", "BYTES IN", "TRAINS IN", "PACKETS OUT", "BYTES OUT", "TRAINS OUT", "SEND FAILED"},
      {kLeft, kRight, kRight, kRight, kRight, kRight, kRight, kRight});
  for (const auto& [name, p] : port_map.items()) {
    ports_table.row({name, text(p, "packets_in"), text(p, "bytes_in"), text(p, "trains_in"), text(p, "packets_out"),
                     text(p, "bytes_out"), text(p, "trains_out"), text(p, "send_failed")});
  }
  std::string out = section("Ports", ports_table, "none");
  for (const auto& [key, title] : {std::pair("inbound", "Owner, inbound"), std::pair("target", "Target"),
                                   std::pair("refreshes", "Owner, refreshes of SAs for their lifesize")}) {
    Table table({"COUNTER", "VALUE"}, {kLeft, kRight});
    const json values = a.value(key, json::object());
    for (const auto& [name, value] : values.items()) table.row({name, value.dump()});
    out += section(std::string("\n") + title, table, "none");
  }
  Table drops({"DROPPED BECAUSE", "PACKETS", "MEANING"}, {kLeft, kRight});
  const json dropped = a.value("drops", json::object());
  for (const auto& [name, value] : dropped.items()) {
    if (value.get<std::uint64_t>() != 0) drops.row({name, value.dump(), std::string(drop_text(name))});
  }
  return out + section("\nDropped", drops, "nothing");
}

std::string events(const json& a) {
  Table table({"AGO", "DVIPA", "EPOCH", "EVENT", "TOOK", "REASON"}, {kRight, kLeft, kRight, kLeft, kRight});
  for (const json& e : list(a, "events")) {
    table.row({milliseconds_text(number(e, "ago_ms")), text(e, "dvipa"), text(e, "epoch"), text(e, "what"),
               e.contains("took_ms") ? text(e, "took_ms") + " ms" : "", text(e, "reason")});
  }
  return section("Events", table, "none");
}

std::string moved(const json& a) {
  return fmt::format("{} is moving from {} to {}: `testudo events` tells when it has\n", text(a, "dvipa"),
                     text(a, "from"), text(a, "to"));
}

std::string drained(const json& a) {
  std::string out;
  for (const json& m : list(a, "moving"))
    out += fmt::format("{} is moving to {}\n", text(m, "dvipa"), text(m, "to"));
  for (const json& s : list(a, "staying"))
    out += fmt::format("{} stays: {}\n", text(s, "dvipa"), text(s, "reason"));
  return out.empty() ? "The node owns nothing.\n" : out;
}

}  // namespace

Result<std::string> render(const std::string& command, const json& answer) {
  try {
    if (command == "status") return status(answer);
    if (command == "sa") return sa(answer);
    if (command == "connections") return connections(answer);
    if (command == "counters") return counters(answer);
    if (command == "events") return events(answer);
    if (command == "dvipa move") return moved(answer);
    if (command == "drain") return drained(answer);
  } catch (const std::exception& e) {  // json's, or stoi's: another version's answer
    return fail(fmt::format("the answer has an unexpected shape ({}): --json shows it as it is", e.what()));
  }
  return fail(fmt::format("there is no table for {}: --json shows the answer as it is", command));
}

}  // namespace testudo::cli
