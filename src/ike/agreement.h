// SPDX-License-Identifier: Apache-2.0
// Whether what charon may negotiate and what the engine can do agree, before a peer finds out.
//
//   for (const ike::Objection& o : ike::objections(children, allowed)) o.refused ? log.error(o.text) :
//   log.warning(o.text);
//   // "connection clients, child web: ESP proposal 3DES_CBC(3), HMAC_SHA1_96(2): … Write one of …"
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "crypto/suite.h"
#include "ike/ike_daemon.h"

namespace testudo::ike {

struct Objection {
  std::string text;      // one sentence or two
  bool refused = false;  // an SA of this would be refused; else RFC 8221 advises against it
};

/// In the order of the children and their proposals, each text once. `allowed`: names of suites
/// that RFC 8221 forbids (crypto/advice.h) and the configuration allows.
[[nodiscard]] std::vector<Objection> objections(const std::vector<ChildConfiguration>& children,
                                                std::span<const std::string> allowed);

/// Refuses a suite that RFC 8221 forbids and `allowed` does not name.
Result<void> check_advice(crypto::Suite suite, std::span<const std::string> allowed);

}  // namespace testudo::ike
