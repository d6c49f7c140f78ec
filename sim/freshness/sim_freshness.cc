// SPDX-License-Identifier: Apache-2.0
// sim_freshness: how fresh sequence numbers are when many targets send on one SA, by leases and by other schemes.
//
//   sim_freshness --seconds 50 out.json       the whole grid, with as many packets per case as there is time for
//   sim_freshness --packets 100000 out.json   the same, repeatable to the last bit
//   sim_freshness --one --targets 8 --rate 1e6 --burst 44 --window 128 --guard-us 20      one case, printed
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>

#include "sim/freshness/grid.h"
#include "sim/freshness/report.h"

namespace testudo::freshness {
namespace {

constexpr std::uint64_t kLeastAlone = 100'000;  // packets: of fewer, the first round trips would be more than 1 %

struct Options {
  std::string out;
  double seconds = 50;
  std::uint64_t packets = 0;  // per case; 0: as there is time for
  bool one = false;
  std::string group;
  Case single;
  double guard_us = 20, least_us = 10, most_us = 50, spread_us = 10, uniform_us = 0;
};

void add_options(CLI::App& app, Options& o) {
  app.add_option("out", o.out, "where the JSON goes; nothing: standard output");
  app.add_option("--seconds", o.seconds, "about how long all may take");
  app.add_option("--packets", o.packets, "packets per case, instead of --seconds");
  app.add_option("--group", o.group, "only this group of cases");
  app.add_flag("--one", o.one, "one case, which the following say");
  app.add_option("--targets", o.single.targets);
  app.add_option("--rate", o.single.rate, "packets per second, of all targets");
  app.add_option("--burst", o.single.burst);
  app.add_option("--window", o.single.windows, "of the peer");
  app.add_option("--block", o.single.block, "blocks of so many numbers instead of leases");
  app.add_option("--guard-us", o.guard_us);
  app.add_option("--xcf-least-us", o.least_us);
  app.add_option("--xcf-most-us", o.most_us);
  app.add_option("--xcf-spread-us", o.spread_us);
  app.add_option("--uniform-us", o.uniform_us, "a bounded jitter of the path instead of an exponential one");
  app.add_flag("--owner-sends", o.single.owner_sends);
  app.add_option("--seed", o.single.seed);
}

Duration microseconds(double us) { return Duration(static_cast<std::int64_t>(us * 1000)); }

Case single(const Options& o) {
  Case c = o.single;
  c.scheme = c.block == 0 ? Scheme::kLeases : Scheme::kBlocks;
  c.guard = microseconds(o.guard_us);
  c.xcf = {microseconds(o.least_us), microseconds(o.most_us), microseconds(o.spread_us)};
  c.path.uniform_most = microseconds(o.uniform_us);
  if (o.packets != 0) c.packets = o.packets;
  return c;
}

std::vector<GridCase> chosen(const Options& o) {
  if (o.one) return {{"one", single(o)}};
  std::vector<GridCase> all = grid();
  if (!o.group.empty()) std::erase_if(all, [&](const GridCase& c) { return c.group != o.group; });
  return all;
}

/// From how long every seventh case takes with few packets.
std::uint64_t packets_for(double seconds, const std::vector<GridCase>& all) {
  constexpr std::uint64_t kFew = 4'000, kSeventh = 7;
  const auto began = std::chrono::steady_clock::now();
  std::size_t tried = 0;
  for (std::size_t i = 0; i < all.size(); i += kSeventh, ++tried) {
    Case c = all[i].what;
    c.packets = kFew;
    (void)run(c);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  const double each = took.count() / static_cast<double>(tried * kFew);
  const double packets = seconds / each / static_cast<double>(all.size());
  return std::max<std::uint64_t>(kFew, static_cast<std::uint64_t>(packets) / 1000 * 1000);
}

int run_all(const Options& o) {
  std::vector<GridCase> all = chosen(o);
  const std::uint64_t packets = o.packets != 0 || o.one ? o.packets : packets_for(o.seconds, all);
  nlohmann::json cases = nlohmann::json::array();
  for (GridCase& c : all) {
    if (packets != 0) c.what.packets = c.what.targets > 1 ? packets : std::max(packets, kLeastAlone);
    append(cases, c.group, c.what, run(c.what));
  }
  const nlohmann::json json = {{"packets", packets}, {"cases", std::move(cases)}};
  if (o.out.empty()) {
    std::cout << json.dump(1) << '\n';
    return 0;
  }
  std::ofstream out(o.out);
  out << json.dump(1) << '\n';
  out.close();
  if (!out) std::cerr << "sim_freshness: error: cannot write " << o.out << '\n';
  return out ? 0 : 1;
}

}  // namespace
}  // namespace testudo::freshness

int main(int argc, char** argv) {
  testudo::freshness::Options options;
  CLI::App app("how fresh sequence numbers are when many targets send on one SA");
  testudo::freshness::add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return testudo::freshness::run_all(options);
}
