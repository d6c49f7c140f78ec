// SPDX-License-Identifier: Apache-2.0
// ARP announcements (RFC 5227 section 2.3): neighbours and switches learn who has an address now.
#pragma once

#include <string>

#include "base/address.h"
#include "base/result.h"

namespace testudo::io {

/// Broadcasts one announcement in each of the two forms (request and reply): there are hosts that heed only one.
Result<void> announce_by_arp(const std::string& interface, IpAddress address);

}  // namespace testudo::io
