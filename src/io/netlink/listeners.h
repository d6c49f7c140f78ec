// SPDX-License-Identifier: Apache-2.0
// Who listens: a dump of the kernel's listening TCP sockets (sock_diag(7)).
#pragma once

#include <set>
#include <string>

#include "base/result.h"
#include "io/netlink/host_network.h"

namespace testudo::io {

/// Of both families. Without those that are bound to another interface than `tun`.
Result<std::set<Listener>> listening_tcp(const std::string& tun);

}  // namespace testudo::io
