// SPDX-License-Identifier: Apache-2.0
// The nftables table that keeps a DVIPA's packets from the kernel (decision 2, fail closed). Replaced in one
// transaction.
#pragma once

#include <string>

#include "base/result.h"
#include "io/netlink/host_network.h"

namespace testudo::io {

/// What is given to nftables: `table inet testudo`, replacing the former one.
[[nodiscard]] std::string firewall_rules(const Steering& wanted);

Result<void> set_firewall(const Steering& wanted);
Result<void> remove_firewall();

}  // namespace testudo::io
