// SPDX-License-Identifier: Apache-2.0
// What charon says, in Testudo's words: algorithm numbers to a crypto::Suite, an SA to SaParameters, a policy to
// filters; or a refusal that names the proposal and says what is supported.
//
//   Result<ipsec::SaParameters> sa = translate(add_sa);
//   // error: "ESP proposal 3DES_CBC(3)/192 bits, HMAC_MD5_96(1) is not supported. Supported esp_proposals: …"
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "crypto/suite.h"
#include "ike/ike_daemon.h"
#include "ipsec/sa_parameters.h"

namespace testudo::bridge {  // generated from plugins/charon/bridge.proto
class AddSa;
class Policy;
}  // namespace testudo::bridge

namespace testudo::ike {

/// Numbers as in IANA's "IKEv2 Transform Attribute Values" (types 1 and 3), 0 or 1024 for none; key lengths in
/// bytes, an AEAD's salt included.
Result<crypto::Suite> suite_of(std::uint32_t encryption, std::size_t encryption_key, std::uint32_t integrity,
                               std::size_t integrity_key);

/// The name that an SA and the filters which lead to it share: "cluster{1}". charon counts its reqids from 1
/// whenever it starts, and SAs of the one before may still carry traffic: from the second charon on, which is
/// `generation` 1, the name ends in the generation, "cluster{1}@1", so that no filter leads to another peer's SA.
[[nodiscard]] std::string tunnel_name(const std::string& connection, std::uint32_t reqid, std::uint32_t generation);

/// An SA without its id.
Result<ipsec::SaParameters> translate(const bridge::AddSa& message, std::uint32_t generation);

/// One filter. A policy of direction FWD and a trap policy (no SA yet) make none: the list is empty. Lower filter
/// priority is looked at first; more specific selectors come first within charon's priority classes, all of which
/// lie below 1,000,000, the default of static filters.
Result<Policy> translate(const bridge::Policy& message, std::uint32_t generation);

}  // namespace testudo::ike
