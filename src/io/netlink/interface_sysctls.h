// SPDX-License-Identifier: Apache-2.0
// The sysctls of an interface (net.ipv4.conf.NAME) that steering depends on.
#pragma once

#include <string>

#include "base/result.h"

namespace testudo::io {

/// arp_ignore and arp_announce: a host that has the DVIPA only on its TUN neither answers nor asks by ARP in its
/// name. Larger values that are set already, there or for all interfaces, stay.
Result<void> keep_arp_local(const std::string& interface);

/// A strict reverse path filter becomes a loose one (RFC 3704 section 2.4); loose and none stay.
Result<void> loosen_reverse_path_filter(const std::string& interface);

}  // namespace testudo::io
