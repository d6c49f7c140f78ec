// SPDX-License-Identifier: Apache-2.0
// IKEv2's numbers of algorithms, which are charon's, and what they are called; to suites and back.
//
//   Result<crypto::Suite> suite = ike::suite_of({.protocol = kEsp, .encryption = 20, .encryption_key = 20});
//   // error: "ESP proposal 3DES_CBC(3) with a key of 192 bits, HMAC_MD5_96(1) with 128 bits: …"
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "crypto/suite.h"
#include "ipsec/sa_parameters.h"

namespace testudo::ike {

/// One SA's algorithms. Numbers as in IANA's "IKEv2 Transform Attribute Values" (types 1 and 3), 0 or 1024 for
/// none; key lengths in bytes, salts included.
struct Algorithms {
  ipsec::Protocol protocol = ipsec::Protocol::kEsp;
  std::uint32_t encryption = 0;
  std::size_t encryption_key = 0;
  std::uint32_t integrity = 0;
  std::size_t integrity_key = 0;
};

/// Fails, naming the proposal, when the engine has no such suite.
Result<crypto::Suite> suite_of(const Algorithms& algorithms);

/// The key sizes that a proposal leaves open, in bytes, salts included; nothing for an algorithm that is not here.
/// `key_bits`: as in the proposal, without salt; 0: the algorithm has only one.
[[nodiscard]] std::optional<std::size_t> encryption_key_size(std::uint32_t number, std::uint32_t key_bits);
[[nodiscard]] std::optional<std::size_t> integrity_key_size(std::uint32_t number);

/// Encrypts and authenticates in one, or only authenticates but stands in encryption's place (GMAC).
[[nodiscard]] bool is_aead(std::uint32_t encryption);

/// "AES_GCM_16(20)", "none".
[[nodiscard]] std::string encryption_name(std::uint32_t number);
[[nodiscard]] std::string integrity_name(std::uint32_t number);

/// What to write into swanctl.conf instead.
[[nodiscard]] std::string supported_proposals(ipsec::Protocol protocol);

}  // namespace testudo::ike
