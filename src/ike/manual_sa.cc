// SPDX-License-Identifier: Apache-2.0
#include "ike/manual_sa.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "crypto/advice.h"

namespace testudo::ike {
namespace {

constexpr std::string_view kPrefix = "manual:";
constexpr std::size_t kNameBytes = 16;

// Begins with zeros: no IP header for AH, and for ESP the SPI 0, which is never sent (RFC 4303 section 2.1). So
// this HMAC is no ICV of anything, with HMAC-SHA2-512 as well.
constexpr char kLabel[] = "\0\0\0\0testudo: sequence numbers of a manual SA";

}  // namespace

std::string manual_tunnel(std::string_view name) { return std::string(kPrefix).append(name); }

bool is_manual(std::string_view tunnel) {
  return tunnel.starts_with(kPrefix) && tunnel.find('{') == std::string_view::npos;
}

Result<void> check_manual_suite(crypto::Suite suite, std::string_view name) {
  if (!crypto::manual_keys_forbidden(suite)) return {};
  return fail(fmt::format(
      "{} must not be used with keys from a file (RFC 8221 section 3): an IV that comes twice under one key gives "
      "the key or the text away, and the same key comes again with each start; take AES-CBC or NULL with an HMAC, "
      "AES-XCBC-96 or AES-CMAC-96, or negotiate the SA by IKEv2",
      name.empty() ? crypto::sizes(suite).name : name));
}

Secret authentication_key(const ipsec::SaParameters& sa) {
  CHECK(!crypto::manual_keys_forbidden(sa.suite));
  // The integrity algorithm's key is the last part, and of these algorithms without a salt.
  const std::size_t size = crypto::sizes({crypto::Cipher::kNone, sa.suite.integrity}).key;
  CHECK(size != 0 && sa.key.size() >= size);
  return Secret(sa.key.bytes().last(size));
}

std::string sequence_name(const ipsec::SaParameters& sa) {
  const Secret key = authentication_key(sa);
  std::array<std::uint8_t, 64> digest{};
  unsigned size = 0;
  CHECK(HMAC(EVP_sha512(), key.bytes().data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(kLabel), sizeof kLabel - 1, digest.data(), &size) != nullptr &&
        size == digest.size());
  return fmt::format("{:02x}", fmt::join(std::span(digest).first<kNameBytes>(), ""));
}

}  // namespace testudo::ike
