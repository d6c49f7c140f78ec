// SPDX-License-Identifier: Apache-2.0
#include "crypto/suite.h"

#include <algorithm>

namespace testudo::crypto {
namespace {

using internal::kCiphers;
using internal::kIntegrities;

constexpr Suite suite_at(std::size_t cipher, std::size_t integrity) {
  return {static_cast<Cipher>(cipher), static_cast<Integrity>(integrity)};
}

constexpr std::size_t count() {
  std::size_t n = 0;
  for (std::size_t c = 0; c < kCiphers.size(); ++c) {
    for (std::size_t i = 0; i < kIntegrities.size(); ++i) n += internal::exists(c, i) ? 1 : 0;
  }
  return n;
}

constexpr std::array<Suite, count()> list() {
  std::array<Suite, count()> suites;
  std::size_t n = 0;
  for (std::size_t c = 0; c < kCiphers.size(); ++c) {
    for (std::size_t i = 0; i < kIntegrities.size(); ++i) {
      if (internal::exists(c, i)) suites[n++] = suite_at(c, i);
    }
  }
  return suites;
}

constexpr auto kAll = list();

static_assert(std::ranges::all_of(kAll, [](Suite s) {
  const SuiteSizes& z = sizes(s);
  return z.icv >= 8 && z.icv <= kIcvMax && z.iv <= kIvMax && z.key <= kKeyMax && (z.block & (z.block - 1)) == 0;
}));

}  // namespace

std::span<const Suite> all_suites() { return kAll; }

std::optional<Suite> suite_of(std::string_view name) {
  const auto found = std::ranges::find_if(kAll, [name](Suite suite) { return sizes(suite).name == name; });
  if (found == kAll.end()) return std::nullopt;
  return *found;
}

std::optional<Suite> suite_of_number(std::uint32_t number) {
  const std::uint32_t cipher = number >> 8;
  const std::uint32_t integrity = number & 0xff;
  if (cipher >= kCiphers.size() || integrity >= kIntegrities.size()) return std::nullopt;
  if (!internal::exists(cipher, integrity)) return std::nullopt;
  return suite_at(cipher, integrity);
}

}  // namespace testudo::crypto
