// SPDX-License-Identifier: Apache-2.0
// Engine: runs the cipher suites over bursts of ESP packets, in place, one virtual call per burst.
//
//   auto engine = crypto::make_engine(crypto::Backend::kBest);                       // one per thread
//   auto context = (*engine)->make_context(suite, key, crypto::Esn::kNo);            // expanded keys of one SA
//   std::array<crypto::Frame, 2> frames{…};
//   (*engine)->seal(frames);                                                         // outbound
//   const std::uint64_t authentic = (*engine)->open(frames);                         // inbound; bit i is frame i's
//
// Threads: an Engine belongs to one thread. A CipherContext may be made by one engine and used with another one of
// the same backend, on one thread at a time: the control thread makes it, then a worker owns it. Nothing is
// allocated after construction. Keys and what is derived from them lie in locked memory (base/locked_memory.h); the
// exception is what the OpenSSL backend expands, which OpenSSL keeps in its own heap and clears when it is freed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/secret.h"
#include "crypto/suite.h"

namespace testudo::crypto {

enum class Backend : std::uint8_t {
  kBest,  // ipsec-mb where the CPU has what it needs, else OpenSSL
  kIpsecMb,
  kOpenssl,
};

/// Extended sequence numbers: whether the high half is authenticated too (RFC 4303 section 2.2.1).
enum class Esn : bool { kNo, kYes };

/// The most frames of one call.
inline constexpr std::size_t kBurstMax = 64;
/// The most bytes that one peek decrypts.
inline constexpr std::size_t kPeekMax = 128;
/// All suites' ICVs have this size, in bytes.
inline constexpr std::size_t kIcvSize = 16;

/// Suite and expanded key of one SA. Made by Engine::make_context().
class CipherContext {
 public:
  CipherContext(const CipherContext&) = delete;
  CipherContext& operator=(const CipherContext&) = delete;
  virtual ~CipherContext() = default;
  [[nodiscard]] Suite suite() const { return suite_; }
  [[nodiscard]] bool esn() const { return esn_ == Esn::kYes; }
  [[nodiscard]] Backend backend() const { return backend_; }

 protected:
  CipherContext(Backend backend, Suite suite, Esn esn) : backend_(backend), suite_(suite), esn_(esn) {}

 private:
  Backend backend_;
  Suite suite_;
  Esn esn_;
};

/// One ESP packet in memory: SPI (4 bytes) · sequence number's low half (4) · IV · text · ICV (RFC 4303 section 2).
/// The text is changed in place; its size is a multiple of the suite's block and not 0 (frame_fits()).
struct Frame {
  CipherContext* context = nullptr;
  std::uint8_t* data = nullptr;
  std::uint32_t size = 0;           // bytes, from the SPI to the end of the ICV
  std::uint32_t sequence_high = 0;  // with ESN: authenticated, not sent
};

/// Whether `size` bytes can be a Frame of this suite.
[[nodiscard]] constexpr bool frame_fits(Suite suite, std::size_t size) {
  const SuiteSizes& s = sizes(suite);
  const std::size_t fixed = 8 + s.iv + s.icv;
  return size > fixed && (size - fixed) % s.block == 0;
}

/// The beginning of one ESP packet's text, to be decrypted without looking at its ICV: `out` is a guess until
/// open().
struct PeekRequest {
  const CipherContext* context = nullptr;
  const std::uint8_t* data = nullptr;  // first byte of the SPI; header, IV and `size` bytes of text follow
  std::uint32_t size = 0;              // bytes of text to decrypt; a multiple of the suite's block, <= kPeekMax
  std::uint8_t* out = nullptr;         // takes `size` bytes
};

class Engine {
 public:
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  [[nodiscard]] Backend backend() const { return backend_; }

  /// Fails when the key has not the suite's size, or memory cannot be locked. Expands the key: not for the packet
  /// path.
  [[nodiscard]] Result<std::unique_ptr<CipherContext>> make_context(Suite suite, const Secret& key, Esn esn);

  /// Encrypts each text and writes each ICV. The IV is the caller's, already in place. At most kBurstMax frames.
  virtual void seal(std::span<const Frame> frames) = 0;

  /// Verifies each ICV (compared in constant time) and decrypts. Bit i: frame i is authentic, its text is plain
  /// now. What the text and ICV of a frame without its bit contain afterwards must not be used. At most kBurstMax
  /// frames.
  [[nodiscard]] virtual std::uint64_t open(std::span<const Frame> frames) = 0;

  /// Decrypts beginnings. At most kBurstMax.
  virtual void peek(std::span<const PeekRequest> requests) = 0;

 protected:
  explicit Engine(Backend backend) : backend_(backend) {}
  virtual std::unique_ptr<CipherContext> expand(Suite suite, const Secret& key, Esn esn) = 0;

 private:
  Backend backend_;
};

/// Fails when the CPU lacks what the backend needs, or memory cannot be locked.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_engine(Backend backend);

}  // namespace testudo::crypto
