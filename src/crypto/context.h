// SPDX-License-Identifier: Apache-2.0
// CipherContext: suite and expanded key of one SA, plain bytes of a fixed size that an Engine fills and reads.
// Where one comes from: crypto/context_cache.h on the packet path; Engine::make_context() where few are wanted and
// each may cost 1 KiB for good.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/locked_memory.h"
#include "crypto/suite.h"

namespace testudo::crypto {

enum class Backend : std::uint8_t {
  kBest,  // ipsec-mb where the CPU has what it needs, else OpenSSL
  kIpsecMb,
  kOpenssl,
};

/// Extended sequence numbers: whether the high half is authenticated too (RFC 4303 section 2.2.1, RFC 4302 section
/// 2.5.1).
enum class Esn : bool { kNo, kYes };

/// Only ever in locked memory. All of the first cache line is what every packet needs; the rest is the backend's.
class alignas(64) CipherContext {
 public:
  /// Bytes of the largest expanded key of any backend (ipsec-mb's gcm_key_data).
  static constexpr std::size_t kStorage = 1024;
  /// Of it, what a key that is expanded for a peek alone takes.
  static constexpr std::size_t kPeekStorage = 512;

  [[nodiscard]] Suite suite() const { return suite_; }
  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] bool esn() const { return esn_ == Esn::kYes; }
  [[nodiscard]] Backend backend() const { return backend_; }
  [[nodiscard]] std::size_t iv_size() const { return iv_; }
  [[nodiscard]] std::size_t icv_size() const { return icv_; }
  [[nodiscard]] std::size_t block() const { return block_; }
  /// Of the AES or ChaCha20 key that encrypts (GMAC: authenticates): 0 without one.
  [[nodiscard]] std::size_t cipher_key_size() const { return cipher_key_; }
  /// kSaltSize bytes, the first sizes of which the suite uses.
  [[nodiscard]] const std::uint8_t* salt() const { return salt_.data(); }

  /// The backend's.
  template <typename T>
  [[nodiscard]] const T& keys() const {
    static_assert(sizeof(T) <= kStorage && alignof(T) <= 64);
    return *reinterpret_cast<const T*>(storage_.data());
  }
  template <typename T>
  [[nodiscard]] T& keys() {
    static_assert(sizeof(T) <= kStorage && alignof(T) <= 64);
    return *reinterpret_cast<T*>(storage_.data());
  }

 private:
  friend class Engine;
  friend class ContextCache;

  Suite suite_;
  Mode mode_ = Mode::kNone;
  Backend backend_ = Backend::kBest;
  Esn esn_ = Esn::kNo;
  std::uint8_t iv_ = 0, icv_ = 0, block_ = 0, cipher_key_ = 0;
  std::array<std::uint8_t, 4> salt_{};
  // The cache's: whose key this is (0: nobody's), and when it was used last.
  bool used_ = false;
  std::uint64_t owner_ = 0;
  std::uint64_t burst_ = 0;
  alignas(64) std::array<std::uint8_t, kStorage> storage_{};
};
static_assert(sizeof(CipherContext) == 64 + CipherContext::kStorage);

/// A CipherContext of one's own; empty until an Engine made it.
class OwnedContext {
 public:
  OwnedContext() = default;
  [[nodiscard]] CipherContext& operator*() const { return **memory_; }
  [[nodiscard]] CipherContext* operator->() const { return &**memory_; }
  [[nodiscard]] CipherContext* get() const { return memory_ ? &**memory_ : nullptr; }

 private:
  friend class Engine;
  std::optional<Locked<CipherContext>> memory_;
};

}  // namespace testudo::crypto
