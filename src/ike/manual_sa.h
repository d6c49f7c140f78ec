// SPDX-License-Identifier: Apache-2.0
// Manual SAs: those that an operator gives by a file and no IKE daemon negotiates or rekeys
// (docs/decisions/0009-manual-sas.md). They are installed and distributed like all others; what tells them apart is
// their tunnel's name, and where their sequence numbers go on.
//
//   sa.tunnel = ike::manual_tunnel("branch");               // "manual:branch"
//   if (ike::is_manual(sa.tunnel)) …                        // the IKE daemon is not told of it
//   ceilings.open({.name = ike::sequence_name(sa), …}, …);  // the numbers go on where this key's have been
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "crypto/suite.h"
#include "ipsec/sa_parameters.h"

namespace testudo::ike {

[[nodiscard]] std::string manual_tunnel(std::string_view name);
/// An IKE daemon's tunnel never looks like this: its name has braces (tunnel_name() in translation.h).
[[nodiscard]] bool is_manual(std::string_view tunnel);

/// Refuses what RFC 8221 section 3 forbids with such keys: suites that must never see an IV twice.
/// The error calls it `name`; empty: as the suite is called.
Result<void> check_manual_suite(crypto::Suite suite, std::string_view name = {});

/// The part of the key that authenticates the outermost header. The suite is one that check_manual_suite() takes.
[[nodiscard]] Secret authentication_key(const ipsec::SaParameters& sa);

/// Names the outbound sequence numbers of whatever SA has this authentication key: 32 hexadecimal digits. Tells
/// nothing of the key: HMAC under the key itself of a text that no packet can be.
[[nodiscard]] std::string sequence_name(const ipsec::SaParameters& sa);

}  // namespace testudo::ike
