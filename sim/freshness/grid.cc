// SPDX-License-Identifier: Apache-2.0
#include "sim/freshness/grid.h"

namespace testudo::freshness {
namespace {

constexpr std::uint32_t kTargets[] = {1, 2, 4, 8, 16};
constexpr double kRates[] = {0.1e6, 0.5e6, 1e6};  // packets per second
constexpr std::uint32_t kBursts[] = {8, 44};
constexpr std::uint32_t kWindows[] = {32, 64, 128, 1024};
constexpr Duration kGuards[] = {0us, 20us, 40us};

void add_leases(std::vector<GridCase>& all, const std::string& group, Case c) {
  for (const std::uint32_t window : kWindows) {
    for (const Duration guard : kGuards) {
      c.windows = {window};
      c.guard = guard;
      all.push_back({group, c});
    }
  }
}

/// These know of no window, so that one run shows what each window would refuse.
void add_others(std::vector<GridCase>& all, const std::string& group, Case c) {
  c.windows.assign(std::begin(kWindows), std::end(kWindows));
  c.guard = 0us;
  for (const std::uint32_t block : {64u, 1024u}) {
    c.scheme = Scheme::kBlocks;
    c.block = block;
    all.push_back({group, c});
  }
  c.block = 0;
  for (const Scheme scheme : {Scheme::kPerPacket, Scheme::kPerBurst}) {
    c.scheme = scheme;
    all.push_back({group, c});
  }
}

void add_main(std::vector<GridCase>& all) {
  for (const std::uint32_t targets : kTargets) {
    for (const double rate : kRates) {
      for (const std::uint32_t burst : kBursts) {
        const Case c{.targets = targets, .rate = rate, .burst = burst};
        add_leases(all, "main", c);
        add_others(all, "main", c);
      }
    }
  }
}

void add_bounded(std::vector<GridCase>& all) {
  for (const std::uint32_t targets : {4u, 16u}) {
    for (const double rate : {0.5e6, 1e6}) {
      for (const std::uint32_t burst : kBursts) {
        add_leases(all, "bounded",
                   {.targets = targets,
                    .rate = rate,
                    .burst = burst,
                    .path = {.uniform_most = 20us},
                    .owner_sends = true});
      }
    }
  }
}

void add_distance(std::vector<GridCase>& all) {
  constexpr XcfDelay kDelays[] = {{.least = 28us, .most = 32us, .spread = 4us},
                                  {.least = 10us, .most = 50us, .spread = 4us},
                                  {.least = 10us, .most = 50us, .spread = 40us}};
  for (const XcfDelay& xcf : kDelays) {
    for (const std::uint32_t targets : {4u, 16u}) {
      for (const std::uint32_t window : {32u, 64u, 128u}) {
        Case c{.targets = targets, .burst = 44, .windows = {window}, .xcf = xcf};
        c.rate = 1.5 * bound(c);
        all.push_back({"distance", c});
      }
    }
  }
}

void add_answers(std::vector<GridCase>& all) {
  for (const std::uint32_t targets : {4u, 16u}) {
    for (const double rate : {20e3, 100e3, 300e3}) {
      for (const std::uint32_t burst : {1u, 4u}) {
        for (const std::uint32_t window : {32u, 128u}) {
          for (const bool offers : {false, true}) {
            all.push_back({"answers",
                           {.targets = targets,
                            .rate = rate,
                            .burst = burst,
                            .windows = {window},
                            .answers = {.on = true, .offers = offers}}});
          }
        }
      }
    }
  }
}

}  // namespace

std::vector<GridCase> grid() {
  std::vector<GridCase> all;
  add_main(all);
  add_bounded(all);
  add_distance(all);
  add_answers(all);
  return all;
}

}  // namespace testudo::freshness
