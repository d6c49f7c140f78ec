// SPDX-License-Identifier: Apache-2.0
// The values of members/NAME, owner/ADDRESS and backup/ADDRESS/NAME as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "vipa/json_number.h"
#include "vipa/membership.h"
#include "vipa/ownership.h"

namespace testudo::vipa {
namespace {

std::string named(const char* what, const std::exception& e) {
  return fmt::format("not {} record: {}", what, e.what());
}

nlohmann::json to_json_value(const Distribute& d) {
  nlohmann::json targets = nlohmann::json::array();
  for (const IpAddress t : d.targets) targets.push_back(t.to_string());
  return {{"ports", d.ports}, {"targets", targets}};
}

Distribute distribute_from(IpAddress dvipa, const nlohmann::json& json) {
  Distribute out;
  out.address = dvipa;
  for (const nlohmann::json& port : json.at("ports")) out.ports.push_back(number<std::uint16_t>(port));
  for (const nlohmann::json& target : json.at("targets")) {
    const auto address = IpAddress::parse(target.get<std::string>());
    if (address) out.targets.push_back(*address);
  }
  return out;
}

}  // namespace

std::string MemberRecord::to_json() const {
  return nlohmann::json{{"name", name},
                        {"id", id.value()},
                        {"xcf_address", xcf_address.to_string()},
                        {"control_port", control_port},
                        {"data_port", data_port},
                        {"fast_port", fast_port},
                        {"incarnation", incarnation},
                        {"session", session}}
      .dump();
}

Result<MemberRecord> MemberRecord::from_json(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    MemberRecord out;
    out.name = json.at("name").get<std::string>();
    out.id = NodeId(number<std::uint16_t>(json, "id"));
    const auto address = IpAddress::parse(json.at("xcf_address").get<std::string>());
    if (!address) return tl::unexpected(address.error());
    out.xcf_address = *address;
    out.control_port = number<std::uint16_t>(json, "control_port");
    out.data_port = number<std::uint16_t>(json, "data_port");
    out.fast_port = number<std::uint16_t>(json, "fast_port");
    out.incarnation = number<std::uint32_t>(json, "incarnation");
    out.session = number<std::uint32_t>(json, "session");
    return out;
  } catch (const std::exception& e) {
    return fail(named("a member's", e));
  }
}

std::string OwnerRecord::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const Distribute& d : distributes) list.push_back(to_json_value(d));
  return nlohmann::json{{"node", node},
                        {"node_id", node_id.value()},
                        {"distributes", list},
                        {"incarnation", incarnation},
                        {"session", session},
                        {"as_backup", as_backup},
                        {"movement", movement == Movement::kWhenIdle ? "whenidle" : "immediate"},
                        {"heir", heir}}
      .dump();
}

Result<OwnerRecord> OwnerRecord::from_json(IpAddress dvipa, const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    OwnerRecord out;
    out.node = json.at("node").get<std::string>();
    out.node_id = NodeId(number<std::uint16_t>(json, "node_id"));
    for (const nlohmann::json& d : json.at("distributes")) out.distributes.push_back(distribute_from(dvipa, d));
    out.incarnation = number<std::uint32_t>(json, "incarnation");
    out.session = number<std::uint32_t>(json, "session");
    out.as_backup = json.at("as_backup").get<bool>();
    if (json.at("movement").get<std::string>() == "whenidle") out.movement = Movement::kWhenIdle;
    out.heir = json.at("heir").get<std::string>();
    return out;
  } catch (const std::exception& e) {
    return fail(named("an owner's", e));
  }
}

std::string BackupRecord::to_json() const {
  return nlohmann::json{{"node", node},
                        {"node_id", node_id.value()},
                        {"rank", rank},
                        {"incarnation", incarnation},
                        {"session", session}}
      .dump();
}

Result<BackupRecord> BackupRecord::from_json(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    BackupRecord out;
    out.node = json.at("node").get<std::string>();
    out.node_id = NodeId(number<std::uint16_t>(json, "node_id"));
    out.rank = number<std::uint8_t>(json, "rank");
    out.incarnation = number<std::uint32_t>(json, "incarnation");
    out.session = number<std::uint32_t>(json, "session");
    return out;
  } catch (const std::exception& e) {
    return fail(named("a backup's", e));
  }
}

}  // namespace testudo::vipa
