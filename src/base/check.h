// SPDX-License-Identifier: Apache-2.0
// CHECK(condition): an invariant whose violation is a bug of ours. On in every build.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace testudo {

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace testudo

#define CHECK(that) \
  (__builtin_expect(!!(that), 1) ? static_cast<void>(0) : ::testudo::check_failed(#that, __FILE__, __LINE__))
