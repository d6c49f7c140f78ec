// SPDX-License-Identifier: Apache-2.0
#include "node/install_times.h"

#include <algorithm>
#include <vector>

namespace testudo::node {

void InstallTimes::ended(SaId sa, Time now) {
  const auto found = under_way_.find(sa);
  if (found == under_way_.end()) return;
  kept_[count_++ % kKept] = now - found->second;
  under_way_.erase(found);
}

InstallTimes::Summary InstallTimes::summary() const {
  const std::size_t count = std::min<std::size_t>(count_, kKept);
  if (count == 0) return {};
  std::vector<Duration> sorted(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(count));
  std::ranges::sort(sorted);
  return {.count = count_, .p50 = sorted[count / 2], .p99 = sorted[count * 99 / 100], .max = sorted.back()};
}

}  // namespace testudo::node
