// SPDX-License-Identifier: Apache-2.0
// Fast messages: the small datagrams of the data plane between members (UDP 4755 on XCF): sequence leases (spec
// E2), replay commits (spec C5) and path MTUs. One datagram speaks of one DVIPA and carries many entries of one
// type, for many SAs.
//
//   wire::FastOutbox outbox;                                    // one per worker, reused every turn
//   sequencer.tick(now, outbox);                                // state machines append entries
//   for (std::size_t i = 0; i < outbox.size(); ++i) {
//     const wire::FastDatagram d = outbox.datagram(i);          // closes it: later entries open another one
//     if (d.to == self) handle_locally(d.bytes); else send_to_member(d.to, d.bytes);
//   }
//   outbox.clear();                                             // after the port's send() has returned
//
//   if (auto message = wire::FastMessage::parse(packet.bytes())) {
//     if (message->header().sender != member_of(packet.source)) return drop;   // the receiver's job: anti-spoof
//     sequencer.receive(*message, now, outbox);
//   }
//
// Layout, all integers big endian: magic 'Tf' (16) · version (8) · type (8) · sender (16) · count (16) ·
// incarnation (32) · DVIPA (128; IPv4 as ::ffff:a.b.c.d) · epoch (64), then `count` entries of one size. Nothing
// may follow the last entry.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/strong.h"

namespace testudo::wire {

inline constexpr std::size_t kFastDatagramMax = 1400;  // bytes, UDP payload
inline constexpr std::size_t kFastHeaderSize = 36;     // bytes

enum class FastType : std::uint8_t {
  kLeaseRequest = 1,  // lessee → sequencer
  kLeaseGrant = 2,    // sequencer → lessee
  kLeaseRecall = 3,   // sequencer → lessee
  kLeaseReturn = 4,   // lessee → sequencer
  kReplayCommit = 5,  // target → owner
  kPathMtu = 6,       // owner → targets
  kLeaseOffer = 7,    // sequencer → lessee
};

struct FastHeader {
  FastType type = FastType::kLeaseRequest;
  NodeId sender;
  /// Of the lessee's worker and start: the sender's in requests, returns and commits, the addressee's in grants and
  /// recalls. So a restarted node never takes a grant that was meant for its former self.
  std::uint32_t incarnation = 0;
  IpAddress dvipa;
  Epoch epoch;  // of the DVIPA's ownership
  friend bool operator==(const FastHeader&, const FastHeader&) = default;
};

/// "Give me `want` numbers." The id names the lease that comes of it; a repetition has the same id.
struct LeaseRequest {
  static constexpr FastType kType = FastType::kLeaseRequest;
  static constexpr std::size_t kSize = 34;  // bytes on the wire
  SaId sa;
  std::uint64_t id = 0;        // never 0; rises with each new request of this lessee, for whatever SA
  std::uint16_t want = 0;      // packets ready, or to come; never 0
  std::uint64_t returned = 0;  // not 0: a LeaseReturn of this lease rides along
  SeqNo last;                  // with `returned`: as in LeaseReturn
  friend bool operator==(const LeaseRequest&, const LeaseRequest&) = default;
};

/// "You have `count` numbers from `first` on." count 0: the SA has no number left, and never will.
struct LeaseGrant {
  static constexpr FastType kType = FastType::kLeaseGrant;
  static constexpr std::size_t kSize = 31;
  SaId sa;
  std::uint64_t id = 0;  // of the request
  SeqNo first;
  std::uint16_t count = 0;
  std::uint32_t duration_us = 0;  // of the lease; the lessee counts from when it first sent the request
  bool shared = false;            // other targets send too: return the lease as soon as its packets have left
  friend bool operator==(const LeaseGrant&, const LeaseGrant&) = default;
};

/// "Stop using this lease, and say what you used." Answered by a LeaseReturn even if the lease is not known (any
/// more).
struct LeaseRecall {
  static constexpr FastType kType = FastType::kLeaseRecall;
  static constexpr std::size_t kSize = 16;
  SaId sa;
  std::uint64_t id = 0;
  friend bool operator==(const LeaseRecall&, const LeaseRecall&) = default;
};

/// "All packets of this lease that will ever leave have left."
struct LeaseReturn {
  static constexpr FastType kType = FastType::kLeaseReturn;
  static constexpr std::size_t kSize = 24;
  SaId sa;
  std::uint64_t id = 0;
  SeqNo last;  // the highest number used; 0: none, or not known any more
  friend bool operator==(const LeaseReturn&, const LeaseReturn&) = default;
};

/// "Take `count` numbers from `first` on: you will need them." A shared lease that nobody has asked for. The lessee
/// counts its duration from when it first sent the request `seen`, and `age` later by the sequencer's clock.
struct LeaseOffer {
  static constexpr FastType kType = FastType::kLeaseOffer;
  static constexpr std::size_t kSize = 42;
  static constexpr std::uint64_t kIds = std::uint64_t{1} << 63;  // in the ids of all offers, and of no request
  SaId sa;
  std::uint64_t id = 0;  // of the lease; rises with each offer of this sequencer
  SeqNo first;
  std::uint16_t count = 0;        // never 0
  std::uint32_t duration_us = 0;  // of the lease
  std::uint64_t seen = 0;         // the lessee's newest request for this SA that the sequencer has seen; never 0
  std::uint32_t age_us = 0;       // since it was first seen
  friend bool operator==(const LeaseOffer&, const LeaseOffer&) = default;
};

/// What became of up to 64 sequence numbers: bit i speaks of base + i. A number in neither bitmap is not spoken of;
/// in both (a genuine packet and a forged one had it): accepted counts.
struct ReplayCommit {
  static constexpr FastType kType = FastType::kReplayCommit;
  static constexpr std::size_t kSize = 32;
  SaId sa;
  SeqNo base;
  std::uint64_t accepted = 0;
  std::uint64_t rejected = 0;
  friend bool operator==(const ReplayCommit&, const ReplayCommit&) = default;
};

/// "Outer packets of this SA must not be larger": what a router on the way to the peer has told the owner.
struct PathMtu {
  static constexpr FastType kType = FastType::kPathMtu;
  static constexpr std::size_t kSize = 10;
  SaId sa;
  std::uint16_t mtu = 0;  // bytes of the whole outer packet; never 0
  friend bool operator==(const PathMtu&, const PathMtu&) = default;
};

/// A datagram that has passed every check of length and value. A view: valid as long as the bytes are.
class FastMessage {
 public:
  /// Nothing for what is not exactly a datagram of this version.
  static std::optional<FastMessage> parse(std::span<const std::uint8_t> bytes);

  [[nodiscard]] const FastHeader& header() const { return header_; }
  [[nodiscard]] std::size_t count() const { return count_; }
  /// Entry must be what header().type says.
  template <typename Entry>
  [[nodiscard]] Entry entry(std::size_t index) const;

 private:
  FastHeader header_;
  std::size_t count_ = 0;
  const std::uint8_t* entries_ = nullptr;
};

/// Builds one datagram in the caller's buffer, never larger than kFastDatagramMax.
class FastWriter {
 public:
  /// The buffer must hold at least the header and one entry.
  FastWriter(std::span<std::uint8_t> buffer, const FastHeader& header);
  /// False, and nothing written: no room. Entry must be what the header says.
  template <typename Entry>
  [[nodiscard]] bool append(const Entry& entry);
  [[nodiscard]] const FastHeader& header() const { return header_; }
  /// The datagram so far; empty when it has no entry.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const;

 private:
  std::span<std::uint8_t> buffer_;
  FastHeader header_;
  std::size_t size_ = kFastHeaderSize;
  std::uint16_t count_ = 0;
};

struct FastDatagram {
  NodeId to;
  std::span<const std::uint8_t> bytes;
};

/// The datagrams that one turn of a worker sends, each filled with entries to the same node before the next is
/// opened. All memory is taken at construction. An entry that does not fit any more is lost as if the network had
/// lost it, and counted.
class FastOutbox {
 public:
  explicit FastOutbox(std::size_t capacity = 64);

  template <typename Entry>
  void append(NodeId to, const FastHeader& header, const Entry& entry);
  [[nodiscard]] std::size_t size() const { return used_; }
  [[nodiscard]] bool empty() const { return used_ == 0; }
  [[nodiscard]] FastDatagram datagram(std::size_t index);
  void clear();
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  struct Slot {
    std::array<std::uint8_t, kFastDatagramMax> buffer;
    std::optional<FastWriter> writer;
    NodeId to;
    bool closed = false;
  };
  Slot* open(NodeId to, const FastHeader& header);

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
  std::uint64_t lost_ = 0;  // entries
};

}  // namespace testudo::wire
