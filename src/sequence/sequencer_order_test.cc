// SPDX-License-Identifier: Apache-2.0
// Who is served in which order when several wait.
#include <gmock/gmock.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "sequence/sequencer.h"

namespace testudo::sequence {
namespace {

using testing::AnyOf;
using testing::ElementsAre;

constexpr SaId kSa(1);
constexpr wire::FastHeader kHead{.type = wire::FastType::kLeaseRequest,
                                 .sender = NodeId(1),
                                 .incarnation = 1,
                                 .dvipa = IpAddress(1),
                                 .epoch = Epoch(9)};

class SequencerOrder : public testing::Test {
 protected:
  void add_sa(std::uint32_t window) {
    sequencer_.add_sa(kSa, {.dvipa = kHead.dvipa, .epoch = kHead.epoch, .first = SeqNo(1), .peer_window = window});
    sequencer_.set_ceiling(kSa, SeqNo(1 << 20));
  }
  /// Gives back what it has, and asks anew.
  void asks(char who, std::uint16_t want) {
    auto head = kHead;
    head.sender = NodeId(static_cast<std::uint16_t>(who));
    std::array<std::uint8_t, 100> buffer;
    wire::FastWriter writer(buffer, head);
    const std::uint64_t before = ids_[who], now = ++id_;
    ASSERT_TRUE(
        writer.append(wire::LeaseRequest{.sa = kSa, .id = now, .want = want, .returned = before, .last = SeqNo()}));
    ids_[who] = now;
    sequencer_.receive(*wire::FastMessage::parse(writer.bytes()), now_, outbox_);
  }
  void returns(char who) {
    auto head = kHead;
    head.type = wire::FastType::kLeaseReturn;
    head.sender = NodeId(static_cast<std::uint16_t>(who));
    std::array<std::uint8_t, 100> buffer;
    wire::FastWriter writer(buffer, head);
    ASSERT_TRUE(writer.append(wire::LeaseReturn{.sa = kSa, .id = ids_[who], .last = SeqNo()}));
    sequencer_.receive(*wire::FastMessage::parse(writer.bytes()), now_, outbox_);
    ids_[who] = 0;
  }
  /// Who gets numbers now.
  std::string granted() {
    sequencer_.tick(now_, outbox_);
    std::map<std::uint64_t, char> by_number;
    for (std::size_t i = 0; i < outbox_.size(); ++i) {
      const auto message = *wire::FastMessage::parse(outbox_.datagram(i).bytes);
      for (std::size_t k = 0; k < message.count(); ++k) {
        if (message.header().type == wire::FastType::kLeaseGrant)
          by_number[message.entry<wire::LeaseGrant>(k).first.value()] =
              static_cast<char>(outbox_.datagram(i).to.value());
      }
    }
    outbox_.clear();
    std::string names;
    for (const auto& [number, who] : by_number) names += who;
    return names;
  }
  /// Each has had a lease for so long: so far away it is.
  void holds(char who, Duration time) {
    asks(who, 1);
    ASSERT_EQ(granted(), std::string(1, who));
    now_ += time;
    returns(who);
    now_ += 100us;
    granted();
  }

  Time now_ = Time{} + 10s;
  Sequencer sequencer_{NodeId(1000), {.sas_max = 8}};
  wire::FastOutbox outbox_;
  std::map<char, std::uint64_t> ids_;
  std::uint64_t id_ = 0;
};

// In the order of arrival it would be A, C, B each time.
TEST_F(SequencerOrder, FromTheNearToTheFarAndBack) {
  add_sa(32);
  holds('A', 20us);
  holds('B', 110us);
  holds('C', 60us);
  std::vector<std::string> sweeps;
  for (int i = 0; i < 4; ++i) {
    now_ += 20us;
    asks('A', 10);
    now_ += 40us;
    asks('C', 10);
    now_ += 50us;
    asks('B', 10);
    now_ += 41us;  // the guard
    sweeps.push_back(granted());
  }
  EXPECT_THAT(sweeps, AnyOf(ElementsAre("ACB", "BCA", "ACB", "BCA"), ElementsAre("BCA", "ACB", "BCA", "ACB")));
}

// A near host that asks again and again does not keep a far one waiting, nor the other way round.
TEST_F(SequencerOrder, WhoWaitsIsServedBeforeWhoComesBack) {
  add_sa(2);  // one number at a time
  holds('A', 20us);
  holds('B', 110us);
  std::string served;
  asks('A', 1);
  asks('B', 1);
  for (int i = 0; i < 20; ++i) {
    now_ += 41us;
    const std::string now = granted();
    ASSERT_EQ(now.size(), 1U);
    served += now;
    asks(now[0], 1);
  }
  for (std::size_t i = 0; i + 3 <= served.size(); ++i)
    EXPECT_NE(served.substr(i, 3), std::string(3, served[i])) << served;
}

}  // namespace
}  // namespace testudo::sequence
