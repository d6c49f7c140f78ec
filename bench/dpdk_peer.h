// SPDX-License-Identifier: Apache-2.0
// The peer: DPDK's librte_ipsec over the crypto device aesni_mb, which itself stands on intel-ipsec-mb.
//
//   start_dpdk();
//   auto peer = make_dpdk_peer(which, {.mode = DpdkMode::kCpu, .lookup = true});
//
// Outbound, both modes: rte_ipsec_pkt_*_prepare → crypto → rte_ipsec_pkt_process. The session is found by the
// packet's SA number, as an SPD look-up would have given it. Inbound with `lookup`: rte_ipsec_sad_lookup() by the
// SPI alone, which is its fastest kind; without, the session is found by the SA number.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/contender.h"

namespace testudo::bench {

enum class DpdkMode : std::uint8_t {
  kDevice,  // enqueue to the crypto device and dequeue from it, a burst at a time
  kCpu,     // rte_cryptodev_sym_cpu_crypto_process() within prepare: a call per run of packets of one SA
};

struct DpdkOptions {
  DpdkMode mode = DpdkMode::kDevice;
  bool lookup = true;
};

/// Once per process: no huge pages, no PCI, the core that the process is pinned to.
void start_dpdk();
[[nodiscard]] std::unique_ptr<Contender> make_dpdk_peer(const Case& which, const DpdkOptions& options);

}  // namespace testudo::bench
