// SPDX-License-Identifier: Apache-2.0
// sim_protocols: the scenario `protocols` alone, without what the rest of sim_cluster needs: built in a few
// seconds.
#include <array>

#include "sim/protocol/protocols.h"

int main(int argc, char** argv) {
  constexpr std::array kScenarios = {
      testudo::sim::Scenario{.name = "protocols", .run = testudo::sim::protocol::protocols}};
  return testudo::sim::run_seeds(kScenarios, argc, argv);
}
