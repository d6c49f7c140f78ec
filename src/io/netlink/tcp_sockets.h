// SPDX-License-Identifier: Apache-2.0
// Who listens, and who is connected: dumps of the kernel's TCP sockets (sock_diag(7)).
#pragma once

#include <set>
#include <span>
#include <string>

#include "base/result.h"
#include "io/netlink/host_network.h"

namespace testudo::io {

/// Of both families. Without those that are bound to another interface than `tun`.
Result<std::set<Listener>> listening_tcp(const std::string& tun);
/// The same of connections whose local address is one of these.
Result<std::set<TcpConnection>> connected_tcp(const std::string& tun, std::span<const IpAddress> local);

}  // namespace testudo::io
