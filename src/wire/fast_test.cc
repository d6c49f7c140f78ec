// SPDX-License-Identifier: Apache-2.0
#include "wire/fast.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace testudo::wire {
namespace {

using Bytes = std::vector<std::uint8_t>;

FastHeader header_of(FastType type) {
  return {.type = type,
          .sender = NodeId(3),
          .incarnation = 0x00abcdef,
          .dvipa = IpAddress(0xc0000264),
          .epoch = Epoch(0x0102030405060708)};
}

template <typename Entry>
Bytes datagram(const std::vector<Entry>& entries) {
  Bytes buffer(kFastDatagramMax);
  FastWriter writer(buffer, header_of(Entry::kType));
  for (const Entry& entry : entries) {
    if (!writer.append(entry)) break;
  }
  return {writer.bytes().begin(), writer.bytes().end()};
}

Bytes one_request() {
  return datagram<LeaseRequest>({{.sa = SaId(0x1122), .id = 7, .want = 44, .returned = 6, .last = SeqNo(99)}});
}

TEST(Fast, LiesOnTheWireAsTheHeaderSays) {
  // clang-format off
  const Bytes expected = {
      0x54, 0x66, 2, 1, 0, 3, 0, 1,           // magic, version, type, sender, count
      0, 0xab, 0xcd, 0xef,                    // incarnation
      0, 0, 0, 0, 0, 0, 0, 0,                 // DVIPA
      0, 0, 0xff, 0xff, 0xc0, 0, 2, 0x64,
      1, 2, 3, 4, 5, 6, 7, 8,                 // epoch
      0, 0, 0, 0, 0, 0, 0x11, 0x22,           // SA
      0, 0, 0, 0, 0, 0, 0, 99,                // last
      0, 0, 0, 0, 0, 0, 0, 7,                 // id
      0, 0, 0, 0, 0, 0, 0, 6,                 // returned
      0, 44,                                  // want
  };
  // clang-format on
  EXPECT_EQ(one_request(), expected);
}

struct Spoiled {
  const char* what;
  void (*spoil)(Bytes&);
};

TEST(Fast, RefusesWhatIsNotExactlyADatagram) {
  const Spoiled table[] = {
      {"empty", [](Bytes& b) { b.clear(); }},
      {"header cut", [](Bytes& b) { b.resize(kFastHeaderSize - 1); }},
      {"entry cut", [](Bytes& b) { b.pop_back(); }},
      {"a byte too many", [](Bytes& b) { b.push_back(0); }},
      {"another magic", [](Bytes& b) { b[0] ^= 1; }},
      {"another version", [](Bytes& b) { b[2] = 1; }},
      {"type 0", [](Bytes& b) { b[3] = 0; }},
      {"unknown type", [](Bytes& b) { b[3] = 6; }},
      {"type of another size", [](Bytes& b) { b[3] = 2; }},
      {"sender 0", [](Bytes& b) { b[5] = 0; }},
      {"count too small", [](Bytes& b) { b[7] = 0; }},
      {"count too large", [](Bytes& b) { b[7] = 2; }},
      {"count far too large", [](Bytes& b) { b[6] = 0xff; }},
      {"request 0", [](Bytes& b) { b[59] = 0; }},
      {"wants nothing", [](Bytes& b) { b[69] = 0; }},
  };
  ASSERT_TRUE(FastMessage::parse(one_request()).has_value());
  for (const Spoiled& row : table) {
    Bytes bytes = one_request();
    row.spoil(bytes);
    EXPECT_FALSE(FastMessage::parse(bytes).has_value()) << row.what;
  }
}

TEST(Fast, RefusesImpossibleGrants) {
  Bytes grant = datagram<LeaseGrant>({{.sa = SaId(1), .id = 1, .first = SeqNo(5), .count = 3, .duration_us = 9}});
  ASSERT_TRUE(FastMessage::parse(grant).has_value());
  Bytes neither = grant;
  neither.back() = 2;
  EXPECT_FALSE(FastMessage::parse(neither).has_value()) << "shared is 0 or 1";
  Bytes wraps = grant;
  std::fill(wraps.begin() + kFastHeaderSize + 8, wraps.begin() + kFastHeaderSize + 16, std::uint8_t{0xff});
  EXPECT_FALSE(FastMessage::parse(wraps).has_value()) << "numbers pass 2^64";
}

TEST(Fast, RefusesImpossibleOffers) {
  const LeaseOffer offer{.sa = SaId(1),
                         .id = LeaseOffer::kIds | 1,
                         .first = SeqNo(5),
                         .count = 3,
                         .duration_us = 9,
                         .seen = 7,
                         .age_us = 2};
  const Bytes good = datagram<LeaseOffer>({offer});
  ASSERT_TRUE(FastMessage::parse(good).has_value());
  const Spoiled table[] = {
      {"the id of a request", [](Bytes& b) { b[kFastHeaderSize + 16] = 0; }},
      {"no number", [](Bytes& b) { b.back() = 0; }},
      {"number 0", [](Bytes& b) { b[kFastHeaderSize + 15] = 0; }},
      {"no request seen", [](Bytes& b) { b[kFastHeaderSize + 31] = 0; }},
      {"numbers pass 2^64", [](Bytes& b) { std::fill_n(b.begin() + kFastHeaderSize + 8, 8, std::uint8_t{0xff}); }},
  };
  for (const Spoiled& row : table) {
    Bytes bytes = good;
    row.spoil(bytes);
    EXPECT_FALSE(FastMessage::parse(bytes).has_value()) << row.what;
  }
}

template <typename Entry>
void round_trip(const std::vector<Entry>& entries) {
  const Bytes bytes = datagram(entries);
  RC_ASSERT(bytes.size() <= kFastDatagramMax);
  if (entries.empty()) {
    RC_ASSERT(bytes.empty());
    return;
  }
  const auto message = FastMessage::parse(bytes);
  RC_ASSERT(message.has_value());
  RC_ASSERT(message->header() == header_of(Entry::kType));
  const std::size_t fits = (kFastDatagramMax - kFastHeaderSize) / Entry::kSize;
  RC_ASSERT(message->count() == std::min(entries.size(), fits));
  for (std::size_t i = 0; i < message->count(); ++i) RC_ASSERT(message->entry<Entry>(i) == entries[i]);
}

template <typename Entry, typename Make>
std::vector<Entry> some(Make make) {
  std::vector<Entry> entries(*rc::gen::inRange<std::size_t>(0, 130));
  for (Entry& entry : entries) entry = make();
  return entries;
}
std::uint64_t any64() { return *rc::gen::arbitrary<std::uint64_t>(); }
std::uint32_t any32() { return *rc::gen::arbitrary<std::uint32_t>(); }
std::uint64_t any_id() { return *rc::gen::nonZero<std::uint64_t>(); }

RC_GTEST_PROP(FastProperty, RequestsComeBack, ()) {
  round_trip(some<LeaseRequest>([] {
    return LeaseRequest{SaId(any64()), any_id(), *rc::gen::nonZero<std::uint16_t>(), any64(), SeqNo(any64())};
  }));
}
RC_GTEST_PROP(FastProperty, GrantsComeBack, ()) {
  round_trip(some<LeaseGrant>([] {
    const auto count = *rc::gen::arbitrary<std::uint16_t>();
    return LeaseGrant{SaId(any64()), any_id(), SeqNo(1 + any64() / 2), count, any32(), any32() % 2 == 0};
  }));
}
RC_GTEST_PROP(FastProperty, RecallsComeBack, ()) {
  round_trip(some<LeaseRecall>([] { return LeaseRecall{SaId(any64()), any_id()}; }));
}
RC_GTEST_PROP(FastProperty, ReturnsComeBack, ()) {
  round_trip(some<LeaseReturn>([] { return LeaseReturn{SaId(any64()), any_id(), SeqNo(any64())}; }));
}
RC_GTEST_PROP(FastProperty, OffersComeBack, ()) {
  round_trip(some<LeaseOffer>([] {
    return LeaseOffer{SaId(any64()),
                      LeaseOffer::kIds | any64(),
                      SeqNo(1 + any64() / 2),
                      *rc::gen::nonZero<std::uint16_t>(),
                      any32(),
                      any_id(),
                      any32()};
  }));
}
RC_GTEST_PROP(FastProperty, CommitsComeBack, ()) {
  round_trip(some<ReplayCommit>([] { return ReplayCommit{SaId(any64()), SeqNo(any64() / 2), any64(), any64()}; }));
}

TEST(FastOutbox, FillsOneDatagramPerNodeAndHeader) {
  FastOutbox outbox(4);
  const FastHeader recall = header_of(FastType::kLeaseRecall), back = header_of(FastType::kLeaseReturn);
  outbox.append(NodeId(1), recall, LeaseRecall{SaId(1), 1});
  outbox.append(NodeId(2), recall, LeaseRecall{SaId(2), 1});
  outbox.append(NodeId(1), recall, LeaseRecall{SaId(3), 1});
  outbox.append(NodeId(1), back, LeaseReturn{SaId(4), 1, SeqNo(5)});
  ASSERT_EQ(outbox.size(), 3u);
  const auto first = FastMessage::parse(outbox.datagram(0).bytes);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->count(), 2u);
  EXPECT_EQ(first->entry<LeaseRecall>(1).sa, SaId(3));
  EXPECT_EQ(outbox.datagram(1).to, NodeId(2));
}

TEST(FastOutbox, ADatagramThatWasReadIsClosed) {
  FastOutbox outbox(4);
  const FastHeader recall = header_of(FastType::kLeaseRecall);
  outbox.append(NodeId(1), recall, LeaseRecall{SaId(1), 1});
  const auto before = outbox.datagram(0).bytes.size();
  outbox.append(NodeId(1), recall, LeaseRecall{SaId(2), 1});
  EXPECT_EQ(outbox.size(), 2u);
  EXPECT_EQ(outbox.datagram(0).bytes.size(), before);
}

TEST(FastOutbox, CountsWhatDoesNotFit) {
  FastOutbox outbox(1);
  const FastHeader recall = header_of(FastType::kLeaseRecall);
  const std::size_t fits = (kFastDatagramMax - kFastHeaderSize) / LeaseRecall::kSize;
  for (std::size_t i = 0; i < fits + 2; ++i) outbox.append(NodeId(1), recall, LeaseRecall{SaId(i), 1});
  EXPECT_EQ(outbox.lost(), 2u);
  EXPECT_EQ(outbox.size(), 1u);
  outbox.clear();
  outbox.append(NodeId(1), recall, LeaseRecall{SaId(1), 1});
  EXPECT_EQ(FastMessage::parse(outbox.datagram(0).bytes)->count(), 1u);
}

}  // namespace
}  // namespace testudo::wire
