// SPDX-License-Identifier: Apache-2.0
// ESP packets for tests: made of their parts, written as hex.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "crypto/engine.h"

namespace testudo::crypto {

using Bytes = std::vector<std::uint8_t>;

/// Hex digits; blanks are ignored.
inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  int digits = 0;
  for (const char c : text) {
    if (c == ' ') continue;
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    CHECK(value >= 0 && value < 16);
    if (digits++ % 2 == 0) bytes.push_back(0);
    bytes.back() = static_cast<std::uint8_t>(bytes.back() << 4 | value);
  }
  return bytes;
}

/// first, first + 1, …
inline Bytes counting(std::size_t size, std::uint8_t first) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(first + i);
  return bytes;
}

inline Bytes random_bytes(Rng& rng, std::size_t size) {
  Bytes bytes(size);
  rng.fill(bytes);
  return bytes;
}

/// Of ESP, and of AH.
inline std::vector<Suite> suites_of(bool ah) {
  std::vector<Suite> suites;
  for (const Suite suite : all_suites()) {
    if (is_ah(suite) == ah) suites.push_back(suite);
  }
  return suites;
}
inline const std::vector<Suite> kEspSuites = suites_of(false);
inline const std::vector<Suite> kAhSuites = suites_of(true);

inline Bytes concat(std::initializer_list<std::span<const std::uint8_t>> parts) {
  Bytes all;
  for (const auto part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

inline std::unique_ptr<Engine> engine_of(Backend backend) {
  auto engine = make_engine(backend);
  CHECK(engine.has_value());
  return std::move(*engine);
}

inline OwnedContext context_of(Engine& engine, Suite suite, std::span<const std::uint8_t> key, Esn esn = Esn::kNo) {
  auto context = engine.make_context(suite, Secret(key), esn);
  CHECK(context.has_value());
  return std::move(*context);
}

inline Frame frame_of(const CipherContext& context, Bytes& bytes, std::uint32_t sequence_high = 0) {
  return {.context = &context,
          .data = bytes.data(),
          .size = static_cast<std::uint32_t>(bytes.size()),
          .sequence_high = sequence_high};
}

}  // namespace testudo::crypto
