// SPDX-License-Identifier: Apache-2.0
// Engine: runs the cipher suites over bursts of packets, in place, one virtual call per burst.
//
//   auto engine = crypto::make_engine(crypto::Backend::kBest);                       // one per thread
//   auto context = (*engine)->make_context(suite, key, crypto::Esn::kNo);            // or crypto/context_cache.h
//   std::array<crypto::Frame, 2> frames{…};
//   (*engine)->seal(frames);                                                         // outbound ESP
//   const std::uint64_t authentic = (*engine)->open(frames);                         // inbound; bit i is frame i's
//   (*engine)->sign(auth_frames);                                                    // outbound AH
//   const std::uint64_t good = (*engine)->verify(auth_frames);                       // inbound AH
//
// The frames of a burst may be of different suites, and each speaks for itself. ESP calls take contexts of ESP's
// suites, AH calls those of AH's; both of the engine's own backend (CHECKed).
//
// Threads: an Engine belongs to one thread. A CipherContext may be made by one engine and used with another one of
// the same backend, on one thread at a time. Nothing is allocated after construction, but by make_context(). Keys
// and what is derived from them lie in locked memory (base/locked_memory.h); the exception is the key that the
// OpenSSL backend used last, which OpenSSL keeps in its own heap and clears when it is freed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/secret.h"
#include "crypto/context.h"
#include "crypto/suite.h"

namespace testudo::crypto {

/// The most frames of one call.
inline constexpr std::size_t kBurstMax = 64;
/// The most bytes that one peek decrypts.
inline constexpr std::size_t kPeekMax = 128;
/// Where in a text a peek may begin: at a multiple of so many bytes.
inline constexpr std::size_t kPeekStep = 64;

/// Bytes behind a piece that is lent (Frame::lent).
inline constexpr std::size_t kLentBehind = 32;

/// One ESP packet in memory: SPI (4 bytes) · sequence number's low half (4) · IV · text · ICV (RFC 4303 section 2).
/// The text is changed in place; its size is a multiple of the suite's block and not 0 (frame_fits()).
struct Frame {
  const CipherContext* context = nullptr;
  std::uint8_t* data = nullptr;
  std::uint32_t size = 0;           // bytes, from the SPI to the end of the ICV
  std::uint32_t sequence_high = 0;  // with ESN: authenticated, not sent
  /// seal() only: the text begins with these two pieces, which lie elsewhere; in `data` is only what follows them.
  /// Encrypting from there to here costs less than copying first.
  std::span<const std::uint8_t> first{}, second{};
  /// The memory around the last piece is lent: seal() may write to first.size() bytes before `second` (if that is
  /// not empty) and to kLentBehind bytes behind the last piece, and leaves them as they were. So a text becomes one
  /// piece for as long as it is read, which is faster still. Pieces that are lent are not in read-only memory, nor
  /// does another thread read around them.
  bool lent = false;
};

/// Whether `size` bytes can be a Frame of this suite.
[[nodiscard]] constexpr bool frame_fits(Suite suite, std::size_t size) {
  const SuiteSizes& s = sizes(suite);
  const std::size_t fixed = 8 + s.iv + s.icv;
  return size > fixed && ((size - fixed) & (s.block - 1)) == 0;  // a block is a power of two; 0: no suite
}

/// The beginning of one ESP packet's text, or a later part of it, to be decrypted without looking at its ICV: `out`
/// is a guess until open().
struct PeekRequest {
  const CipherContext* context = nullptr;
  const std::uint8_t* data = nullptr;  // first byte of the SPI; header, IV, and skip + size bytes of text follow
  std::uint32_t size = 0;              // bytes of text to decrypt; a multiple of the suite's block, <= kPeekMax
  std::uint8_t* out = nullptr;         // takes `size` bytes
  std::uint32_t skip = 0;              // bytes of text before those; a multiple of kPeekStep
};

/// What AH's ICV covers (RFC 4302 section 3.3.3), made ready by the caller: contiguous, mutable fields and the ICV
/// field (with AES-GMAC: IV and ICV) zero. `icv` may lie inside `data`.
///
/// With ESN the number's high half is authenticated behind all else (section 3.3.3.2.1): the 4 bytes behind
/// data + size must be writable memory that no other frame of the burst uses. They are overwritten, and have their
/// old content when the call returns.
struct AuthFrame {
  const CipherContext* context = nullptr;
  std::uint8_t* data = nullptr;
  std::uint32_t size = 0;            // bytes; any but 0
  std::uint32_t sequence_high = 0;   // with ESN
  const std::uint8_t* iv = nullptr;  // AES-GMAC: 8 bytes, else not read
  std::uint8_t* icv = nullptr;       // sizes(suite).icv bytes: sign() writes them, verify() compares with them
};

class Engine {
 public:
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  [[nodiscard]] Backend backend() const { return backend_; }

  /// Fails when the suite does not exist, the key has not its size, or memory cannot be locked. Allocates: not for
  /// the packet path.
  [[nodiscard]] Result<OwnedContext> make_context(Suite suite, const Secret& key, Esn esn);

  /// Expands a key into a context that is new or zero. CHECKs suite and size. Never allocates.
  void expand(Suite suite, std::span<const std::uint8_t> key, Esn esn, CipherContext& context);
  /// The same for peek() alone, which takes less time and memory.
  void expand_for_peek(Suite suite, std::span<const std::uint8_t> key, Esn esn, CipherContext& context);

  /// Encrypts each text and writes each ICV. The IV is the caller's, already in place. At most kBurstMax frames.
  /// CHECKs that the pieces of a text are not longer than it.
  virtual void seal(std::span<const Frame> frames) = 0;

  /// Verifies each ICV (compared in constant time) and decrypts. Bit i: frame i is authentic, its text is plain
  /// now. What the text and ICV of a frame without its bit contain afterwards must not be used. At most kBurstMax
  /// frames.
  [[nodiscard]] virtual std::uint64_t open(std::span<const Frame> frames) = 0;

  /// Decrypts beginnings. At most kBurstMax.
  virtual void peek(std::span<const PeekRequest> requests) = 0;

  /// Writes each ICV. At most kBurstMax frames.
  virtual void sign(std::span<const AuthFrame> frames) = 0;

  /// Bit i: the ICV of frame i is right (compared in constant time). At most kBurstMax frames.
  [[nodiscard]] virtual std::uint64_t verify(std::span<const AuthFrame> frames) = 0;

 protected:
  explicit Engine(Backend backend) : backend_(backend) {}
  friend class ContextCache;
  /// What a packet reads of a context whatever its size, by 64-byte lines (bit 0: the first): to be prefetched.
  [[nodiscard]] virtual std::uint32_t hot_lines(Mode mode) const = 0;
  /// Fills the storage from the cipher's key and the integrity algorithm's, both without salt.
  virtual void expand_keys(std::span<const std::uint8_t> cipher, std::span<const std::uint8_t> integrity,
                           CipherContext& context) = 0;
  /// As much of it as peek() reads, in the first CipherContext::kPeekStorage bytes.
  virtual void expand_peek_keys(std::span<const std::uint8_t> cipher, CipherContext& context) {
    expand_keys(cipher, {}, context);
  }

 private:
  struct Keys {
    std::span<const std::uint8_t> cipher, integrity;  // without salt
  };
  [[nodiscard]] Keys describe(Suite suite, std::span<const std::uint8_t> key, Esn esn,
                              CipherContext& context) const;

  Backend backend_;
};

/// Whether a key of this size is one of the suite; else what is wrong.
[[nodiscard]] Result<void> check_key(Suite suite, std::size_t key_size);

/// Fails when the CPU lacks what the backend needs, or memory cannot be locked.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_engine(Backend backend);

}  // namespace testudo::crypto
