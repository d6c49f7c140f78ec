// SPDX-License-Identifier: Apache-2.0
#include "sequence/sequencer.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "sequence/transcript.h"

namespace testudo::sequence {
namespace {

/// The sequencer as the transcripts speak of it. Lessees are letters: A is node 1 … A' is node 1 after a restart.
class Told {
 public:
  Words run(const Words& line) {
    answers_.clear();
    if (line[0] == "at") {
      now_ = Time{} + 10s + std::chrono::microseconds(number_of(line[1]));
    } else if (line[0] == "sa") {
      add(line);
    } else if (line[0] == "remove") {
      sequencer_.remove_sa(SaId(number_of(line[1])));
    } else if (line[0] == "ceiling") {
      sequencer_.set_ceiling(SaId(number_of(line[1])), SeqNo(number_of(line[2])));
    } else if (line[0] == "expect") {
      sequencer_.expect(SaId(number_of(line[1])), NodeId(static_cast<std::uint16_t>(line[2][0] - 'A' + 1)), now_,
                        outbox_);
    } else {
      message(line);
    }
    sequencer_.tick(now_, outbox_);
    collect();
    return answers_;
  }

 private:
  void add(const Words& line) {
    const std::uint64_t window = number_after(line, "window"), first = number_after(line, "first");
    sequencer_.add_sa(SaId(number_of(line[1])), {.dvipa = IpAddress(1),
                                                 .epoch = Epoch(9),
                                                 .first = SeqNo(first == 0 ? 1 : first),
                                                 .peer_window = static_cast<std::uint32_t>(window),
                                                 .esn = has(line, "esn")});
  }

  void message(const Words& line) {
    const bool request = line[1] == "asks";
    const wire::FastHeader header{.type = request ? wire::FastType::kLeaseRequest : wire::FastType::kLeaseReturn,
                                  .sender = NodeId(static_cast<std::uint16_t>(line[0][0] - 'A' + 1)),
                                  .incarnation = static_cast<std::uint32_t>(line[0].size()),
                                  .dvipa = IpAddress(1),
                                  .epoch = Epoch(has(line, "epoch") ? number_after(line, "epoch") : 9)};
    std::array<std::uint8_t, 100> buffer;
    wire::FastWriter writer(buffer, header);
    const SaId sa(number_of(line[2]));
    if (request) {
      (void)writer.append(wire::LeaseRequest{.sa = sa,
                                             .id = number_of(line[3]),
                                             .want = static_cast<std::uint16_t>(number_after(line, "wants")),
                                             .returned = number_after(line, "returns"),
                                             .last = SeqNo()});
    } else {
      (void)writer.append(
          wire::LeaseReturn{.sa = sa, .id = lease_of(line[3]), .last = SeqNo(number_after(line, "to"))});
    }
    sequencer_.receive(*wire::FastMessage::parse(writer.bytes()), now_, outbox_);
  }

  void collect() {
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const auto message = *wire::FastMessage::parse(outbox_.datagram(i).bytes);
      const std::string to = std::string(1, static_cast<char>('A' + outbox_.datagram(i).to.value() - 1)) +
                             std::string(message.header().incarnation - 1, '\'');
      for (std::size_t k = 0; k < message.count(); ++k) answers_.push_back(to + text(message, k));
    }
    outbox_.clear();
    for (const SequencerEvent& event : sequencer_.events()) {
      const bool ceiling = event.kind == SequencerEvent::Kind::kNeedCeiling;
      const std::string sa = std::to_string(event.sa.value()), last = std::to_string(event.last.value());
      answers_.push_back(ceiling ? "reserve up to " + last + " for SA " + sa : "SA " + sa + " is nearly exhausted");
    }
    sequencer_.clear_events();
  }

  static std::string text(const wire::FastMessage& message, std::size_t index) {
    if (message.header().type == wire::FastType::kLeaseRecall) {
      const auto recall = message.entry<wire::LeaseRecall>(index);
      return " shall return " + std::to_string(recall.sa.value()) + " " + lease_text(recall.id);
    }
    if (message.header().type == wire::FastType::kLeaseOffer) {
      const auto offer = message.entry<wire::LeaseOffer>(index);
      return " is offered " + std::to_string(offer.sa.value()) + " " + lease_text(offer.id) + " " +
             std::to_string(offer.first.value()) + "-" + std::to_string(offer.first.value() + offer.count - 1) +
             ", " + std::to_string(offer.age_us) + " after #" + std::to_string(offer.seen);
    }
    const auto grant = message.entry<wire::LeaseGrant>(index);
    const std::string head = " gets " + std::to_string(grant.sa.value()) + " #" + std::to_string(grant.id) + " ";
    if (grant.count == 0) return head + "nothing, ever";
    return head + std::to_string(grant.first.value()) + "-" +
           std::to_string(grant.first.value() + grant.count - 1) + (grant.shared ? " shared" : " exclusive");
  }

  Time now_ = Time{} + 10s;
  Sequencer sequencer_{NodeId(100), {.offers = true, .sas_max = 8}};
  wire::FastOutbox outbox_;
  Words answers_;
};

class SequencerTranscript : public testing::TestWithParam<const char*> {};

TEST_P(SequencerTranscript, ReadsAsWritten) {
  Told told;
  check_transcript(std::string("src/sequence/testdata/sequencer_") + GetParam() + ".txt",
                   [&](const Words& line) { return told.run(line); });
}

INSTANTIATE_TEST_SUITE_P(Files, SequencerTranscript,
                         testing::Values("ceiling", "exclusive", "shared", "lost", "exhaustion", "offers"));

TEST(Sequencer, HasNoTimerWhenNothingIsDue) {
  Sequencer sequencer(NodeId(1), {.sas_max = 2});
  wire::FastOutbox outbox;
  EXPECT_EQ(sequencer.next_timer(), Time::max());
  sequencer.add_sa(SaId(1), {.dvipa = IpAddress(1), .epoch = Epoch(1), .first = SeqNo(1)});
  EXPECT_EQ(sequencer.next_timer(), Time::min());
  sequencer.tick(Time{} + 1s, outbox);
  EXPECT_EQ(sequencer.next_timer(), Time{} + 2s);  // asks for the ceiling again
  sequencer.set_ceiling(SaId(1), SeqNo(1 << 20));
  sequencer.tick(Time{} + 1s, outbox);
  EXPECT_EQ(sequencer.next_timer(), Time::max());
}

// At the fastest, an eighth of all numbers is minutes. One SA after the other in the same place: each tells, and
// once.
TEST(Sequencer, AsksForARekeyWhileAnEighthIsLeft) {
  constexpr std::uint64_t kLeft = kLastWithoutEsn / 8;
  Sequencer sequencer(NodeId(1), {.sas_max = 1});
  wire::FastOutbox outbox;
  std::uint64_t request = 0;
  for (std::uint64_t sa = 1; sa <= 3; ++sa) {
    sequencer.add_sa(SaId(sa),
                     {.dvipa = IpAddress(1), .epoch = Epoch(1), .first = SeqNo(kLastWithoutEsn - kLeft - 10'000)});
    sequencer.set_ceiling(SaId(sa), SeqNo(kLastWithoutEsn));
    std::uint32_t told = 0;
    for (int i = 0; i < 20; ++i) {  // of 1024 numbers each
      std::array<std::uint8_t, 100> buffer;
      wire::FastWriter writer(
          buffer,
          {.type = wire::FastType::kLeaseRequest, .sender = NodeId(2), .dvipa = IpAddress(1), .epoch = Epoch(1)});
      ASSERT_TRUE(writer.append(wire::LeaseRequest{.sa = SaId(sa), .id = ++request, .want = 1024, .last = {}}));
      sequencer.receive(*wire::FastMessage::parse(writer.bytes()), Time{} + 1s, outbox);
      sequencer.tick(Time{} + 1s, outbox);
      outbox.clear();
      for (const SequencerEvent& event : sequencer.events()) {
        ASSERT_EQ(event.kind, SequencerEvent::Kind::kNearExhaustion);
        ++told;
        EXPECT_GE(kLastWithoutEsn - sequencer.last_granted(SaId(sa))->value(), kLeft - 1024);
      }
      sequencer.clear_events();
    }
    EXPECT_GT(sequencer.last_granted(SaId(sa))->value(), kLastWithoutEsn - kLeft);
    EXPECT_EQ(told, 1u) << "SA " << sa;
    sequencer.remove_sa(SaId(sa));
  }
}

/// Eight lessees want four numbers each of one SA, over and over: how many were given some in each round.
class Crowd {
 public:
  explicit Crowd(std::size_t rooms) : sequencer_(NodeId(1), {.sas_max = 2, .rooms_max = rooms}) {
    for (std::uint64_t sa = 1; sa <= 2; ++sa) {
      sequencer_.add_sa(SaId(sa),
                        {.dvipa = IpAddress(1), .epoch = Epoch(1), .first = SeqNo(1), .peer_window = 128});
      sequencer_.set_ceiling(SaId(sa), SeqNo(1 << 20));
    }
  }
  std::size_t round(SaId sa) {
    std::size_t grants = 0;
    for (std::uint16_t node = 2; node < 10; ++node) {
      std::array<std::uint8_t, 100> buffer;
      wire::FastWriter writer(buffer, {.type = wire::FastType::kLeaseRequest,
                                       .sender = NodeId(node),
                                       .dvipa = IpAddress(1),
                                       .epoch = Epoch(1)});
      EXPECT_TRUE(writer.append(wire::LeaseRequest{.sa = sa, .id = ++id_, .want = 4, .last = {}}));
      sequencer_.receive(*wire::FastMessage::parse(writer.bytes()), now_, outbox_);
      sequencer_.tick(now_, outbox_);
    }
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const auto message = *wire::FastMessage::parse(outbox_.datagram(i).bytes);
      if (message.header().type == wire::FastType::kLeaseGrant) grants += message.count();
    }
    outbox_.clear();
    return grants;
  }
  /// All leases end.
  void rest() {
    now_ += 1s;
    sequencer_.tick(now_, outbox_);
    outbox_.clear();
  }

 private:
  Sequencer sequencer_;
  wire::FastOutbox outbox_;
  Time now_{1h};
  std::uint64_t id_ = 0;
};

// The SA that has room keeps it for as long as it needs it; then another one can have it.
TEST(Sequencer, RoomForManyGoesFromOneSaToTheOther) {
  Crowd crowd(1);
  crowd.round(SaId(1));  // the first one sends alone
  crowd.rest();
  EXPECT_EQ(crowd.round(SaId(1)), 8u);
  crowd.round(SaId(2));
  EXPECT_LT(crowd.round(SaId(2)), 8u);
  crowd.rest();
  EXPECT_EQ(crowd.round(SaId(2)), 8u);
}

TEST(Sequencer, WithoutRoomAFewAreServedAtATime) {
  Crowd crowd(0);
  crowd.round(SaId(1));
  crowd.rest();  // those who wait get theirs
  crowd.rest();
  EXPECT_EQ(crowd.round(SaId(1)), 4u);
}

}  // namespace
}  // namespace testudo::sequence
