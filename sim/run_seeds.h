// SPDX-License-Identifier: Apache-2.0
// run_seeds(): the command line of the simulation programs. One seed or many, in one process or several.
//
//   int main(int argc, char** argv) { return testudo::sim::run_seeds(scenarios(), argc, argv); }
//
//   sim_cluster --seed 17 --verbose              replays seed 17 and prints its whole transcript
//   sim_cluster --seeds 1..200 --jobs 2          many seeds, in parallel processes
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace testudo::sim {

class Transcript;

struct Outcome {
  std::vector<std::string> violations;
  std::uint64_t transcript_hash = 0;
  std::string summary;  // one line of figures
};

struct Scenario {
  const char* name;
  Outcome (*run)(std::uint64_t seed, bool verbose);
};

/// Of the cluster that runs at the moment: a CHECK that fails ends the program, and this is printed first.
extern const Transcript* running_transcript;

/// The first scenario is the default. Returns what main() returns: 0 when every seed is well.
int run_seeds(std::span<const Scenario> scenarios, int argc, char** argv);

}  // namespace testudo::sim
