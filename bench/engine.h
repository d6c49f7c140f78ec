// SPDX-License-Identifier: Apache-2.0
// The engine under test: the whole path of ESP in tunnel mode as the data plane takes it, from a burst of packets
// to a burst of packets.
//
// Outbound: SA look-up by tunnel, sequence numbers from the lessee, IV, padding, encryption, outer header,
// counters. Inbound: outer header, SA look-up, replay check, verification and decryption, replay commit, counters.
#pragma once

#include <memory>

#include "bench/contender.h"

namespace testudo::bench {

[[nodiscard]] ipsec::SaParameters parameters_of(const Suite& suite, Direction direction, std::uint32_t sa);
[[nodiscard]] std::unique_ptr<Contender> make_engine(const Case& which);

}  // namespace testudo::bench
