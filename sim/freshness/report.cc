// SPDX-License-Identifier: Apache-2.0
#include "sim/freshness/report.h"

namespace testudo::freshness {
namespace {

std::string name_of(const Case& c) {
  switch (c.scheme) {
    case Scheme::kLeases:
      return "leases";
    case Scheme::kBlocks:
      return "blocks of " + std::to_string(c.block);
    case Scheme::kPerPacket:
      return "request per packet";
    case Scheme::kPerBurst:
      return "request per burst";
  }
  return "?";
}

double microseconds(Duration d) { return static_cast<double>(d.count()) * 1e-3; }

nlohmann::json asked(const std::string& group, const Case& c) {
  nlohmann::json json = {{"group", group},
                         {"scheme", name_of(c)},
                         {"targets", c.targets},
                         {"rate_offered", c.rate},
                         {"burst", c.burst},
                         {"xcf_us", {microseconds(c.xcf.least), microseconds(c.xcf.most)}},
                         {"xcf_spread_us", microseconds(c.xcf.spread)},
                         {"owner_sends", c.owner_sends},
                         {"seed", c.seed}};
  const bool bounded = c.path.uniform_most > Duration(0);
  json["path_jitter"] = bounded ? "uniform" : "exponential";
  json["path_jitter_us"] = microseconds(bounded ? c.path.uniform_most : c.path.mean);
  if (c.scheme == Scheme::kLeases) {
    json["guard_us"] = microseconds(c.guard);
    json["bound"] = bound(c);
  }
  if (c.answers.on) json["offers_on"] = c.answers.offers;
  return json;
}

}  // namespace

void append(nlohmann::json& all, const std::string& group, const Case& c, const Result& r) {
  const double sent = r.sent == 0 ? 1 : static_cast<double>(r.sent);
  for (const Refusals& refusals : r.refusals) {
    nlohmann::json json = asked(group, c);
    json["window"] = refusals.window;
    json["offered"] = r.offered;
    json["sent"] = r.sent;
    json["received"] = r.received;
    json["refused"] = refusals.refused;
    json["refused_by_jitter"] = refusals.by_jitter;
    json["beyond_guard_share"] = r.beyond_guard;
    json["overflowed"] = r.overflowed;
    json["late"] = r.late;
    json["rate"] = r.rate();
    json["numbers_per_packet"] = static_cast<double>(r.granted) / sent;
    json["messages_per_packet"] = static_cast<double>(r.messages) / sent;
    json["wait_p50_us"] = r.wait_p50_us;
    json["wait_p99_us"] = r.wait_p99_us;
    json["wait_max_us"] = r.wait_max_us;
    if (c.answers.on) {
      json["offers"] = r.offers;
      json["offers_used"] = r.offers_used;
    }
    all.push_back(std::move(json));
  }
}

}  // namespace testudo::freshness
