// SPDX-License-Identifier: Apache-2.0
// The values of owner/ADDRESS and backup/ADDRESS/NAME as JSON.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "vipa/ownership.h"

namespace testudo::vipa {
namespace {

nlohmann::json to_json_value(const Distribute& d) {
  nlohmann::json targets = nlohmann::json::array();
  for (const IpAddress t : d.targets) targets.push_back(t.to_string());
  return {{"ports", d.ports}, {"targets", targets}};
}

Distribute distribute_from(IpAddress dvipa, const nlohmann::json& json) {
  Distribute out;
  out.address = dvipa;
  out.ports = json.at("ports").get<std::vector<std::uint16_t>>();
  for (const nlohmann::json& target : json.at("targets")) {
    const auto address = IpAddress::parse(target.get<std::string>());
    if (address) out.targets.push_back(*address);
  }
  return out;
}

}  // namespace

std::string OwnerRecord::to_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const Distribute& d : distributes) list.push_back(to_json_value(d));
  return nlohmann::json{{"node", node},
                        {"node_id", node_id.value()},
                        {"distributes", list},
                        {"incarnation", incarnation},
                        {"session", session}}
      .dump();
}

Result<OwnerRecord> OwnerRecord::from_json(IpAddress dvipa, const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    OwnerRecord out;
    out.node = json.at("node").get<std::string>();
    out.node_id = NodeId(json.at("node_id").get<std::uint16_t>());
    for (const nlohmann::json& d : json.at("distributes")) out.distributes.push_back(distribute_from(dvipa, d));
    out.incarnation = json.at("incarnation").get<std::uint32_t>();
    out.session = json.at("session").get<std::uint32_t>();
    return out;
  } catch (const nlohmann::json::exception& e) {
    return fail(fmt::format("not an owner's record: {}", e.what()));
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
    out.node_id = NodeId(json.at("node_id").get<std::uint16_t>());
    out.rank = json.at("rank").get<std::uint8_t>();
    out.incarnation = json.at("incarnation").get<std::uint32_t>();
    out.session = json.at("session").get<std::uint32_t>();
    return out;
  } catch (const nlohmann::json::exception& e) {
    return fail(fmt::format("not a backup's record: {}", e.what()));
  }
}

}  // namespace testudo::vipa
