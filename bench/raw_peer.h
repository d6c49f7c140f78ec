// SPDX-License-Identifier: Apache-2.0
// The raw peer: intel-ipsec-mb's cryptography alone over texts of the same size, in place, without look-up,
// numbers, headers or copies. What no engine can be faster than that uses the library.
#pragma once

#include <memory>

#include "bench/contender.h"

namespace testudo::bench {

[[nodiscard]] std::unique_ptr<Contender> make_raw_peer(const Case& which);

}  // namespace testudo::bench
