// SPDX-License-Identifier: Apache-2.0
#include "ipsec/peek.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
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

// With many SAs keys are expanded for the peek alone.
TEST(Peek, ManySas) {
  for (const auto backend : {crypto::Backend::kIpsecMb, crypto::Backend::kOpenssl}) {
    for (const crypto::Suite suite : kAllSuites) {
      SaPair pair(suite, false, backend);
      std::vector<std::unique_ptr<Sa>> sas;
      std::vector<Bytes> packets;
      for (std::uint64_t n = 0; n < 40; ++n) {
        auto p = parameters_for_test(Direction::kInbound, suite, 100 + n);
        SeededRng(n).fill(p.key.mutable_bytes());
        sas.push_back(std::move(*pair.factory.create(p)));
        p.direction = Direction::kOutbound;
        p.id = SaId(1000 + n);
        const auto out = std::move(*pair.factory.create(std::move(p)));
        packets.push_back(protect_bare(*pair.transforms, *out, inner_packet(200), SeqNo(1)));
      }
      for (int round = 0; round < 2; ++round) {
        const std::uint64_t before = pair.transforms->keys().expansions();
        std::vector<PeekRequest> requests;
        for (std::size_t n = 0; n < sas.size(); ++n) requests.push_back({.sa = sas[n].get(), .packet = packets[n]});
        std::vector<Peeked> peeked(sas.size());
        pair.transforms->peek(requests, peeked);
        for (const Peeked& p : peeked) {
          ASSERT_EQ(p.kind, Kind::kTcp) << crypto::sizes(suite).name;
          EXPECT_EQ(p.source, (Endpoint{IpAddress(0x0a000001), 40000}));
        }
        // The packets that were made have filled the cache as far as it counts as few.
        EXPECT_EQ(pair.transforms->keys().expansions(), before);
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

/// An inner or transported IPv6 packet with extension headers of `size` bytes in all, a multiple of 8.
Bytes v6_packet(IpAddress from, IpAddress to, std::size_t size, const Bytes& transport, std::uint8_t protocol) {
  Bytes extensions;
  while (extensions.size() < size) {
    const std::size_t here = std::min<std::size_t>(size - extensions.size(), 64);
    const bool last = extensions.size() + here == size;
    const std::size_t at = extensions.size();
    extensions.resize(at + here);
    extensions[at] = last ? protocol : 60;
    extensions[at + 1] = static_cast<std::uint8_t>(here / 8 - 1);
    extensions[at + 2] = 1;  // PadN
    extensions[at + 3] = static_cast<std::uint8_t>(here - 4);
  }
  return ip_packet({.source = from, .destination = to, .protocol = protocol}, transport, extensions, 60);
}

struct Seen {
  Kind kind;
  std::uint8_t protocol;
  bool ports;
};

// Iterative: 64 bytes, 128 where extension headers ask for it, and no more.
TEST(Peek, WalksIpv6ExtensionHeadersAsFarAsItReaches) {
  const IpAddress client = *IpAddress::parse("2001:db8:9::1");
  const IpAddress dvipa = *IpAddress::parse("2001:db8::64");
  const Bytes tcp = tcp_segment(client, dvipa, 300);
  Bytes udp(28, 0);
  udp[0] = 40'000 >> 8;
  udp[1] = 40'000 & 0xff;
  udp[2] = 1;
  udp[3] = 0xbb;
  const Bytes icmp = {128, 3, 0, 0, 0, 0, 0, 0};
  struct Row {
    const char* what;
    Bytes inner;
    Seen seen;
  };
  const Row rows[] = {
      {"TCP", v6_packet(client, dvipa, 0, tcp, 6), {Kind::kTcp, 6, true}},
      {"TCP behind 8 bytes", v6_packet(client, dvipa, 8, tcp, 6), {Kind::kTcp, 6, true}},
      {"TCP behind 64 bytes", v6_packet(client, dvipa, 64, tcp, 6), {Kind::kTcp, 6, true}},
      {"TCP ends at byte 128", v6_packet(client, dvipa, 68 / 8 * 8, tcp, 6), {Kind::kTcp, 6, true}},
      {"TCP ends behind it", v6_packet(client, dvipa, 72, tcp, 6), {Kind::kUndecidable, 0, false}},
      {"headers go on behind it", v6_packet(client, dvipa, 128, tcp, 6), {Kind::kUndecidable, 0, false}},
      {"UDP", v6_packet(client, dvipa, 16, udp, 17), {Kind::kOther, 17, true}},
      {"SCTP", v6_packet(client, dvipa, 0, udp, 132), {Kind::kOther, 132, true}},
      {"ICMPv6", v6_packet(client, dvipa, 0, icmp, 58), {Kind::kOther, 58, false}},
      {"a fragment", v6_packet(client, dvipa, 0, {6, 0, 0, 1, 0, 0, 0, 7}, 44), {Kind::kUndecidable, 0, false}},
  };
  for (const crypto::Suite suite : crypto::all_suites()) {
    if (crypto::is_ah(suite)) continue;
    SaPair pair(suite);
    for (const Row& row : rows) {
      const Bytes esp = protect(pair, row.inner);
      const PeekRequest request{.sa = pair.in.get(), .packet = esp};
      Peeked peeked;
      pair.transforms->peek({&request, 1}, {&peeked, 1});
      // What is not encrypted is read to its end.
      const bool plain = suite.cipher == crypto::Cipher::kNull || crypto::mode_of(suite) == crypto::Mode::kGmac;
      if (plain && row.seen.protocol == 0 && row.inner[6] != 44) continue;
      ASSERT_EQ(peeked.kind, row.seen.kind) << row.what << ", " << crypto::sizes(suite).name;
      if (row.seen.kind == Kind::kUndecidable) continue;
      ASSERT_EQ(peeked.protocol, row.seen.protocol) << row.what;
      ASSERT_EQ(peeked.source.address, client);
      ASSERT_EQ(peeked.destination.address, dvipa);
      ASSERT_EQ(peeked.has_ports, row.seen.ports) << row.what;
      ASSERT_EQ(peeked.source.port, row.seen.ports ? 40'000 : 0) << row.what;
      ASSERT_EQ(peeked.destination.port, row.seen.ports ? 443 : 0);
      ASSERT_EQ(peeked.icmp_type, row.seen.protocol == 58 ? 128 : 0);
      ASSERT_EQ(peeked.icmp_code, row.seen.protocol == 58 ? 3 : 0);
      ASSERT_EQ(peeked.tcp_flags, row.seen.kind == Kind::kTcp ? wire::kTcpAck : 0);
    }
  }
}

/// Both ends of an SA of any kind between the test addresses.
struct AnyPair : SaPair {
  AnyPair(crypto::Suite suite, Mode mode, std::optional<crypto::Suite> inner = std::nullopt)
      : SaPair(parameters(suite, mode, inner)) {}
  static SaParameters parameters(crypto::Suite suite, Mode mode, std::optional<crypto::Suite> inner) {
    SaParameters p = parameters_for_test(Direction::kOutbound, suite);
    p.protocol = crypto::is_ah(suite) ? Protocol::kAh : Protocol::kEsp;
    p.mode = mode;
    if (inner) p.inner_esp = InnerEsp{Spi(700), *inner, Secret(crypto::sizes(*inner).key)};
    return p;
  }
  Peeked look(const Bytes& inner) {
    const Bytes packet = ipsec::protect(*transforms, *out, inner, SeqNo(1));
    const PeekRequest request{
        .sa = in.get(), .packet = packet, .offset = 20, .source = in->remote(), .destination = in->local()};
    Peeked peeked;
    transforms->peek({&request, 1}, {&peeked, 1});
    return peeked;
  }
};

// In transport mode the protocol is named in the last bytes, however far away they are.
TEST(Peek, TransportModeAtEverySize) {
  std::vector<std::unique_ptr<AnyPair>> pairs;
  for (const crypto::Suite suite : crypto::all_suites()) {
    pairs.push_back(std::make_unique<AnyPair>(suite, Mode::kTransport));
    if (!crypto::is_ah(suite)) {
      pairs.push_back(std::make_unique<AnyPair>(crypto::Suite{crypto::Cipher::kNone, crypto::Integrity::kHmacSha1},
                                                Mode::kTransport, suite));
    }
  }
  for (const auto& pair : pairs) {
    for (std::size_t payload = 0; payload < 1400; payload += payload < 150 ? 1 : 97) {
      const Bytes inner = tcp_packet(pair->out->local(), pair->out->remote(), payload);
      const Peeked peeked = pair->look(inner);
      ASSERT_EQ(peeked.kind, Kind::kTcp) << payload << ' ' << crypto::sizes(pair->out->suite()).name;
      ASSERT_EQ(peeked.source, (Endpoint{pair->out->local(), 40'000}));
      ASSERT_EQ(peeked.destination, (Endpoint{pair->out->remote(), 443}));
    }
  }
}

TEST(Peek, LooksBehindAhInTunnelMode) {
  const crypto::Suite ah{crypto::Cipher::kNone, crypto::Integrity::kAesGmac128};
  for (const auto inner : {std::optional<crypto::Suite>(), std::optional(crypto::Suite::kAesGcm256Icv16),
                           std::optional(crypto::Suite::kAesCbc128HmacSha256)}) {
    AnyPair pair(ah, Mode::kTunnel, inner);
    EXPECT_EQ(pair.look(inner_packet(500)).kind, Kind::kTcp);
    EXPECT_EQ(pair.transforms->keys().expansions(), inner ? 3u : 1u);  // none of AH's to look at it
  }
}

}  // namespace
}  // namespace testudo::ipsec
