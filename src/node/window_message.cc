// SPDX-License-Identifier: Apache-2.0
#include "node/window_message.h"

#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>

#include "vipa/json_number.h"

namespace testudo::node {

using distributor::ReplayWitnesses;
using distributor::WindowReport;

namespace {

constexpr std::uint64_t kBlock = 64;  // numbers
constexpr int kBlocksMost = 1 << 14;  // of one SA: more than the largest ledger has

}  // namespace

xcf::v1::Window window_to_message(const WindowReport& report) {
  xcf::v1::Window message;
  message.set_sa(report.sa.value());
  message.set_top(report.top.value());
  message.set_floor(report.floor.value());
  for (const WindowReport::Block& block : report.blocks) {
    message.add_bases(block.base);
    message.add_seen(block.seen);
  }
  return message;
}

Result<WindowReport> window_from_message(const xcf::v1::Window& message) {
  const auto bad = [&](const char* why) {
    return fail(fmt::format("window of SA {:016x}: {}", message.sa(), why));
  };
  if (message.sa() == 0) return fail("window without an SA");
  if (message.bases_size() != message.seen_size()) return bad("as many bases as bit maps are expected");
  if (message.bases_size() > kBlocksMost) return bad("too many blocks");
  WindowReport report;
  report.sa = SaId(message.sa());
  report.top = SeqNo(message.top());
  report.floor = SeqNo(message.floor());
  for (int i = 0; i < message.bases_size(); ++i) {
    const std::uint64_t base = message.bases(i);
    if (base % kBlock != 0) return bad("a block begins at a multiple of 64");
    if (!report.blocks.empty() && base <= report.blocks.back().base) return bad("blocks are in rising order");
    report.blocks.push_back({.base = base, .seen = message.seen(i)});
  }
  return report;
}

Result<std::vector<WindowReport>> windows_from_message(const WindowMessages& messages) {
  std::vector<WindowReport> reports;
  for (const xcf::v1::Window& message : messages) {
    auto report = window_from_message(message);
    if (!report) return tl::unexpected(report.error());
    reports.push_back(std::move(*report));
  }
  return reports;
}

std::string witnesses_to_json(const ReplayWitnesses& witnesses) {
  nlohmann::json targets = nlohmann::json::array();
  for (const distributor::Witness& target : witnesses.targets)
    targets.push_back({{"node", target.node.value()}, {"incarnation", target.incarnation}});
  return nlohmann::json{
      {"epoch", witnesses.epoch.value()}, {"keeper", witnesses.keeper.value()}, {"targets", std::move(targets)}}
      .dump();
}

Result<ReplayWitnesses> witnesses_from_json(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    ReplayWitnesses witnesses;
    witnesses.epoch = Epoch(vipa::number<std::uint64_t>(json, "epoch"));
    witnesses.keeper = NodeId(vipa::number<std::uint16_t>(json, "keeper"));
    for (const nlohmann::json& target : json.at("targets")) {
      witnesses.targets.push_back({.node = NodeId(vipa::number<std::uint16_t>(target, "node")),
                                   .incarnation = vipa::number<std::uint32_t>(target, "incarnation")});
    }
    return witnesses;
  } catch (const std::exception& e) {
    return fail(fmt::format("not a record of witnesses: {}", e.what()));
  }
}

}  // namespace testudo::node
