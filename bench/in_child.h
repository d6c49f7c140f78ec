// SPDX-License-Identifier: Apache-2.0
// in_child(): measures in a child process, so that every measurement begins with what was there before any.
//
//   const std::optional<Figures> figures = in_child([&] { return measure(how); });   // nothing: it died
#pragma once

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <type_traits>

#include "base/check.h"

namespace testudo::bench {

template <typename Measure>
auto in_child(Measure measure) {
  using Figures = decltype(measure());
  static_assert(std::is_trivially_copyable_v<Figures>);
  int ends[2];
  CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const Figures figures = measure();
    CHECK(write(ends[1], &figures, sizeof figures) == sizeof figures);
    _exit(0);
  }
  close(ends[1]);
  Figures figures;
  const bool whole = read(ends[0], &figures, sizeof figures) == sizeof figures;
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return whole && status == 0 ? std::optional(figures) : std::nullopt;
}

}  // namespace testudo::bench
