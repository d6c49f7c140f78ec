// SPDX-License-Identifier: Apache-2.0
// Lessee: where a worker gets the sequence numbers for the packets it sends (spec E2, E3). It keeps leases from the
// sequencer of the SA's owner, asks for more, and gives back. The owner's own worker uses one too: its messages are
// looped back locally.
//
//   Lessee lessee(self, incarnation, {});
//   lessee.add_sa(sa, {.dvipa = d, .epoch = e, .owner = n});
//   ...
//   // `want`: all packets of this SA that are ready, also those held from former turns. Call again while it
//   returns some. while (const Numbers numbers = lessee.take(sa, want, now)) {
//     encrypt(numbers.first, numbers.count);
//     want -= numbers.count;
//     if (lessee.still_valid(numbers, now_just_before_the_send)) port.send(train);   // else drop them: never send
//     lessee.sent(sa, numbers.last());                                               // in both cases
//   }
//   hold(the rest);                       // take() remembers how many
//   ...each turn: receive(), then...
//   for (SaId sa : lessee.granted()) offer_again(packets held for sa);
//   ...at its end, after everything was sent...
//   lessee.poll(now, outbox);             // requests and returns
//
// A number that take() has given is gone, whether it is sent or not. A lease is used for half of its duration only
// (the margin): the other half is for a sender that is preempted between still_valid() and the network. Thread: one
// worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/address.h"
#include "base/strong.h"
#include "base/time.h"
#include "sequence/deadlines.h"
#include "wire/fast.h"

namespace testudo::sequence {

struct LesseeConfig {
  Duration resend_first = 500us;  // repetition of a request; doubles
  Duration resend_most = 20ms;
  Duration request_life = 50ms;      // then the request is given up for a new one (its grant would be too old)
  std::uint32_t margin_divisor = 2;  // the last 1/divisor of a lease's duration is not used
  std::uint32_t drift_divisor = 8;   // the sequencer's clock and this one differ by less than 1/divisor
  Duration offer_patience = 200us;   // an offer is kept so long for the answer that it is meant for
  std::size_t sas_max = 4096;        // SAs for which memory is taken at the start
};

/// Who sequences an SA.
struct LeasedSa {
  IpAddress dvipa;
  Epoch epoch;
  NodeId owner;
};

/// Consecutive numbers, to be used in order, before `stop`.
struct Numbers {
  SeqNo first;
  std::uint32_t count = 0;
  Time stop;            // not to be sent at or after
  bool shared = false;  // of a shared lease
  explicit operator bool() const { return count != 0; }
  [[nodiscard]] SeqNo last() const { return SeqNo(first.value() + count - 1); }
};

class Lessee {
 public:
  /// `incarnation`: of this worker and this start, never used before by this node.
  Lessee(NodeId self, std::uint32_t incarnation, const LesseeConfig& config);

  void add_sa(SaId sa, const LeasedSa& parameters);
  void remove_sa(SaId sa);
  /// Takeover: all SAs of the DVIPA are sequenced by `owner` from now on; leases of the former owner end.
  void set_owner(IpAddress dvipa, Epoch epoch, NodeId owner);
  /// The same of one SA.
  void set_owner(SaId sa, Epoch epoch, NodeId owner);

  /// Up to `want` numbers; none when there is no live lease or the SA is unknown. What is missing will be asked
  /// for.
  [[nodiscard]] Numbers take(SaId sa, std::uint32_t want, Time now);
  /// For bursts of many SAs: asks the CPU for the index, then for the SA that it leads to. Only hints: first the
  /// one for all SAs of the burst, then the other.
  void prefetch_index(SaId sa) const { index_.prefetch(sa); }
  void prefetch(SaId sa) const {
    const auto found = index_.find(sa);
    if (found == index_.end()) return;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&sas_[found->second]);
    for (std::size_t at = 0; at < sizeof(Sa); at += 64) __builtin_prefetch(bytes + at, 1);
  }
  /// All packets with numbers of this SA up to `last` that will ever leave have left the host (send() has
  /// returned).
  void sent(SaId sa, SeqNo last);
  [[nodiscard]] bool still_valid(const Numbers& numbers, Time now) const { return now < numbers.stop; }
  /// The SA has no number left (without ESN): what is held for it can be dropped, Drop::kSequenceExhausted.
  [[nodiscard]] bool exhausted(SaId sa) const;
  /// The packets held for the SA were dropped: nothing more is asked for.
  void forget_want(SaId sa);

  /// Takes a kLeaseGrant, kLeaseRecall or kLeaseOffer; the caller has checked that it comes from the sender it
  /// names.
  void receive(const wire::FastMessage& message, Time now);
  /// SAs that got numbers, or were found exhausted, since the last poll(); each once.
  [[nodiscard]] std::span<const SaId> granted() const { return granted_; }
  /// Requests and returns, once a turn, after the packets were sent.
  void poll(Time now, wire::FastOutbox& out);
  /// When poll() is next needed without other cause. Time::max(): never.
  [[nodiscard]] Time next_timer() const { return timers_.earliest(); }

 private:
  static constexpr std::size_t kReturnsMax = 4;  // per SA, to be told

  struct Lease {
    std::uint64_t id = 0;  // of its request; 0: none
    SeqNo first;
    SeqNo next;  // to be taken
    SeqNo last;
    SeqNo sent;  // highest that is said to be sent; first - 1: none
    Time renew;  // exclusive: while in use, renewed from then on; shared: kept unused until then
    Time stop;   // not used at or after
    bool shared = false;
    bool stopped = false;  // recalled or too old: nothing more is taken
    bool idle = false;     // a poll has gone by without anything taken
    [[nodiscard]] std::uint64_t left(Time now) const;
    [[nodiscard]] bool used() const { return next > first; }
    [[nodiscard]] bool settled() const {
      return sent.value() + 1 == next.value();
    }  // nothing taken and not yet sent
  };
  struct Request {
    std::uint64_t id = 0;  // 0: none is out
    std::uint16_t want = 0;
    Time sent_first;
    Time resend;
    Duration backoff{};
  };
  struct Sa {
    SaId id;
    bool present = false;
    bool queued = false;  // in touched_
    bool told = false;    // in granted_
    bool exhausted = false;
    LeasedSa parameters;
    std::uint32_t want = 0;   // packets that wait
    std::uint32_t size = 0;   // of the newest grant
    std::uint32_t ahead = 0;  // numbers to ask for before they are needed; set by take(), for the next poll
    SeqNo highest;            // ever granted to us
    Request request;
    std::uint64_t asked = 0;       // the newest request, also when it has been answered
    Time asked_at;                 // when it was first sent
    std::uint64_t last_offer = 0;  // newest seen, or recalled
    std::array<Lease, 2> leases;   // by rising number: in use, next
    std::uint32_t returns_count = 0;
    std::array<wire::LeaseReturn, kReturnsMax> returns;

    [[nodiscard]] std::uint64_t left(Time now) const { return leases[0].left(now) + leases[1].left(now); }
    void end(Lease& lease);                      // takes it out
    void tell(std::uint64_t lease, SeqNo last);  // a return to be sent
    void settle();                               // takes out and tells what is over
  };

  void follow(Sa& sa, Epoch epoch, NodeId owner);
  Sa* find(SaId sa);
  Sa* find(SaId sa, const wire::FastHeader& header);
  void touch(Sa& sa);
  void tell_granted(Sa& sa);
  void on_grant(Sa& sa, const wire::LeaseGrant& grant, Time now);
  [[nodiscard]] Duration usable_of(std::uint32_t duration_us) const;
  void on_offer(Sa& sa, const wire::LeaseOffer& offer, Time now);
  void on_recall(Sa& sa, std::uint64_t id);
  void poll_sa(Sa& sa, Time now, wire::FastOutbox& out);
  static Time end_what_is_over(Sa& sa, Time now);
  [[nodiscard]] static std::uint64_t wanted(const Sa& sa, Time now);
  [[nodiscard]] static std::uint32_t wanted_ahead(const Sa& sa, const Lease& lease, Time now);
  bool request_due(Sa& sa, Time now);
  void send_request(Sa& sa, wire::FastOutbox& out) const;
  void send_returns(Sa& sa, wire::FastOutbox& out) const;
  [[nodiscard]] wire::FastHeader header(const Sa& sa, wire::FastType type) const;

  NodeId self_;
  std::uint32_t incarnation_;
  LesseeConfig config_;
  std::uint64_t requests_ = 0;  // ids given; over all SAs, so that an SA that comes back repeats none
  std::vector<Sa> sas_;
  std::vector<std::uint32_t> free_;
  absl::flat_hash_map<SaId, std::uint32_t> index_;  // look-up only: its order never matters
  Deadlines timers_;                                // by index in sas_
  std::vector<std::uint32_t> touched_;              // indices of SAs that the next poll must look at
  std::vector<SaId> granted_;
};

}  // namespace testudo::sequence
