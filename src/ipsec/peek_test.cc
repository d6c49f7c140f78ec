// SPDX-License-Identifier: Apache-2.0
#include "ipsec/peek.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <vector>

#include "ipsec/sa_for_test.h"

namespace testudo::ipsec {
namespace {

using Kind = Peeked::Kind;

Bytes protect(SaPair& pair, const Bytes& inner) {
  return protect_bare(*pair.transforms, *pair.out, inner, SeqNo(1));
}

Bytes with(Bytes bytes, std::size_t at, std::uint8_t value) {
  bytes[at] = value;
  return bytes;
}

TEST(Peek, TruthTable) {
  struct Row {
    const char* what;
    Bytes inner;
    Kind kind;
    std::uint8_t protocol;
  };
  const Row rows[] = {
      {"a segment", inner_packet(1000), Kind::kTcp, 6},
      {"the smallest segment", inner_packet(40), Kind::kTcp, 6},
      {"40 bytes of IPv4 options", inner_packet(200, wire::kTcpAck, 40), Kind::kTcp, 6},
      {"40 bytes of IPv4 options, the smallest segment", inner_packet(80, wire::kTcpAck, 40), Kind::kTcp, 6},
      {"one byte short of a TCP header", inner_packet(39), Kind::kUndecidable, 6},
      {"no TCP header at all", inner_packet(20), Kind::kUndecidable, 6},
      {"a first fragment", with(inner_packet(100), 6, 0x20), Kind::kUndecidable, 0},
      {"a later fragment", with(inner_packet(100), 7, 1), Kind::kUndecidable, 0},
      {"header length 16", with(inner_packet(100), 0, 0x44), Kind::kUndecidable, 0},
      {"UDP", with(inner_packet(100), 9, 17), Kind::kOther, 17},
      {"ICMP", with(inner_packet(28), 9, 1), Kind::kOther, 1},
  };
  for (const auto backend : {crypto::Backend::kIpsecMb, crypto::Backend::kOpenssl}) {
    for (const crypto::Suite suite : kAllSuites) {
      SaPair pair(suite, false, backend);
      for (const Row& row : rows) {
        const Bytes esp = protect(pair, row.inner);
        const PeekRequest request{.sa = pair.in.get(), .packet = esp};
        Peeked peeked;
        pair.transforms->peek({&request, 1}, {&peeked, 1});
        ASSERT_EQ(peeked.kind, row.kind) << row.what << ", " << crypto::sizes(suite).name;
        if (row.kind == Kind::kUndecidable) continue;
        EXPECT_EQ(peeked.protocol, row.protocol) << row.what;
        EXPECT_EQ(peeked.source.address, IpAddress(0x0a000001));
        EXPECT_EQ(peeked.destination.address, IpAddress(0xc0000264));
        EXPECT_EQ(peeked.source.port, row.protocol == 1 ? 0 : 40000);
        EXPECT_EQ(peeked.destination.port, row.protocol == 1 ? 0 : 443);
        EXPECT_EQ(peeked.tcp_flags, row.kind == Kind::kTcp ? wire::kTcpAck : 0);
      }
    }
  }
}

TEST(Peek, LeavesThePacketAsItIsAndCountsNothing) {
  SaPair pair(crypto::Suite::kAesGcm128Icv16);
  const Bytes esp = protect(pair, inner_packet(500));
  const Bytes copy = esp;
  const PeekRequest request{.sa = pair.in.get(), .packet = copy};
  Peeked peeked;
  pair.transforms->peek({&request, 1}, {&peeked, 1});
  EXPECT_EQ(copy, esp);
  EXPECT_EQ(pair.in->totals().packets.value(), 0u);
  EXPECT_EQ(pair.in->replay().newest(), SeqNo(0));
}

TEST(Peek, EveryTruncationIsUndecidableOrReadsOnlyWhatIsThere) {
  for (const crypto::Suite suite : kAllSuites) {
    SaPair pair(suite);
    const Bytes esp = protect(pair, inner_packet(150));
    for (std::size_t size = 0; size < esp.size(); ++size) {
      const Bytes cut(esp.begin(), esp.begin() + static_cast<std::ptrdiff_t>(size));  // exact, for the sanitizer
      const PeekRequest request{.sa = pair.in.get(), .packet = cut};
      Peeked peeked;
      pair.transforms->peek({&request, 1}, {&peeked, 1});
      if (!crypto::frame_fits(suite, size)) {
        ASSERT_EQ(peeked.kind, Kind::kUndecidable) << size;
      }
    }
  }
}

// The last byte of the text names the protocol, however long the packet is.
TEST(Peek, TransportModeNamesTheProtocolAtTheEnd) {
  for (const auto backend : {crypto::Backend::kIpsecMb, crypto::Backend::kOpenssl}) {
    SeededRng rng(3);
    const auto transforms = transforms_for_test(rng, backend);
    SaFactory factory(1);
    for (const crypto::Suite suite : {kAllSuites[0], kAllSuites[2], crypto::Suite::kChacha20Poly1305}) {
      const auto make = [&](Direction direction) {
        SaParameters p = parameters_for_test(direction, suite);
        p.mode = Mode::kTransport;
        std::swap(p.local, p.remote);  // inner_packet()'s source is no matter of this test
        auto sa = factory.create(std::move(p));
        CHECK(sa.has_value());
        return std::move(*sa);
      };
      const auto in = make(Direction::kInbound), out = make(Direction::kOutbound);
      for (std::size_t payload = 0; payload <= 1400; payload += 7) {
        for (const std::uint8_t protocol : {wire::kProtocolTcp, std::uint8_t{17}}) {
          Bytes plain = inner_packet(40 + payload);
          wire::build_ipv4(std::span(plain).first<20>(),
                           {.source = out->local(), .destination = out->remote(), .protocol = protocol},
                           plain.size() - 20);
          const Bytes esp = protect_bare(*transforms, *out, plain, SeqNo(1));
          const PeekRequest request{
              .sa = in.get(), .packet = esp, .source = out->local(), .destination = out->remote()};
          Peeked peeked;
          transforms->peek({&request, 1}, {&peeked, 1});
          ASSERT_EQ(peeked.kind, protocol == wire::kProtocolTcp ? Kind::kTcp : Kind::kOther)
              << payload << crypto::sizes(suite).name;
          ASSERT_EQ(peeked.protocol, protocol);
          ASSERT_EQ(peeked.destination.port, 443);
          ASSERT_EQ(peeked.destination.address, out->remote());
        }
      }
    }
  }
}

// Suites mixed, some undecidable: every answer is at its own place.
TEST(Peek, AnswersABurstInOrder) {
  std::array<std::unique_ptr<SaPair>, 4> pairs;
  for (std::size_t i = 0; i < 4; ++i) pairs[i] = std::make_unique<SaPair>(kAllSuites[i]);
  std::vector<Bytes> packets;
  std::vector<PeekRequest> requests;
  for (std::size_t i = 0; i < crypto::kBurstMax; ++i) {
    Bytes inner = inner_packet(100 + i);
    inner[20] = 0;
    inner[21] = static_cast<std::uint8_t>(i);  // source port
    packets.push_back(protect(*pairs[i % 4], inner));
    if (i % 7 == 3) packets.back().resize(30);
  }
  for (std::size_t i = 0; i < packets.size(); ++i)
    requests.push_back({.sa = pairs[i % 4]->in.get(), .packet = packets[i]});
  std::array<Peeked, crypto::kBurstMax> peeked;
  pairs[0]->transforms->peek(requests, peeked);
  for (std::size_t i = 0; i < packets.size(); ++i) {
    ASSERT_EQ(peeked[i].kind, i % 7 == 3 ? Kind::kUndecidable : Kind::kTcp) << i;
    if (i % 7 != 3) {
      EXPECT_EQ(peeked[i].source.port, i);
    }
  }
}

}  // namespace
}  // namespace testudo::ipsec
