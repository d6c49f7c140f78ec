// SPDX-License-Identifier: Apache-2.0
// The sysctls of an interface (net.ipv4.conf.NAME, net.ipv6.conf.NAME) that steering depends on.
#pragma once

#include <string>

#include "base/result.h"

namespace testudo::io {

/// arp_ignore and arp_announce: a host that has the DVIPA only on its TUN neither answers nor asks by ARP in its
/// name. Larger values that are set already, there or for all interfaces, stay.
Result<void> keep_arp_local(const std::string& interface);

/// Whether the kernel has IPv6 at all.
[[nodiscard]] bool has_ipv6();

/// For a TUN device that is not up yet: the kernel gives it no link-local address, and neither solicits nor heeds
/// routers there. Nothing to do where the kernel has no IPv6.
Result<void> keep_ipv6_quiet(const std::string& interface);

/// IPv6 on an interface even where new interfaces come up without.
Result<void> allow_ipv6(const std::string& interface);

/// A strict reverse path filter becomes a loose one (RFC 3704 section 2.4); loose and none stay.
Result<void> loosen_reverse_path_filter(const std::string& interface);

}  // namespace testudo::io
