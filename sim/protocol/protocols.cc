// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/protocols.h"

#include <fmt/format.h>

#include "sim/protocol/world.h"

namespace testudo::sim::protocol {

Outcome protocols(std::uint64_t seed, bool verbose) {
  World world(seed, plan_of(seed), verbose);
  running_transcript = &world.transcript();
  world.run();
  running_transcript = nullptr;
  if (!world.judge().violations().empty() && !verbose) {
    fmt::print("---- protocols, seed {}: {}\n---- the last events\n", seed, world.plan().text());
    world.transcript().print(stdout);
  }
  const Judge::Figures& f = world.judge().figures();
  return {.violations = world.judge().violations(),
          .transcript_hash = world.transcript().hash(),
          .summary =
              fmt::format("{} events; {} grants, {} shared, {} sent, {} refused with an excuse; {} from the peer, "
                          "{} accepted; epoch {}, {} SAs handed over, {} closed",
                          world.events(), f.grants, f.shared, f.sent, f.excused, world.peer().sent(), f.accepted,
                          world.written().epoch().value(), f.handovers, f.closed)};
}

}  // namespace testudo::sim::protocol
