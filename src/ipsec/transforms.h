// SPDX-License-Identifier: Apache-2.0
// Transforms: what one worker needs to turn plain packets into protected ones and back: engine, expanded keys and
// random IVs. ESP (RFC 4303), AH (RFC 4302) and AH over ESP, tunnel and transport mode, IPv4 and IPv6 in each
// other, burst-wise. Sequence numbers are the caller's: none is chosen or judged here. Nor is anything counted:
// Sa::count() is for whoever sends a packet or commits its number.
//
//   auto transforms = ipsec::Transforms::make(std::move(engine), rng);       // one per worker
//
//   std::array<ipsec::EncapRequest, 32> burst;                               // one per segment of a train
//   burst[i] = {.sa = sa, .seq = numbers[i], .header = {…}, .payload = {…}, .out = train + i * size};
//   transforms->encap(burst);                                     // burst[i].drop says what could not be done
//
//   std::array<ipsec::DecapRequest, 32> in;                       // replay check before, by the caller
//   in[i] = {.sa = sa, .seq = seq, .data = packet, .size = size, .offset = ip->header_size()};
//   transforms->decap(in);
//   if (in[i].authentic) sa->replay().commit(in[i].seq);          // even if a later step drops the packet
//   if (!in[i].drop) deliver(in[i].inner);
//
//   transforms->peek(requests, peeked);                           // ipsec/peek.h
//   transforms->forget(*sa);                                      // the SA leaves the worker
//
// Threads: the worker that owns it and the SAs. At most crypto::kBurstMax requests at once. Nothing allocates after
// make().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/address.h"
#include "base/drop.h"
#include "base/result.h"
#include "base/rng.h"
#include "crypto/context_cache.h"
#include "crypto/engine.h"
#include "crypto/random_stream.h"
#include "ipsec/peek.h"
#include "ipsec/sa.h"
#include "ipsec/sizes.h"

namespace testudo::ipsec {

/// Headers before AH (IPv4 with options, IPv6 with extension headers) that can be authenticated.
inline constexpr std::size_t kAhHeadMax = 256;  // bytes
/// With AH and extended sequence numbers, so many bytes behind the packet are written for a moment and restored:
/// behind EncapRequest::out's and DecapRequest::data's (or ::out's).
inline constexpr std::size_t kEsnTailroom = 4;
/// DecapRequest::out of bare ESP under a transport-mode SA takes so many bytes more than `size`.
inline constexpr std::size_t kRestoredHeader = 40;

/// A plain IP packet in two pieces, because a super-segment is cut: fresh headers, payload where it lies.
struct EncapRequest {
  Sa* sa = nullptr;                         // outbound
  SeqNo seq{};                              // not 0
  std::span<const std::uint8_t> header{};   // first piece: the whole IP header chain at least
  std::span<const std::uint8_t> payload{};  // second piece; may be empty
  /// Takes encap_size() bytes (and see kEsnTailroom); overlaps no piece. Gets the whole outer IP packet; with UDP
  /// encapsulation, what is behind the UDP header.
  std::uint8_t* out = nullptr;
  /// encap() may write to memory around the last piece, and leaves it as it was: to header.size() bytes before
  /// `payload` (if that is not empty), and to crypto::kLentBehind bytes behind the last piece. That makes large
  /// packets faster (crypto::Frame::lent).
  bool lent = false;
  std::uint16_t ip_id = 0;  // outer IPv4 in tunnel mode: unique per peer for some time, should DF not be set
  // results
  /// Set: `out` is not a packet. kSequenceExhausted (no number or no IV left), kMalformed (no IP packet), kTooBig
  /// (for the length field), and in transport mode kFragment, kNotSelected (not between the SA's addresses), and
  /// kUnsupported (IP options or extension headers that UDP encapsulation would lose, or too many for AH).
  std::optional<Drop> drop{};
  std::uint32_t size = 0;          // bytes written to `out`
  std::uint8_t traffic_class = 0;  // of the outer header, which with UDP encapsulation the socket writes
};

struct DecapRequest {
  Sa* sa = nullptr;              // inbound
  SeqNo seq{};                   // the full number, as the caller inferred or was told; its low half is checked
  std::uint8_t* data = nullptr;  // the packet, exactly; changed, unless `out` is set (and see kEsnTailroom)
  std::uint32_t size = 0;        // bytes
  /// Where AH or ESP begins, behind the outer IP header. 0: it begins at once, and came in UDP from `source` to
  /// `destination`, with `traffic_class`.
  std::uint32_t offset = 0;
  std::uint8_t traffic_class = 0;
  IpAddress source{}, destination{};
  /// Set: works in these `size` bytes, and leaves `data` as it is. Bare ESP under a transport-mode SA demands it,
  /// with kRestoredHeader bytes more (CHECKed: decap_needs_out()).
  std::uint8_t* out = nullptr;
  // results
  bool authentic = false;  // every ICV is right
  /// Nothing: `inner` is a good packet. kTruncated, kMalformed (sizes, lengths, SPI, sequence number), kBadIcv,
  /// kBadPadding, kDummy, kWrongMode (no IP packet in tunnel mode, or one in transport mode), kEcn, kUnsupported,
  /// kFragment (transport mode: a fragment was protected). What wire::parse_ip() refuses is kMalformed.
  std::optional<Drop> drop{};
  /// One whole IP packet, within `data` or `out`: the inner one, or in transport mode the outer one without AH and
  /// ESP, its lengths and checksums made right.
  std::span<std::uint8_t> inner{};
};

/// Whether decapsulation cannot be done in place.
[[nodiscard]] inline bool decap_needs_out(const Sa& sa, std::size_t offset) {
  return offset == 0 && sa.transport();
}

[[nodiscard]] std::size_t encap_size_transport(const Sa& sa, std::span<const std::uint8_t> header,
                                               std::size_t size);
/// Bytes of what encapsulation makes of an IP packet of `size` bytes that begins with `header` (whole headers; only
/// looked at in transport mode): the size of the outer IP packet, or with UDP encapsulation of what is in UDP.
[[nodiscard]] inline std::size_t encap_size(const Sa& sa, std::span<const std::uint8_t> header, std::size_t size) {
  if (sa.transport()) return encap_size_transport(sa, header, size);
  return (sa.udp_encapsulation() ? 0 : wire::ip_header_size(sa.local())) + protected_size(sa.shape(), size);
}

/// The largest packet whose outer packet, UDP and IP header included, is not larger than `mtu` bytes; 0: none is.
/// In transport mode, for headers before AH and ESP of `head` bytes; 0: those of an IP header without options.
[[nodiscard]] std::size_t inner_size_max(const Sa& sa, std::size_t mtu, std::size_t head = 0);

class Transforms {
 public:
  /// `rng`: read once. `expanded_keys`: how many the cache has room for (1 KiB each). Fails when so much memory
  /// cannot be locked.
  [[nodiscard]] static Result<std::unique_ptr<Transforms>> make(
      std::unique_ptr<crypto::Engine> engine, Rng& rng,
      std::size_t expanded_keys = crypto::ContextCache::kCapacity);

  /// Protects a burst. A packet that cannot be protected says so in its `drop`.
  void encap(std::span<EncapRequest> burst);
  /// Verifies and decrypts a burst.
  void decap(std::span<DecapRequest> burst);
  /// Sets peeked[i] for each request; `peeked` has at least as many elements.
  void peek(std::span<const PeekRequest> requests, std::span<Peeked> peeked);

  /// The SA leaves the worker: its expanded keys are zeroed.
  void forget(const Sa& sa);
  /// Asks the CPU for the keys that the SA's next packet needs. Only a hint, to be given a burst ahead.
  void prefetch(const Sa& sa) const { keys_->prefetch(sa.inner_ ? sa.inner_->key : sa.key_); }
  /// The same for a peek.
  void prefetch_peek(const Sa& sa) const { keys_->prefetch_peek(sa.inner_ ? sa.inner_->key : sa.key_); }

  [[nodiscard]] crypto::Engine& engine() { return *engine_; }
  [[nodiscard]] const crypto::ContextCache& keys() const { return *keys_; }

 private:
  /// What is kept of a packet while its AH ICV is computed over other values in its place.
  struct Saved {
    std::array<std::uint8_t, kAhHeadMax> head;
    std::array<std::uint8_t, 8> iv;
    std::array<std::uint8_t, crypto::kIcvMax> icv;
  };

  struct Looks;

  Transforms(std::unique_ptr<crypto::Engine> engine, Rng& rng, std::unique_ptr<crypto::ContextCache> keys);

  [[nodiscard]] bool next_iv(Sa& sa, std::size_t size, std::uint8_t* out);
  template <typename Request>
  void prefetch_keys(std::span<Request> burst) const;
  // peek.cc
  void look_first(std::span<const PeekRequest> requests, std::span<Peeked> peeked, Looks& first);
  void look_again(std::span<const PeekRequest> requests, std::span<Peeked> peeked, const Looks& first,
                  Looks& second);
  // encap.cc
  [[nodiscard]] std::optional<Drop> lay_out(EncapRequest& request, std::size_t index, crypto::Frame& frame);
  // authenticate.cc: `members`: bit i is burst[i]
  [[nodiscard]] std::optional<Drop> set_aside(Sa& sa, std::uint8_t* packet, std::size_t size, std::size_t head,
                                              SeqNo seq, std::size_t index, crypto::AuthFrame& frame);
  void put_back(std::uint8_t* packet, std::size_t head, std::size_t index) const;
  void sign(std::span<EncapRequest> burst, std::uint64_t members);
  [[nodiscard]] std::uint64_t verify(std::span<DecapRequest> burst, std::uint64_t members);
  template <typename F>
  void run_apart(std::span<const crypto::AuthFrame> frames, F run);
  // decap.cc
  [[nodiscard]] static std::optional<Drop> place(const DecapRequest& request);
  void add_frame(const DecapRequest& request, std::size_t index);
  void open_ah(std::span<DecapRequest> burst, std::uint64_t members);
  void finish(DecapRequest& request) const;

  std::unique_ptr<crypto::Engine> engine_;
  std::unique_ptr<crypto::ContextCache> keys_;
  crypto::RandomStream random_;
  // One burst.
  std::array<crypto::Frame, crypto::kBurstMax> frames_;
  std::array<std::uint8_t, crypto::kBurstMax> request_of_{};  // decap(): by frame
  std::size_t frames_count_ = 0;                              // decap()
  std::array<crypto::AuthFrame, crypto::kBurstMax> auth_frames_;
  std::array<Saved, crypto::kBurstMax> saved_;
  std::array<std::uint16_t, crypto::kBurstMax> head_{};  // encap(): bytes before AH and ESP
};

// What a burst of many SAs waits for is memory: all lines are asked for before the first is needed.
template <typename Request>
void Transforms::prefetch_keys(std::span<Request> burst) const {
  const Sa* last = nullptr;
  for (const auto& request : burst) {
    if (request.sa != last) request.sa->prefetch();
    last = request.sa;
  }
  last = nullptr;
  for (const auto& request : burst) {
    const Sa& sa = *request.sa;
    if (&sa == last) continue;
    last = &sa;
    prefetch(sa);
    if (sa.iv_counter_) __builtin_prefetch(&*sa.iv_counter_, 1);
  }
}

}  // namespace testudo::ipsec
