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
//   hold(the rest);                       // take() remembers how many; offer them again when a grant has come
//   ...once a turn, after everything was sent...
//   lessee.poll(now, outbox);             // requests and returns
//   for (SaId sa : lessee.granted()) retry(held packets of sa);      // before poll(), after receive()
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
  std::size_t sas_max = 4096;        // SAs for which memory is taken at the start
};

/// Who sequences an SA.
struct LeasedSa {
  Ipv4Address dvipa;
  Epoch epoch;
  NodeId owner;
};

/// Consecutive numbers, to be used in order, before `stop`.
struct Numbers {
  SeqNo first;
  std::uint32_t count = 0;
  Time stop;  // not to be sent at or after
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
  void set_owner(Ipv4Address dvipa, Epoch epoch, NodeId owner);

  /// Up to `want` numbers; none when there is no live lease or the SA is unknown. What is missing will be asked
  /// for.
  [[nodiscard]] Numbers take(SaId sa, std::uint32_t want, Time now);
  /// All packets with numbers of this SA up to `last` that will ever leave have left the host (send() has
  /// returned).
  void sent(SaId sa, SeqNo last);
  [[nodiscard]] bool still_valid(const Numbers& numbers, Time now) const { return now < numbers.stop; }
  /// The SA has no number left (without ESN): what is held for it can be dropped, Drop::kSequenceExhausted.
  [[nodiscard]] bool exhausted(SaId sa) const;
  /// The packets held for the SA were dropped: nothing more is asked for.
  void forget_want(SaId sa);

  /// Takes a kLeaseGrant or kLeaseRecall; the caller has checked that it comes from the sender it names.
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
    std::uint32_t id = 0;  // 0: none
    SeqNo first;
    SeqNo next;  // to be taken
    SeqNo last;
    SeqNo sent;  // highest said to be sent; first - 1: none
    Time stop;   // not used at or after
    bool shared = false;
    bool stopped = false;  // recalled or too old: nothing more is taken
    bool idle = false;     // was there at the last poll, and nothing was taken since
    [[nodiscard]] std::uint64_t left() const { return stopped ? 0 : last.value() + 1 - next.value(); }
    [[nodiscard]] bool settled() const {
      return sent.value() + 1 == next.value();
    }  // nothing taken and not yet sent
  };
  struct Request {
    std::uint32_t id = 0;  // 0: none
    std::uint16_t want = 0;
    Time sent_first, resend;
    Duration backoff{};
  };
  struct Sa {
    SaId id;
    bool used = false;
    bool queued = false;  // in touched_
    bool told = false;    // in granted_
    bool exhausted = false;
    bool active = false;  // numbers were taken since the last grant
    LeasedSa parameters;
    std::uint32_t want = 0;  // packets that wait
    std::uint32_t last_id = 0;
    Request request;
    std::array<Lease, 2> leases;  // in use; next
    std::uint32_t returns_count = 0;
    std::array<wire::LeaseReturn, kReturnsMax> returns;
  };

  Sa* find(SaId sa);
  Sa* find(SaId sa, const wire::FastHeader& header);
  void touch(Sa& sa);
  void on_grant(Sa& sa, const wire::LeaseGrant& grant, Time now);
  void on_recall(Sa& sa, std::uint32_t id);
  static void add_return(Sa& sa, std::uint32_t id, SeqNo last);
  static void retire(Sa& sa, Time now);
  static std::uint32_t wanted(const Sa& sa, Time now);
  void poll_sa(Sa& sa, Time now, wire::FastOutbox& out);
  bool request_due(Sa& sa, Time now);
  void send_returns(Sa& sa, bool with_request, wire::FastOutbox& out);
  void set_timer(Sa& sa);
  [[nodiscard]] wire::FastHeader header(const Sa& sa, wire::FastType type) const;

  NodeId self_;
  std::uint32_t incarnation_;
  LesseeConfig config_;
  std::vector<Sa> sas_;
  std::vector<std::uint32_t> free_;
  absl::flat_hash_map<SaId, std::uint32_t> index_;  // look-up only: its order never matters
  Deadlines timers_;                                // by index in sas_
  std::vector<std::uint32_t> touched_;              // indices of SAs that the next poll must look at
  std::vector<SaId> granted_;
};

}  // namespace testudo::sequence
