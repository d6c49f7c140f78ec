// SPDX-License-Identifier: Apache-2.0
// Every suite, mode, family and combination of headers: what one end protects, the other end gets back as it was,
// whatever is changed on the way is refused, and what may change on the way is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "ipsec/packet_for_test.h"
#include "ipsec/sa_for_test.h"
#include "ipsec/sizes.h"
#include "wire/ah.h"
#include "wire/checksum.h"

namespace testudo::ipsec {
namespace {

using crypto::Cipher;
using crypto::Integrity;
using crypto::Suite;

constexpr Suite kHmac{Cipher::kNone, Integrity::kHmacSha256};
constexpr Suite kGmac{Cipher::kNone, Integrity::kAesGmac128};

struct Kind {
  Suite suite = Suite::kAesGcm128Icv16;
  std::optional<Suite> inner{};  // ESP behind AH
  Mode mode = Mode::kTunnel;
  bool outer_v6 = false;
  bool inner_v6 = false;  // as outer_v6 in transport mode
  bool esn = false;
  bool udp = false;
};

std::string name(const Kind& s) {
  std::string text(crypto::sizes(s.suite).name);
  if (s.inner) text += " over " + std::string(crypto::sizes(*s.inner).name);
  text += s.mode == Mode::kTunnel ? ", tunnel" : ", transport";
  text += s.inner_v6 ? ", 6 in " : ", 4 in ";
  text += s.outer_v6 ? "6" : "4";
  if (s.esn) text += ", ESN";
  if (s.udp) text += ", UDP";
  return text;
}

/// Both ends.
class Ends {
 public:
  explicit Ends(const Kind& kind) : kind_(kind) {
    out = make(Direction::kOutbound);
    in = make(Direction::kInbound);
  }

  Bytes plain(std::size_t payload = 100) const {
    const IpAddress to = kind_.mode == Mode::kTransport ? out->remote() : kind_.inner_v6 ? kInnerV6 : kInnerV4;
    const IpAddress from = kind_.mode == Mode::kTransport ? out->local() : kind_.inner_v6 ? kInnerV6 : kInnerV4;
    return tcp_packet(from, to, payload);
  }

  Bytes protect(const Bytes& inner, SeqNo seq) { return ipsec::protect(*transforms, *out, inner, seq); }

  DecapRequest open(Bytes& packet, SeqNo seq, std::uint8_t* room = nullptr) {
    const std::size_t size = packet.size();
    packet.resize(size + kEsnTailroom, 0x77);
    DecapRequest request;
    request.sa = in.get();
    request.seq = seq;
    request.data = packet.data();
    request.size = static_cast<std::uint32_t>(size);
    request.out = room;
    if (!kind_.udp) {
      const auto ip = wire::parse_ip_prefix(std::span(packet).first(size)).view;
      request.offset = static_cast<std::uint32_t>(ip ? ip->header_size() : 20);
    }
    request.source = in->remote();
    request.destination = in->local();
    transforms->decap({&request, 1});
    EXPECT_EQ(Bytes(packet.end() - kEsnTailroom, packet.end()), Bytes(kEsnTailroom, 0x77));
    packet.resize(size);
    return request;
  }

  SeededRng rng{3};
  std::unique_ptr<Transforms> transforms = transforms_for_test(rng);
  std::unique_ptr<Sa> out, in;

  static constexpr IpAddress kInnerV4{0x0a000001};
  const IpAddress kInnerV6 = *IpAddress::parse("2001:db8:1::7");

 private:
  std::unique_ptr<Sa> make(Direction direction) {
    SaParameters p = parameters_for_test(direction, kind_.suite);
    const bool outbound = direction == Direction::kOutbound;
    const auto address = [&](bool local) {
      const bool first = local == outbound;
      if (kind_.outer_v6) return *IpAddress::parse(first ? "2001:db8::1" : "2001:db8::64");
      return first ? IpAddress(0xc0000201) : IpAddress(0xc0000264);
    };
    p.local = address(true);
    p.remote = address(false);
    p.mode = kind_.mode;
    p.esn = kind_.esn;
    p.udp_encapsulation = kind_.udp;
    p.protocol = crypto::is_ah(kind_.suite) ? Protocol::kAh : Protocol::kEsp;
    if (kind_.inner) {
      p.inner_esp = InnerEsp{Spi(0xabcd), *kind_.inner, Secret(crypto::sizes(*kind_.inner).key)};
      SeededRng(8).fill(p.inner_esp->key.mutable_bytes());
    }
    auto sa = factory_.create(std::move(p));
    CHECK(sa.has_value());
    return std::move(*sa);
  }
  Kind kind_;
  SaFactory factory_{0xabcdef};
};

std::vector<Kind> all_kinds() {
  std::vector<Kind> all;
  const auto add = [&](Suite suite, std::optional<Suite> inner) {
    for (const bool outer : {false, true}) {
      for (const bool esn : {false, true}) {
        if (esn && inner) continue;
        for (const bool v6 : {false, true}) all.push_back({suite, inner, Mode::kTunnel, outer, v6, esn});
        all.push_back({suite, inner, Mode::kTransport, outer, outer, esn});
        if (crypto::is_ah(suite)) continue;
        for (const bool v6 : {false, true}) all.push_back({suite, inner, Mode::kTunnel, outer, v6, esn, true});
        all.push_back({suite, inner, Mode::kTransport, outer, outer, esn, true});
      }
    }
  };
  for (const Suite suite : crypto::all_suites()) add(suite, std::nullopt);
  for (const Suite suite : crypto::all_suites()) {
    if (!crypto::is_ah(suite)) add(kHmac, suite);
  }
  add(kGmac, Suite::kAesGcm128Icv16);
  add(kGmac, Suite{Cipher::kNull, Integrity::kHmacSha1});
  return all;
}

TEST(RoundTrip, EverythingArrivesAsItWasSent) {
  for (const Kind& kind : all_kinds()) {
    SCOPED_TRACE(name(kind));
    Ends ends(kind);
    std::uint64_t number = kind.esn ? (5ull << 32) : 0;
    for (const std::size_t payload : {0, 1, 7, 40, 500, 1301}) {
      const SeqNo seq(++number);
      const Bytes inner = ends.plain(payload);
      const Bytes sealed = ends.protect(inner, seq);
      ASSERT_EQ(sealed.size(), encap_size(*ends.out, inner, inner.size()));
      Bytes room(sealed.size() + kRestoredHeader + kEsnTailroom);
      Bytes packet = sealed;
      const DecapRequest apart = ends.open(packet, seq, room.data());
      ASSERT_FALSE(apart.drop.has_value()) << payload << " " << kDropNames[static_cast<std::size_t>(*apart.drop)];
      ASSERT_EQ(Bytes(apart.inner.begin(), apart.inner.end()), inner);
      ASSERT_EQ(packet, sealed);
      if (decap_needs_out(*ends.in, kind.udp ? 0 : 20)) continue;
      const DecapRequest in_place = ends.open(packet, seq);
      ASSERT_FALSE(in_place.drop.has_value());
      ASSERT_EQ(Bytes(in_place.inner.begin(), in_place.inner.end()), inner);
    }
  }
}

// The size that fits an MTU, and no byte more.
TEST(RoundTrip, LargestPacketFitsTheMtu) {
  for (const Kind& kind : all_kinds()) {
    SCOPED_TRACE(name(kind));
    Ends ends(kind);
    for (std::size_t mtu = 1280; mtu < 1300; ++mtu) {
      const std::size_t most = inner_size_max(*ends.out, mtu);
      const Bytes header = ends.plain(0);
      ASSERT_LE(outer_size(*ends.out, encap_size(*ends.out, header, most)), mtu);
      ASSERT_GT(outer_size(*ends.out, encap_size(*ends.out, header, most + 1)), mtu);
    }
    ASSERT_EQ(inner_size_max(*ends.out, 40), 0u);
  }
}

/// Where RFC 4302 lets a bit change on the way: nothing of an outer header is authenticated without AH.
bool may_change(const Kind& kind, const Bytes& packet, std::size_t at, unsigned bit) {
  const std::size_t head = kind.outer_v6 ? 40 : 20;
  if (kind.udp || at >= head) return false;
  if (!kind.outer_v6) return at == 1 || at == 6 || at == 7 || at == 8 || at == 10 || at == 11;
  const bool first_word = (at == 0 && bit < 4) || (at >= 1 && at <= 3);
  (void)packet;
  return first_word || at == 7;
}

/// Headers that say nothing about AH's ICV or where the rest of the packet lies: without AH, addresses.
bool is_not_protected(const Kind& kind, std::size_t at) {
  if (crypto::is_ah(kind.suite) || kind.udp) return false;
  return at < (kind.outer_v6 ? 40u : 20u);
}

TEST(Mutations, EveryBitIsRefusedOrMutable) {
  for (const Kind& kind : all_kinds()) {
    if (kind.esn && kind.suite != Suite::kAesGcm128Icv16 && kind.suite != kHmac) continue;
    SCOPED_TRACE(name(kind));
    Ends ends(kind);
    const Bytes inner = ends.plain(21);
    const Bytes sealed = ends.protect(inner, SeqNo(9));
    Bytes room(sealed.size() + kRestoredHeader + kEsnTailroom);
    for (std::size_t at = 0; at < sealed.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        if (is_not_protected(kind, at)) continue;
        if (at > 60 && (at + bit) % 8 != 0) continue;  // the inside of texts: one bit of each byte
        Bytes packet = sealed;
        packet[at] ^= static_cast<std::uint8_t>(1u << bit);
        const DecapRequest got = ends.open(packet, SeqNo(9), room.data());
        if (may_change(kind, sealed, at, bit)) {
          ASSERT_TRUE(got.authentic) << at << "." << bit;
          continue;
        }
        ASSERT_FALSE(got.authentic) << at << "." << bit;
        ASSERT_TRUE(got.drop.has_value());
        ASSERT_TRUE(got.inner.empty());
      }
    }
  }
}

TEST(Mutations, EveryTruncationIsRefused) {
  for (const Kind& kind : all_kinds()) {
    if (kind.esn) continue;
    SCOPED_TRACE(name(kind));
    Ends ends(kind);
    const Bytes sealed = ends.protect(ends.plain(21), SeqNo(9));
    Bytes room(sealed.size() + kRestoredHeader + kEsnTailroom);
    for (std::size_t size = kind.udp ? 0 : kind.outer_v6 ? 40 : 20; size < sealed.size(); ++size) {
      Bytes packet(sealed.begin(), sealed.begin() + static_cast<std::ptrdiff_t>(size));
      const DecapRequest got = ends.open(packet, SeqNo(9), room.data());
      ASSERT_FALSE(got.authentic) << size;
      ASSERT_TRUE(got.drop.has_value());
    }
  }
}

TEST(Esn, AnotherHighHalfIsRefused) {
  for (const Kind& kind : all_kinds()) {
    if (!kind.esn) continue;
    SCOPED_TRACE(name(kind));
    Ends ends(kind);
    const SeqNo seq((7ull << 32) + 3);
    const Bytes sealed = ends.protect(ends.plain(), seq);
    Bytes room(sealed.size() + kRestoredHeader + kEsnTailroom);
    for (const std::uint64_t high : {6ull, 7ull, 8ull}) {
      Bytes packet = sealed;
      const DecapRequest got = ends.open(packet, SeqNo(high << 32 | 3), room.data());
      ASSERT_EQ(got.authentic, high == 7) << high;
    }
  }
}

// A train of AH packets side by side: with ESN the engine writes behind each of them for a moment.
TEST(Esn, AhPacketsOfATrainDoNotDisturbEachOther) {
  for (const Suite suite : {kHmac, kGmac}) {
    Ends ends({.suite = suite, .esn = true});
    const Bytes inner = ends.plain(300);
    const std::size_t size = encap_size(*ends.out, inner, inner.size());
    constexpr std::size_t kCount = 64;
    Bytes train(size * kCount + kEsnTailroom);
    std::array<EncapRequest, kCount> out;
    std::array<DecapRequest, kCount> in;
    for (std::size_t i = 0; i < kCount; ++i) {
      out[i] = {.sa = ends.out.get(), .seq = SeqNo(i + 1), .header = inner, .out = train.data() + i * size};
      in[i] = {.sa = ends.in.get(),
               .seq = SeqNo(i + 1),
               .data = train.data() + i * size,
               .size = static_cast<std::uint32_t>(size),
               .offset = 20};
    }
    ends.transforms->encap(out);
    train[40 * size + 60] ^= 1;
    ends.transforms->decap(in);
    for (std::size_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(in[i].authentic, i != 40) << i;
      if (i != 40) {
        ASSERT_EQ(Bytes(in[i].inner.begin(), in[i].inner.end()), inner);
      }
    }
  }
}

// AH over ESP: nothing is accepted by the ESP SPI alone, and both headers carry one number outbound.
TEST(AhOverEsp, IsOnePacketWithOneNumber) {
  Ends ends({.suite = kHmac, .inner = Suite::kAesGcm128Icv16});
  Bytes packet = ends.protect(ends.plain(), SeqNo(77));
  const auto* ah = wire::parse_ah(std::span(packet).subspan(20));
  ASSERT_NE(ah, nullptr);
  EXPECT_EQ(packet[9], 51);
  EXPECT_EQ(ah->next_header, 50);
  EXPECT_EQ(ah->sequence_low(), 77u);
  EXPECT_EQ(ah->size(), 12u + 16u);
  const auto* esp = wire::parse_esp(std::span(packet).subspan(20 + ah->size()));
  ASSERT_NE(esp, nullptr);
  EXPECT_EQ(esp->spi(), Spi(0xabcd));
  EXPECT_EQ(esp->sequence_low(), 77u);

  // A peer whose two SAs count apart: AH's number is what counts.
  DecapRequest got = ends.open(packet, SeqNo(76));
  EXPECT_EQ(got.drop, Drop::kMalformed);
  got = ends.open(packet, SeqNo(77));
  EXPECT_FALSE(got.drop.has_value());
}

// RFC 3948 section 3.1.2: behind a NAT, the segment's checksum is of an address that nobody sees.
TEST(UdpEncapsulation, TransportModeRenewsTheChecksum) {
  for (const bool v6 : {false, true}) {
    Ends ends({.mode = Mode::kTransport, .outer_v6 = v6, .inner_v6 = v6, .udp = true});
    const Bytes inner = ends.plain(99);
    Bytes packet = ends.protect(inner, SeqNo(1));
    DecapRequest request;
    Bytes room(packet.size() + kRestoredHeader);
    request.sa = ends.in.get();
    request.seq = SeqNo(1);
    request.data = packet.data();
    request.size = static_cast<std::uint32_t>(packet.size());
    request.source = v6 ? *IpAddress::parse("2001:db8:ffff::1") : IpAddress(0xcb007101);
    request.destination = ends.in->local();
    request.traffic_class = 0x28;
    request.out = room.data();
    ends.transforms->decap({&request, 1});
    ASSERT_FALSE(request.drop.has_value());
    const auto ip = wire::parse_ip(request.inner);
    ASSERT_TRUE(ip.has_value());
    EXPECT_EQ(ip->source(), request.source);
    EXPECT_EQ(ip->destination(), ends.in->local());
    EXPECT_EQ(ip->protocol(), wire::kProtocolTcp);
    EXPECT_EQ(ip->traffic_class(), 0x28);
    const auto sum = wire::pseudo_header_sum(ip->source(), ip->destination(), 6, ip->payload().size());
    EXPECT_EQ(wire::fold(wire::add(sum, ip->payload())), 0);
    if (!v6) {
      EXPECT_EQ(wire::checksum(request.inner.first(20)), 0);
    }
  }
}

}  // namespace
}  // namespace testudo::ipsec
