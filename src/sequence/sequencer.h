// SPDX-License-Identifier: Apache-2.0
// Sequencer: hands out the outbound sequence numbers of a DVIPA's SAs, on the DVIPA's owner (spec E2, E5, E6).
// Uniqueness holds always: a number is granted once, and only up to the ceiling that was reserved in the coupling
// facility. Freshness holds for speed: numbers that several targets hold at once lie within the peer's replay
// window.
//
//   Sequencer sequencer(self, {});
//   sequencer.add_sa(sa, {.dvipa = d, .epoch = e, .first = SeqNo(1), .peer_window = 32});
//   ...each turn of the worker...
//   sequencer.receive(message, now, outbox);   // kLeaseRequest, kLeaseReturn
//   sequencer.tick(now, outbox);               // always once a turn; at the latest at next_timer()
//   for (const SequencerEvent& event : sequencer.events()) to_control(event);
//   sequencer.clear_events();                  // drop from the front only what control's queue has taken
//   ...when control has reserved...
//   sequencer.set_ceiling(sa, SeqNo(1 << 20)); // taken up by the next tick
//
// Modes, per SA. *Exclusive*: one target sends; it gets many numbers at a time, ahead of need. Another one's
// request recalls them, and nothing is granted until they are back or their deadline has passed. *Shared*: several
// targets send; the numbers from the oldest that is still out to the newest granted span less than the peer's
// window less a margin. A lease ends with its holder's "sent", or at its deadline; a skew guard later, for the
// jitter of the paths, its numbers leave the span. What was not used is skipped, never granted again.
//
// Offers (`offers`, off by default): when the owner forwards packets to a target, whose answer will need numbers,
// the target gets a few unasked, in shared mode and while nobody waits:
//
//   sequencer.expect(outbound_sa, target, now, outbox);        // once per burst and target, before it is forwarded
//
// Invariants: granted ranges rise strictly; none passes the ceiling; none passes 2^32 - 1 without ESN.
// Thread: one worker. Time: one host's; none is ever compared with a lessee's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/address.h"
#include "base/strong.h"
#include "base/time.h"
#include "sequence/deadlines.h"
#include "wire/fast.h"

namespace testudo::sequence {

/// Without extended sequence numbers there are no more (RFC 4303 section 3.3.3: no cycling).
inline constexpr std::uint64_t kLastWithoutEsn = 0xffff'ffff;

struct SequencerConfig {
  Duration lease_duration = 100ms;      // the most a lost holder can block the others
  Duration skew_guard = 40us;           // jitter of the paths to a peer, and their difference
  Duration sharing_time = 100ms;        // two requesters within this time share; one alone for it is exclusive
  Duration recall_after = 1ms;          // a shared lease that blocks others for this long is asked for
  Duration recall_retry = 1ms;          // first repetition of a recall; doubles up to 16 times this
  Duration request_life = 50ms;         // a request that is not repeated for so long is void: who asked is gone
  Duration ceiling_retry = 1s;          // repetition of NeedCeiling
  std::uint32_t shared_margin = 1;      // numbers of the peer's window that are not used: it may count one less
  std::uint32_t shared_parts = 3;       // into which the span is divided at most, however many wait
  bool offers = false;                  // numbers unasked, to who will answer
  std::uint16_t offer_most = 8;         // numbers in an offer
  Duration offer_memory = 50ms;         // offers only to who has asked within this time: they count from then
  std::uint16_t exclusive_least = 32;   // numbers in an exclusive lease, however few are wanted
  std::uint16_t exclusive_most = 1024;  // numbers in an exclusive lease, however many are wanted
  std::uint64_t ceiling_step = std::uint64_t{1} << 20;  // numbers reserved at a time
  std::size_t sas_max = 4096;                           // SAs for which memory is taken at the start
  std::size_t rooms_max = 4096;  // SAs that more than four targets use at the same time; others serve four at once
};

struct SequencedSa {
  IpAddress dvipa;
  Epoch epoch;  // requests of another epoch are ignored
  SeqNo first;  // never granted before: 1, or one after the ceiling found in the coupling facility
  std::uint32_t peer_window = 32;  // numbers; the peer's replay window
  bool esn = false;
  bool supplied = false;  // its numbers come by supply(), not from the coupling facility
};

struct SequencerEvent {
  enum class Kind : std::uint8_t {
    kNeedCeiling,     // reserve the numbers up to and including `last` in the coupling facility, then set_ceiling()
    kNearExhaustion,  // once, at 7/8 of all numbers: rekey the SA
  };
  Kind kind = Kind::kNeedCeiling;
  SaId sa;
  SeqNo last;
};

struct SequencerInfo {
  SaId sa;
  bool shared = false;
  std::uint32_t outstanding = 0;  // leases
  std::uint32_t waiting = 0;      // requests
  SeqNo next;
  SeqNo ceiling;  // the last number that may be granted
};

class Sequencer {
 public:
  Sequencer(NodeId self, const SequencerConfig& config);

  /// Grants nothing before the first set_ceiling(). The SA must be new.
  void add_sa(SaId sa, const SequencedSa& parameters);
  /// Leases that are out end with the SA. Unknown SAs are ignored here and below.
  void remove_sa(SaId sa);
  /// Numbers up to and including `last` are reserved. A value below the present one is ignored.
  void set_ceiling(SaId sa, SeqNo last);

  // Of an SA that is `supplied`: this sequencer divides what another one has leased to it (host_sequencer.h).
  struct Supply {
    SeqNo first, last;    // above all former ones; what is left of those is skipped
    Time stop;            // not to be sent at or after
    bool shared = false;  // to be returned as soon as its packets have left
  };
  void supply(SaId sa, const Supply& supply);
  /// Skips what is left of the supply and asks for what is out of it.
  void withdraw(SaId sa, Time now, wire::FastOutbox& out);
  /// There will be no more.
  void exhaust(SaId sa);
  /// Numbers that are waited for and not there to be granted. 0: none, or something is left of the supply.
  [[nodiscard]] std::uint32_t short_of(SaId sa, Time now) const;
  /// The lowest number of the supply that may still be granted or sent. Nothing: none may.
  [[nodiscard]] std::optional<SeqNo> lowest_in_use(SaId sa, Time now) const;

  /// Takes a kLeaseRequest or kLeaseReturn; the caller has checked that it comes from the sender it names.
  void receive(const wire::FastMessage& message, Time now, wire::FastOutbox& out);
  /// Packets are on their way to the target, for applications that will answer by the SA: may offer it numbers.
  void expect(SaId sa, NodeId target, Time now, wire::FastOutbox& out);
  /// Grants, recalls and repeats what is due.
  void tick(Time now, wire::FastOutbox& out);
  /// When tick() is next needed. Time::max(): not before the next receive() or set_ceiling().
  [[nodiscard]] Time next_timer() const { return timers_.earliest(); }

  [[nodiscard]] std::span<const SequencerEvent> events() const { return events_; }
  /// Forgets the first `count` events. What there was no room for comes again.
  void clear_events(std::size_t count = std::numeric_limits<std::size_t>::max());

  /// The highest number that was granted; nothing when none was.
  [[nodiscard]] std::optional<SeqNo> last_granted(SaId sa) const;
  /// Appends one entry per SA, ordered by SA.
  void list(std::vector<SequencerInfo>& out) const;

 private:
  static constexpr std::size_t kLeasesMax = 32;   // per SA, live and in their skew guard
  static constexpr std::size_t kLesseesMax = 32;  // per SA, remembered
  static constexpr std::size_t kFew = 4;          // of either, beyond which an SA needs Room
  static constexpr std::uint8_t kInclined = 8;
  static constexpr std::uint64_t kTurnMask = (std::uint64_t{1} << 48) - 1;  // of the requests of one SA

  struct Lessee {
    NodeId node;
    std::uint32_t incarnation = 0;
    friend bool operator==(const Lessee&, const Lessee&) = default;
  };
  struct Lease {
    Lessee holder;
    std::uint64_t id = 0;
    SeqNo first;
    std::uint32_t duration_us = 0;
    std::uint16_t count = 0;
    bool shared : 1 = false;
    bool returned : 1 = false;
    bool offered : 1 = false;
    std::uint8_t recalls = 0;  // sent
    Time next_recall;          // when another one waits for it
    Time ends;                 // when its numbers leave the span
  };
  /// A lessee of one SA and its newest request.
  struct Requester {
    Lessee lessee;
    std::uint64_t id = 0;                      // newest seen
    Time seen{};                               // when it was seen first
    std::uint16_t want = 0;                    // not 0: waiting
    std::uint8_t answer = 1;                   // numbers that an answer seems to need
    std::uint8_t inclination : 4 = kInclined;  // of so many times that one is expected, how often to offer them
    std::uint8_t credit : 4 = 0;               // an offer is due at kInclined
    std::uint32_t heard = 0;                   // when it last asked, in milliseconds
    std::uint64_t turn : 48 = 0;               // order of arrival
    std::uint64_t held_us : 16 = 0;            // how long its last lease was out
  };
  /// Of an SA that more than a few targets use at the same time.
  struct Room {
    std::array<Lease, kLeasesMax> leases;
    std::array<Requester, kLesseesMax> requesters;
  };
  /// Small, for there are many and a request finds its SA in no cache: all lines of it are asked for at once.
  struct alignas(64) Sa {
    struct Parameters {  // of SequencedSa, what is needed on and on
      IpAddress dvipa;
      Epoch epoch;
      std::uint32_t peer_window = 32;
    };
    SaId id;
    Parameters parameters;
    SeqNo next;                        // to be granted
    SeqNo ceiling;                     // last that is reserved
    SeqNo limit;                       // last that the SA has
    Time stop = Time::max();           // of the supply
    Time ceiling_asked = Time::min();  // when NeedCeiling was last emitted
    SeqNo ceiling_wanted;
    Lessee last_requester;
    Time last_request = Time::min();
    Time last_change = Time::min();  // when a request came from another one than the request before
    std::uint64_t turns = 0;
    std::uint64_t sweep_end : 48 = 0;  // the last turn that is served in this sweep (sequencer_order.cc)
    std::uint64_t sweep_falls : 1 = 0;
    Room* room = nullptr;  // instead of the arrays below
    bool used = false;
    bool supplied = false;
    bool supply_shared = false;
    bool shared = false;
    bool near_exhaustion_told = false;
    std::uint8_t leases_count = 0, requesters_count = 0;
    std::array<Lease, kFew> few_leases;  // by rising number
    std::array<Requester, kFew> few_requesters;

    [[nodiscard]] std::span<Lease> live() {
      return {room != nullptr ? room->leases.data() : few_leases.data(), leases_count};
    }
    [[nodiscard]] std::span<const Lease> live() const { return const_cast<Sa*>(this)->live(); }
    [[nodiscard]] std::span<Requester> known() {
      return {room != nullptr ? room->requesters.data() : few_requesters.data(), requesters_count};
    }
    [[nodiscard]] std::span<const Requester> known() const { return const_cast<Sa*>(this)->known(); }
    /// Who is served next.
    [[nodiscard]] Requester* next_waiting();
    /// Nobody waits any more whose request is older.
    void forget_silent(std::uint32_t heard_least);
    [[nodiscard]] std::uint32_t waiting() const;
    void forget_ended(Time now);
    void prefetch() const {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(this);
      for (std::size_t at = 0; at < sizeof(Sa); at += 64) __builtin_prefetch(bytes + at, 1);
    }
  };
  static_assert(sizeof(Sa) <= 512);

  Sa* find(SaId sa);
  [[nodiscard]] const Sa* find(SaId sa) const;
  std::size_t find_all(const wire::FastMessage& message, std::span<Sa*> found);
  [[nodiscard]] Requester* entry_of(Sa& sa, const Lessee& lessee, std::uint64_t request);
  [[nodiscard]] bool has_place(Sa& sa, std::size_t taken);
  void give_room(Sa& sa);
  void take_room_back(Sa& sa, Time now);
  void on_request(Sa& sa, const Lessee& lessee, const wire::LeaseRequest& request, Time now, wire::FastOutbox& out);
  void on_repetition(const Sa& sa, const Requester& requester, wire::FastOutbox& out) const;
  void on_return(Sa& sa, const Lessee& lessee, std::uint64_t id, SeqNo last, Time now);
  void note_held(Sa& sa, const Lease& lease, Time now) const;
  void learn(Sa& sa, const Lease& offer, SeqNo last) const;
  [[nodiscard]] static Requester* target_of(Sa& sa, NodeId node);
  [[nodiscard]] bool offer_due(const Sa& sa, Requester& requester, Time now) const;
  [[nodiscard]] std::uint64_t offerable(const Sa& sa, const Requester& requester) const;
  void choose_mode(Sa& sa, const Lessee& lessee, Time now) const;
  void serve(Sa& sa, Time now, wire::FastOutbox& out);
  [[nodiscard]] std::uint64_t grantable(const Sa& sa, const Requester& requester) const;
  [[nodiscard]] std::uint64_t grantable_exclusive(const Sa& sa, const Requester& requester) const;
  [[nodiscard]] std::uint64_t grantable_shared(const Sa& sa, const Requester& requester) const;
  [[nodiscard]] std::uint64_t span_of(const Sa& sa) const;
  void grant(Sa& sa, Requester& requester, std::uint64_t count, Time now, wire::FastOutbox& out);
  Lease& lend(Sa& sa, const Lessee& holder, std::uint64_t id, std::uint64_t count, Time now);
  void recall_blocking(Sa& sa, Time now, wire::FastOutbox& out);
  void send_grant(const Sa& sa, const Lease& lease, wire::FastOutbox& out) const;
  void send_exhausted(const Sa& sa, const Requester& requester, wire::FastOutbox& out) const;
  [[nodiscard]] wire::FastHeader header(const Sa& sa, const Lessee& to, wire::FastType type) const;
  bool emit(const SequencerEvent& event);
  void emit_events(Sa& sa, Time now);
  void set_timer(const Sa& sa, Time now);
  void serve_soon(const Sa& sa) { timers_.set(index_of(sa), Time::min()); }
  [[nodiscard]] std::uint32_t index_of(const Sa& sa) const { return static_cast<std::uint32_t>(&sa - sas_.data()); }

  NodeId self_;
  SequencerConfig config_;
  std::vector<Sa> sas_;
  std::vector<std::uint32_t> free_;  // indices in sas_
  std::deque<Room> rooms_;
  std::vector<Room*> free_rooms_;
  absl::flat_hash_map<SaId, std::uint32_t> index_;  // look-up only: its order never matters
  Deadlines timers_;                                // by index in sas_
  std::vector<SequencerEvent> events_;
  std::uint64_t offers_ = 0;  // made; over all SAs
};

}  // namespace testudo::sequence
