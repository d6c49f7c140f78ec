// SPDX-License-Identifier: Apache-2.0
#include "node/window_message.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace testudo::node {

using distributor::ReplayWitnesses;
using distributor::WindowReport;

namespace {

constexpr std::uint64_t kBlock = 64;  // numbers
constexpr int kBlocksMost = 1 << 14;  // of one SA: more than the largest ledger has

/// What the library does not look at: it cuts a number that is too large for its type.
template <typename T>
T number(const nlohmann::json& record, const char* field) {
  const auto wide = record.at(field).get<std::uint64_t>();
  if (!record.at(field).is_number_unsigned() || wide > std::numeric_limits<T>::max())
    throw std::out_of_range(fmt::format("{} is out of range", field));
  return static_cast<T>(wide);
}

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
    witnesses.epoch = Epoch(number<std::uint64_t>(json, "epoch"));
    witnesses.keeper = NodeId(number<std::uint16_t>(json, "keeper"));
    for (const nlohmann::json& target : json.at("targets")) {
      witnesses.targets.push_back({.node = NodeId(number<std::uint16_t>(target, "node")),
                                   .incarnation = number<std::uint32_t>(target, "incarnation")});
    }
    return witnesses;
  } catch (const std::exception& e) {
    return fail(fmt::format("not a record of witnesses: {}", e.what()));
  }
}

}  // namespace testudo::node
