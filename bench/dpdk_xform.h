// SPDX-License-Identifier: Apache-2.0
// What DPDK wants to know about an SA of a case.
#pragma once

#include <rte_crypto_sym.h>
#include <rte_ip.h>
#include <rte_ipsec_sa.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/contender.h"

namespace testudo::bench {

inline constexpr std::uint16_t kIvRoom = 16;  // bytes behind a crypto operation
inline constexpr std::uint16_t kIvOffset = sizeof(rte_crypto_op) + sizeof(rte_crypto_sym_op);

/// Points into itself: not to be copied.
struct DpdkXform {
  DpdkXform(const Case& which, std::uint32_t sa);
  DpdkXform(const DpdkXform&) = delete;
  DpdkXform& operator=(const DpdkXform&) = delete;

  std::vector<std::uint8_t> key;
  rte_ipv4_hdr outer{};
  rte_crypto_sym_xform first{}, second{};
  rte_ipsec_sa_prm parameters{};

 private:
  void set_aead(const Suite& suite, rte_crypto_aead_algorithm algorithm, bool outbound);
  void set_cbc_hmac(const Suite& suite, bool outbound);
  void set_outer(std::uint32_t sa, bool outbound);
};

}  // namespace testudo::bench
