// SPDX-License-Identifier: Apache-2.0
// What a worker is told of the node file.
#pragma once

#include "base/rng.h"
#include "node/config.h"
#include "path/worker.h"
#include "vipa/membership.h"

namespace testudo::node {

/// `network_mtu`: of the network interface, in bytes. The connection table's hash key comes from `rng`.
[[nodiscard]] path::WorkerConfig worker_config(const NodeConfig& config, const vipa::Identity& self,
                                               std::uint32_t network_mtu, Rng& rng);

[[nodiscard]] crypto::Backend crypto_backend(const NodeConfig& config);

}  // namespace testudo::node
