// SPDX-License-Identifier: Apache-2.0
// What charon says, in Testudo's words: an SA to SaParameters, a policy to
// filters; or a refusal that says what is supported. Algorithms: ike/transforms.h.
//
//   Result<ipsec::SaParameters> sa = translate(add_sa);
//   // error: "mode beet is not supported: set mode = tunnel or transport"
#pragma once

#include <cstdint>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "ike/ike_daemon.h"
#include "ipsec/sa_parameters.h"

namespace testudo::bridge {  // generated from plugins/charon/bridge.proto
class AddSa;
class Policy;
}  // namespace testudo::bridge

namespace testudo::ike {

/// The name that an SA and the filters which lead to it share: "cluster{1}". charon counts its reqids from 1
/// whenever it starts, and SAs of the one before may still carry traffic: from the second charon on, which is
/// `generation` 1, the name ends in the generation, "cluster{1}@1", so that no filter leads to another peer's SA.
[[nodiscard]] std::string tunnel_name(const std::string& connection, std::uint32_t reqid, std::uint32_t generation);
/// The connection in such a name.
[[nodiscard]] std::string connection_of(const std::string& tunnel);

/// An SA without its id.
Result<ipsec::SaParameters> translate(const bridge::AddSa& message, std::uint32_t generation);

/// One filter. A policy of direction FWD and a trap policy (no SA yet) make none: the list is empty. Lower filter
/// priority is looked at first; more specific selectors come first within charon's priority classes, all of which
/// lie below 1,000,000, the default of static filters.
Result<Policy> translate(const bridge::Policy& message, std::uint32_t generation);

}  // namespace testudo::ike
