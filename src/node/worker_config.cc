// SPDX-License-Identifier: Apache-2.0
#include "node/worker_config.h"

#include <algorithm>

namespace testudo::node {
namespace {

constexpr std::uint32_t kLedgerSize = 8192;  // sequence numbers per SA

}  // namespace

path::WorkerConfig worker_config(const NodeConfig& config, const vipa::Identity& self, std::uint32_t network_mtu,
                                 Rng& rng) {
  path::WorkerConfig worker;
  worker.self = self.id;
  worker.incarnation = self.incarnation;
  worker.xcf_data = {config.xcf.address, config.xcf.data_port};
  worker.xcf_fast = {config.xcf.address, config.xcf.fast_port};
  worker.hash_key = {.k0 = rng.next(), .k1 = rng.next()};
  worker.flows.seed = ~worker.hash_key.k1;
  worker.owner_inbound.connections.capacity = config.connections.max;
  worker.owner_inbound.connections.idle_timeout = config.connections.idle_timeout;
  worker.owner_inbound.connections.closing_timeout = config.connections.closing_timeout;
  // A busy owner may be far ahead of its targets' commits: room for a train from each of many flows.
  worker.owner_inbound.ledger.size = kLedgerSize;
  worker.target_inbound = {.hold_packets = config.hold.packets, .hold_time = config.hold.time};
  worker.target_outbound = {
      .hold_packets = config.hold.packets, .hold_time = config.hold.time, .network_mtu = network_mtu};
  worker.sequencer.lease_duration = config.sequence.lease_duration;
  worker.sequencer.skew_guard = config.sequence.skew_guard;
  worker.sequencer.exclusive_most =
      static_cast<std::uint16_t>(std::min<std::uint32_t>(config.sequence.exclusive_lease, 0xffff));
  worker.sequencer.ceiling_step = config.sequence.ceiling_step;
  worker.sequencer.offers = config.sequence.offers;
  return worker;
}

crypto::Backend crypto_backend(const NodeConfig& config) {
  switch (config.ipsec.crypto) {
    case CryptoBackend::kIpsecMb:
      return crypto::Backend::kIpsecMb;
    case CryptoBackend::kOpenSsl:
      return crypto::Backend::kOpenssl;
    case CryptoBackend::kBest:
      break;
  }
  return crypto::Backend::kBest;
}

}  // namespace testudo::node
