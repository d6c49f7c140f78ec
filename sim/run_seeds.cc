// SPDX-License-Identifier: Apache-2.0
#include "sim/run_seeds.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "sim/transcript.h"

namespace testudo::sim {
namespace {

struct Wanted {
  std::string program;
  const Scenario* scenario = nullptr;
  std::uint64_t first = 1, last = 1;
  bool verbose = false;
};

std::uint64_t running_seed = 0;

// A CHECK of the code under test has failed: say where the cluster was, then die as usual.
void on_abort(int) {
  std::signal(SIGABRT, SIG_DFL);
  std::fprintf(stderr, "the program ends while seed %llu runs\n", static_cast<unsigned long long>(running_seed));
  if (running_transcript != nullptr) running_transcript->print(stderr);
  std::abort();
}

bool run_seed(const Wanted& wanted, std::uint64_t seed) {
  running_seed = seed;
  const Outcome outcome = wanted.scenario->run(seed, wanted.verbose);
  std::printf("seed %llu: %s, transcript %016llx; %s\n", static_cast<unsigned long long>(seed),
              outcome.violations.empty() ? "ok" : "FAILED",
              static_cast<unsigned long long>(outcome.transcript_hash), outcome.summary.c_str());
  for (const std::string& violation : outcome.violations) std::printf("  %s\n", violation.c_str());
  if (!outcome.violations.empty()) {
    std::printf("  replay: %s --scenario %s --seed %llu --verbose\n", wanted.program.c_str(), wanted.scenario->name,
                static_cast<unsigned long long>(seed));
  }
  std::fflush(stdout);
  return outcome.violations.empty();
}

// Every `jobs`-th seed.
int run_share(const Wanted& wanted, std::uint64_t share, std::uint64_t jobs) {
  int failed = 0;
  for (std::uint64_t seed = wanted.first + share; seed <= wanted.last; seed += jobs) {
    if (!run_seed(wanted, seed)) ++failed;
  }
  return failed;
}

int run_processes(const Wanted& wanted, std::uint64_t jobs) {
  std::vector<pid_t> children;
  for (std::uint64_t share = 0; share < jobs; ++share) {
    const pid_t child = fork();
    if (child == 0) _exit(run_share(wanted, share, jobs) == 0 ? 0 : 1);
    children.push_back(child);
  }
  int status = 0;
  for (const pid_t child : children) {
    int ended = 0;
    if (waitpid(child, &ended, 0) != child || !WIFEXITED(ended) || WEXITSTATUS(ended) != 0) status = 1;
  }
  return status;
}

bool parse_range(const std::string& text, Wanted& wanted) {
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, wanted.first);
  if (first.ec != std::errc() || end - first.ptr < 3 || first.ptr[0] != '.' || first.ptr[1] != '.') return false;
  const auto last = std::from_chars(first.ptr + 2, end, wanted.last);
  return last.ec == std::errc() && last.ptr == end && wanted.first <= wanted.last;
}

}  // namespace

const Transcript* running_transcript = nullptr;

int run_seeds(std::span<const Scenario> scenarios, int argc, char** argv) {
  CLI::App app("Runs scenarios of a simulated cluster; the seed alone determines a run.");
  std::string scenario = scenarios.front().name;
  std::string range;
  std::uint64_t seed = 1;
  std::uint64_t jobs = 1;
  Wanted wanted{.program = argv[0]};
  app.add_option("--scenario", scenario, "which one")->capture_default_str();
  app.add_option("--seed", seed, "one seed")->capture_default_str();
  app.add_option("--seeds", range, "a range of seeds: FIRST..LAST");
  app.add_option("--jobs", jobs, "processes")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_flag("--verbose", wanted.verbose, "print the transcript as it comes");
  CLI11_PARSE(app, argc, argv);
  wanted.first = wanted.last = seed;
  if (!range.empty() && !parse_range(range, wanted)) {
    std::fprintf(stderr, "--seeds %s: write FIRST..LAST, as in 1..200\n", range.c_str());
    return 2;
  }
  for (const Scenario& known : scenarios) {
    if (scenario == known.name) wanted.scenario = &known;
  }
  if (wanted.scenario == nullptr) {
    std::fprintf(stderr, "--scenario %s: not known\n", scenario.c_str());
    return 2;
  }
  std::signal(SIGABRT, on_abort);
  return jobs == 1 ? (run_share(wanted, 0, 1) == 0 ? 0 : 1) : run_processes(wanted, jobs);
}

}  // namespace testudo::sim
