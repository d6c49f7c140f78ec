// SPDX-License-Identifier: Apache-2.0
// Leases: the real sequencer and the real lessees, each on a clock of its own.
#include <deque>

#include "base/check.h"
#include "sequence/sequencer.h"
#include "sim/freshness/numbering.h"
#include "wire/fast.h"

namespace testudo::freshness {
namespace {

constexpr SaId kSa(1);
constexpr IpAddress kDvipa(0xc0000264);
constexpr Epoch kEpoch(9);
constexpr NodeId kOwner(1000);  // no target: those are 1, 2, …
constexpr Duration kClocksApart = 17min;

class Leases final : public Numbering {
 public:
  explicit Leases(const Case& c)
      : sequencer_(kOwner, {.skew_guard = c.guard, .offers = c.answers.offers, .sas_max = 1}) {
    CHECK(c.windows.size() == 1);
    sequencer_.add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .first = SeqNo(1), .peer_window = c.windows[0]});
    sequencer_.set_ceiling(kSa, SeqNo(sequence::kLastWithoutEsn));
    for (std::uint32_t i = 0; i < c.targets; ++i) {
      lessees_.emplace_back(node(i), incarnation(i), sequence::LesseeConfig{.sas_max = 1});
      lessees_.back().add_sa(kSa, {.dvipa = kDvipa, .epoch = kEpoch, .owner = kOwner});
    }
  }

  void receive(const Mail& mail, Time now) override {
    lessees_[mail.host].receive(*wire::FastMessage::parse(mail.bytes), clock(mail.host, now));
  }

  sequence::Numbers take(std::size_t host, std::uint32_t want, Time now) override {
    return lessees_[host].take(kSa, want, clock(host, now));
  }

  bool may_send(std::size_t host, const sequence::Numbers& numbers, Time now) const override {
    return lessees_[host].still_valid(numbers, clock(host, now));
  }

  void sent(std::size_t host, SeqNo last) override { lessees_[host].sent(kSa, last); }

  void end_turn(std::size_t host, Time now, Mails& out) override {
    lessees_[host].poll(clock(host, now), outbox_);
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const auto bytes = outbox_.datagram(i).bytes;
      out.push_back({host, {bytes.begin(), bytes.end()}});
    }
    outbox_.clear();
  }

  Time next_turn(std::size_t host) const override {
    const Time timer = lessees_[host].next_timer();
    return timer == Time::max() ? timer : timer - (clock(host, Time{}) - Time{});
  }

  void receive_at_source(const Mail& mail, Time now, Mails& out) override {
    const auto message = *wire::FastMessage::parse(mail.bytes);
    count_used_offers(message);
    sequencer_.receive(message, now, outbox_);
    source_turn(now, out);
  }

  void source_turn(Time now, Mails& out) override {
    sequencer_.tick(now, outbox_);
    sequencer_.clear_events();
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const wire::FastDatagram datagram = outbox_.datagram(i);
      if (wire::FastMessage::parse(datagram.bytes)->header().type == wire::FastType::kLeaseOffer) ++offers_;
      out.push_back({datagram.to.value() - 1u, {datagram.bytes.begin(), datagram.bytes.end()}});
    }
    outbox_.clear();
  }

  Time next_source_turn() const override { return sequencer_.next_timer(); }
  void expect(std::size_t host, Time now, Mails& out) override {
    sequencer_.expect(kSa, node(host), now, outbox_);
    source_turn(now, out);
  }
  std::uint64_t granted() const override {
    const auto last = sequencer_.last_granted(kSa);
    return last ? last->value() : 0;
  }
  void count_offers(Result& result) const override {
    result.offers = offers_;
    result.offers_used = offers_used_;
  }

 private:
  void count_used_offers(const wire::FastMessage& message) {
    const auto count = [this](std::uint64_t id, SeqNo last) {
      if ((id & wire::LeaseOffer::kIds) != 0 && last != SeqNo()) ++offers_used_;
    };
    for (std::size_t i = 0; i < message.count(); ++i) {
      if (message.header().type == wire::FastType::kLeaseRequest) {
        const auto request = message.entry<wire::LeaseRequest>(i);
        count(request.returned, request.last);
      } else {
        const auto back = message.entry<wire::LeaseReturn>(i);
        count(back.id, back.last);
      }
    }
  }
  static NodeId node(std::size_t host) { return NodeId(static_cast<std::uint16_t>(host + 1)); }
  static std::uint32_t incarnation(std::size_t host) { return static_cast<std::uint32_t>(host + 100); }
  static Time clock(std::size_t host, Time now) { return now + (host + 1) * kClocksApart; }

  sequence::Sequencer sequencer_;
  std::deque<sequence::Lessee> lessees_;
  wire::FastOutbox outbox_;
  std::uint64_t offers_ = 0, offers_used_ = 0;
};

}  // namespace

std::unique_ptr<Numbering> make_leases(const Case& c) { return std::make_unique<Leases>(c); }

}  // namespace testudo::freshness
