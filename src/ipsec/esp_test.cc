// SPDX-License-Identifier: Apache-2.0
// ESP in tunnel mode, as it comes in UDP: sizes, padding, tampering. All modes and families: round_trip_test.cc.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "ipsec/sa_for_test.h"
#include "ipsec/sizes.h"

namespace testudo::ipsec {
namespace {

using crypto::Backend;
using crypto::Suite;

Bytes encap_one(SaPair& pair, const Bytes& inner, SeqNo seq = SeqNo(1), std::size_t cut = 20) {
  Bytes packet(encap_size(*pair.out, inner, inner.size()));
  const std::size_t at = std::clamp<std::size_t>(cut, 20, inner.size());
  EncapRequest request{.sa = pair.out.get(),
                       .seq = seq,
                       .header = std::span(inner).first(at),
                       .payload = std::span(inner).subspan(at),
                       .out = packet.data()};
  pair.transforms->encap({&request, 1});
  CHECK(!request.drop && request.size == packet.size());
  return {packet.begin() + 20, packet.end()};
}

Bytes seal_text(SaPair& pair, const Bytes& text, SeqNo seq = SeqNo(1)) {
  return seal_text(pair.transforms->engine(), *pair.out, text, seq);
}

DecapRequest decap_one(SaPair& pair, Bytes& esp, SeqNo seq = SeqNo(1), std::uint8_t* out = nullptr) {
  DecapRequest request;
  request.sa = pair.in.get();
  request.seq = seq;
  request.data = esp.data();
  request.size = static_cast<std::uint32_t>(esp.size());
  request.out = out;
  pair.transforms->decap({&request, 1});
  return request;
}

class Esp : public testing::TestWithParam<std::tuple<Suite, bool, Backend>> {
 protected:
  SaPair pair_{std::get<0>(GetParam()), std::get<1>(GetParam()), std::get<2>(GetParam())};
  Suite suite_ = std::get<0>(GetParam());
};

INSTANTIATE_TEST_SUITE_P(All, Esp,
                         testing::Combine(testing::ValuesIn(kAllSuites), testing::Bool(),
                                          testing::Values(Backend::kIpsecMb, Backend::kOpenssl)));

TEST_P(Esp, EverySizeArrivesAsItWasSent) {
  for (std::size_t size = 20; size <= 1500; size += size < 120 ? 1 : 13) {
    const Bytes inner = inner_packet(size);
    const SeqNo seq(size);
    Bytes esp = encap_one(pair_, inner, seq, size % 61);
    const std::size_t most = inner_size_max(*pair_.out, esp.size() + 20);
    ASSERT_LE(inner.size(), most);
    ASSERT_EQ(encap_size(*pair_.out, inner, most), esp.size() + 20);
    const auto* header = wire::parse_esp(esp);
    ASSERT_NE(header, nullptr);
    ASSERT_EQ(header->spi(), pair_.out->spi());
    ASSERT_EQ(header->sequence_low(), size);
    const DecapRequest got = decap_one(pair_, esp, seq);
    ASSERT_FALSE(got.drop.has_value()) << size;
    ASSERT_TRUE(got.authentic);
    ASSERT_EQ(Bytes(got.inner.begin(), got.inner.end()), inner);
  }
}

TEST_P(Esp, OutOfPlaceKeepsTheOriginal) {
  const Bytes inner = inner_packet(777);
  Bytes esp = encap_one(pair_, inner);
  const Bytes original = esp;
  Bytes scratch(esp.size());
  const DecapRequest got = decap_one(pair_, esp, SeqNo(1), scratch.data());
  EXPECT_FALSE(got.drop.has_value());
  EXPECT_EQ(Bytes(got.inner.begin(), got.inner.end()), inner);
  EXPECT_GE(got.inner.data(), scratch.data());
  EXPECT_LE(got.inner.data() + got.inner.size(), scratch.data() + scratch.size());
  EXPECT_EQ(esp, original);
}

TEST_P(Esp, RefusesEveryChangedByte) {
  const Bytes sealed = encap_one(pair_, inner_packet(60));
  for (std::size_t at = 0; at < sealed.size(); ++at) {
    Bytes esp = sealed;
    esp[at] ^= 0x40;
    const DecapRequest got = decap_one(pair_, esp);
    ASSERT_FALSE(got.authentic) << at;
    ASSERT_EQ(got.drop, at < 8 ? Drop::kMalformed : Drop::kBadIcv) << at;  // not this SA's SPI, not this number
    ASSERT_TRUE(got.inner.empty());
  }
}

TEST_P(Esp, RefusesATruncatedPacketOfEveryLength) {
  const Bytes sealed = encap_one(pair_, inner_packet(100));
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    Bytes esp(sealed.begin(), sealed.begin() + static_cast<std::ptrdiff_t>(size));
    const DecapRequest got = decap_one(pair_, esp);
    ASSERT_FALSE(got.authentic);
    ASSERT_EQ(got.drop, crypto::frame_fits(suite_, size) ? Drop::kBadIcv : Drop::kTruncated) << size;
  }
}

TEST_P(Esp, RefusesAnotherHighHalf) {
  const bool esn = std::get<1>(GetParam());
  const SeqNo high_one((1ull << 32) + 5);
  if (!esn) {
    Bytes esp = encap_one(pair_, inner_packet(60), SeqNo(5));
    EXPECT_EQ(decap_one(pair_, esp, high_one).drop, Drop::kMalformed);
    return;
  }
  const Bytes sealed = encap_one(pair_, inner_packet(60), high_one);
  for (const std::uint64_t high : {0ull, 2ull}) {
    Bytes esp = sealed;
    EXPECT_EQ(decap_one(pair_, esp, SeqNo(high << 32 | 5)).drop, Drop::kBadIcv);
  }
  Bytes esp = sealed;
  EXPECT_FALSE(decap_one(pair_, esp, high_one).drop.has_value());
}

TEST_P(Esp, WithoutEsnNumbersEndAt32Bits) {
  Bytes out(2000);
  const Bytes inner = inner_packet(60);
  EncapRequest request{.sa = pair_.out.get(), .seq = SeqNo(1ull << 32), .header = inner, .out = out.data()};
  pair_.transforms->encap({&request, 1});
  EXPECT_EQ(request.drop.has_value(), !pair_.out->esn());
  if (request.drop) {
    EXPECT_EQ(*request.drop, Drop::kSequenceExhausted);
  }
}

// Any padding that makes the text fit is right, as long as it is 1, 2, 3 … (RFC 4303 section 2.4).
TEST_P(Esp, TakesEveryRightPaddingAndNoWrongOne) {
  const Bytes inner = inner_packet(40);
  const std::size_t block = crypto::sizes(suite_).block;
  std::size_t tried = 0;
  for (std::size_t padding = 0; padding < 256; ++padding) {
    if ((inner.size() + padding + 2) % block != 0) continue;
    Bytes text = inner;
    for (std::size_t i = 1; i <= padding; ++i) text.push_back(static_cast<std::uint8_t>(i));
    text.push_back(static_cast<std::uint8_t>(padding));
    text.push_back(wire::kProtocolIpip);
    Bytes esp = seal_text(pair_, text);
    const DecapRequest got = decap_one(pair_, esp);
    ASSERT_FALSE(got.drop.has_value()) << padding;
    ASSERT_EQ(Bytes(got.inner.begin(), got.inner.end()), inner);
    ++tried;

    for (std::size_t at = 0; at < padding; at += 1 + padding / 5) {
      Bytes wrong = text;
      wrong[inner.size() + at] ^= 0x80;
      Bytes wrong_esp = seal_text(pair_, wrong);
      const DecapRequest refused = decap_one(pair_, wrong_esp);
      ASSERT_EQ(refused.drop, Drop::kBadPadding) << padding << " at " << at;
      ASSERT_TRUE(refused.authentic);  // its number counts as seen
      ASSERT_TRUE(refused.inner.empty());
    }
  }
  EXPECT_EQ(tried, 256 / block);
}

TEST_P(Esp, RefusesImpossibleTexts) {
  const std::size_t block = crypto::sizes(suite_).block;
  struct Row {
    const char* what;
    std::size_t inner;     // bytes of a good packet, then filler
    std::uint8_t padding;  // pad length field; the padding is right as far as there is room
    std::uint8_t next;     // next header
    std::optional<Drop> drop;
  };
  const Row rows[] = {
      {"good", 62, 0, 4, std::nullopt},
      {"pad length is the whole text and one more", 62, 63, 4, Drop::kBadPadding},
      {"pad length 255", 62, 255, 4, Drop::kBadPadding},
      {"next header IPv6, and IPv4 inside", 62, 0, 41, Drop::kMalformed},
      {"next header TCP: transport mode", 62, 0, 6, Drop::kWrongMode},
      {"dummy packet", 62, 0, 59, Drop::kDummy},
  };
  for (const Row& row : rows) {
    Bytes text = inner_packet(row.inner);
    text.push_back(row.padding);
    text.push_back(row.next);
    ASSERT_EQ(text.size() % block, 0u);
    Bytes esp = seal_text(pair_, text);
    const DecapRequest got = decap_one(pair_, esp);
    EXPECT_EQ(got.drop, row.drop) << row.what;
    EXPECT_TRUE(got.authentic) << row.what;
  }
}

// Padding that is 1, 2, 3 … to the first byte of the text leaves no packet; one that begins in the IV is too long,
// even if the IV's last byte is a 1, as the second packet's is with GCM.
TEST_P(Esp, RefusesPaddingThatLeavesNothing) {
  struct Row {
    std::uint8_t padding;
    Drop drop;
  };
  for (const Row& row : {Row{62, Drop::kTruncated}, Row{63, Drop::kBadPadding}, Row{64, Drop::kBadPadding}}) {
    Bytes text(64);
    const std::size_t shift = row.padding - 62u;  // bytes of the padding that would lie in the IV
    for (std::size_t i = 0; i < 62; ++i) text[i] = static_cast<std::uint8_t>(i + 1 + shift);
    text[62] = row.padding;
    text[63] = wire::kProtocolIpip;
    Bytes esp = seal_text(pair_, text);
    EXPECT_EQ(decap_one(pair_, esp).drop, row.drop) << int{row.padding};
  }
}

TEST_P(Esp, RefusesInnerPacketsThatAreNoIpv4) {
  struct Row {
    const char* what;
    void (*spoil)(Bytes&);
    Drop drop;
  };
  const Row rows[] = {
      {"version 6", [](Bytes& b) { b[0] = 0x65; }, Drop::kMalformed},
      {"header longer than the packet",
       [](Bytes& b) {
         b[0] = 0x4f;
         b[3] = 62;
         b.resize(46);
       },
       Drop::kMalformed},
      {"total length beyond the end", [](Bytes& b) { b[3] = 63; }, Drop::kMalformed},
      {"shorter than a header", [](Bytes& b) { b.resize(14); }, Drop::kTruncated},
  };
  for (const Row& row : rows) {
    Bytes text = inner_packet(62);
    row.spoil(text);
    text.push_back(0);
    text.push_back(wire::kProtocolIpip);
    Bytes esp = seal_text(pair_, text);
    EXPECT_EQ(decap_one(pair_, esp).drop, row.drop) << row.what;
  }
}

// Section 2.7: what follows the inner packet hides its size.
TEST_P(Esp, CutsOffTrafficFlowPadding) {
  Bytes text = inner_packet(40);
  text.resize(62, 0xee);
  text.push_back(0);
  text.push_back(wire::kProtocolIpip);
  Bytes esp = seal_text(pair_, text);
  const DecapRequest got = decap_one(pair_, esp);
  ASSERT_FALSE(got.drop.has_value());
  EXPECT_EQ(Bytes(got.inner.begin(), got.inner.end()), inner_packet(40));
}

// A train: one buffer, packets of equal size side by side, one of them refused.
TEST_P(Esp, BurstsLieSideBySideAndAnswerOneByOne) {
  constexpr std::size_t kCount = 32;
  const Bytes header = inner_packet(40);
  const Bytes payload(960, 0x5a);
  const std::size_t size = encap_size(*pair_.out, header, 1000);
  Bytes train(size * kCount);
  std::array<EncapRequest, kCount> requests;
  Bytes inner = header;
  inner.insert(inner.end(), payload.begin(), payload.end());
  inner[2] = 1000 >> 8;
  inner[3] = 1000 & 0xff;
  for (std::size_t i = 0; i < kCount; ++i) {
    requests[i] = {.sa = pair_.out.get(),
                   .seq = SeqNo(i + 1),
                   .header = std::span(inner).first(40),
                   .payload = payload,
                   .out = train.data() + i * size};
  }
  pair_.transforms->encap(requests);

  train[5 * size + 50] ^= 1;
  std::array<DecapRequest, kCount> in;
  for (std::size_t i = 0; i < kCount; ++i) {
    in[i].sa = pair_.in.get();
    in[i].seq = SeqNo(i + 1);
    in[i].data = train.data() + i * size;
    in[i].size = static_cast<std::uint32_t>(i == 9 ? size - 1 : size);
    in[i].offset = 20;
  }
  pair_.transforms->decap(in);
  for (std::size_t i = 0; i < kCount; ++i) {
    if (i == 5 || i == 9) {
      EXPECT_EQ(in[i].drop, i == 5 ? Drop::kBadIcv : Drop::kTruncated);
      continue;
    }
    EXPECT_FALSE(in[i].drop.has_value()) << i;
    EXPECT_EQ(Bytes(in[i].inner.begin(), in[i].inner.end()), inner) << i;
  }
  // Counting is for whoever sends a packet or commits its number.
  EXPECT_EQ(pair_.out->totals().packets.value() + pair_.in->totals().packets.value(), 0u);
}

TEST(EspSizes, AreAsTheRfcLaysOut) {
  // header 8, IV 8, 20 + 2 rounded up to 24, ICV 16
  constexpr Shape kGcm{.esp_iv = 8, .esp_icv = 16, .esp_block = 4};
  constexpr Shape kCbc{.esp_iv = 16, .esp_icv = 16, .esp_block = 16};
  static_assert(protected_size(kGcm, 20) == 8 + 8 + 24 + 16);
  static_assert(protected_size(kGcm, 22) == 8 + 8 + 24 + 16);
  static_assert(protected_size(kGcm, 23) == 8 + 8 + 28 + 16);
  static_assert(protected_size(kCbc, 30) == 8 + 16 + 32 + 16);
  static_assert(protected_size(kCbc, 31) == 8 + 16 + 48 + 16);
}

}  // namespace
}  // namespace testudo::ipsec
