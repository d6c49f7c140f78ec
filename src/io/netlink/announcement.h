// SPDX-License-Identifier: Apache-2.0
// Announcements: neighbours and switches learn who has an address now. ARP for IPv4 (RFC 5227 section 2.3),
// unsolicited neighbour advertisements for IPv6 (RFC 4861 section 7.2.6).
#pragma once

#include <string>

#include "base/address.h"
#include "base/result.h"

namespace testudo::io {

/// From an Ethernet interface, to all its neighbours. ARP goes in each of its two forms (request and reply): there
/// are hosts that heed only one.
Result<void> announce_address(const std::string& interface, IpAddress address);

}  // namespace testudo::io
