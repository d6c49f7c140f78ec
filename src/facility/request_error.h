// SPDX-License-Identifier: Apache-2.0
// What every facility refuses before it sends anything, so that all of them refuse the same.
#pragma once

#include <optional>

#include "base/result.h"
#include "facility/facility.h"

namespace testudo::facility {

inline std::optional<Error> request_error(const CompareAndSet& request, bool session_open) {
  if (request.key.empty()) return Error{"compare-and-set needs a key"};
  if (request.with_session && !session_open) {
    return Error{"no session is open, so '" + request.key + "' cannot be bound to it: open_session() first"};
  }
  if (!request.fence_key.empty() && request.fence_created == Revision{}) {
    return Error{"a fence needs the revision at which '" + request.fence_key + "' was created"};
  }
  return std::nullopt;
}

inline std::optional<Error> removal_error(const std::string& key, Revision expected) {
  if (key.empty()) return Error{"remove needs a key"};
  if (expected == Revision{}) return Error{"remove needs the revision of '" + key + "' that is to go"};
  return std::nullopt;
}

}  // namespace testudo::facility
