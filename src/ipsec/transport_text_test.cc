// SPDX-License-Identifier: Apache-2.0
// What a peer with the right key may put behind ESP in transport mode: decapsulation delivers packets that can be
// parsed, or none, and a peek that says what it saw says what is there.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "ipsec/packet_for_test.h"
#include "ipsec/sa_for_test.h"
#include "ipsec/transforms.h"

namespace testudo::ipsec {
namespace {

using Kind = Peeked::Kind;

/// The receiving end of a transport-mode SA.
class Receiver {
 public:
  Receiver(crypto::Suite suite, bool v6, bool udp) : udp_(udp) {
    SaParameters p = parameters_for_test(Direction::kInbound, suite);
    p.mode = Mode::kTransport;
    p.udp_encapsulation = udp;
    p.local = v6 ? *IpAddress::parse("2001:db8::64") : IpAddress(0xc0000264);
    p.remote = v6 ? *IpAddress::parse("2001:db8::1") : IpAddress(0xc0000201);
    sa_ = std::move(*factory_.create(p));
  }

  /// The packet on the wire that carries `content`, with `padding` bytes behind it at least.
  Bytes sealed(Bytes content, std::uint8_t next, std::size_t padding = 0) {
    const std::size_t block = crypto::sizes(sa_->suite()).block;
    while ((content.size() + padding + 2) % block != 0) ++padding;
    for (std::size_t i = 0; i < padding; ++i) content.push_back(static_cast<std::uint8_t>(i + 1));
    content.push_back(static_cast<std::uint8_t>(padding));
    content.push_back(next);
    const Bytes esp = seal_text(transforms_->engine(), *sa_, content, SeqNo(1));
    if (udp_) return esp;
    return ip_packet({.source = sa_->remote(), .destination = sa_->local(), .protocol = wire::kProtocolEsp}, esp);
  }

  Peeked look(const Bytes& packet) {
    const PeekRequest request{.sa = sa_.get(),
                              .packet = packet,
                              .offset = offset(),
                              .source = sa_->remote(),
                              .destination = sa_->local()};
    Peeked peeked;
    transforms_->peek({&request, 1}, {&peeked, 1});
    return peeked;
  }

  DecapRequest open(const Bytes& packet) {
    work_ = packet;
    room_.assign(packet.size() + kRestoredHeader, 0);
    DecapRequest request;
    request.sa = sa_.get();
    request.seq = SeqNo(1);
    request.data = work_.data();
    request.size = static_cast<std::uint32_t>(work_.size());
    request.offset = offset();
    request.source = sa_->remote();
    request.destination = sa_->local();
    if (decap_needs_out(*sa_, request.offset)) request.out = room_.data();
    transforms_->decap({&request, 1});
    return request;
  }

  [[nodiscard]] const Sa& sa() const { return *sa_; }

 private:
  [[nodiscard]] std::uint32_t offset() const {
    return udp_ ? 0 : static_cast<std::uint32_t>(wire::ip_header_size(sa_->local()));
  }
  bool udp_;
  SeededRng rng_{5};
  std::unique_ptr<Transforms> transforms_ = transforms_for_test(rng_);
  SaFactory factory_{1};
  std::unique_ptr<Sa> sa_;
  Bytes work_, room_;
};

template <typename F>
void for_each_receiver(F f) {
  for (const crypto::Suite suite : {crypto::Suite::kAesGcm128Icv16, crypto::Suite::kAesCbc128HmacSha256,
                                    crypto::Suite{crypto::Cipher::kNull, crypto::Integrity::kHmacSha1}}) {
    for (const bool v6 : {false, true}) {
      for (const bool udp : {false, true}) {
        Receiver receiver(suite, v6, udp);
        f(receiver, v6);
      }
    }
  }
}

Bytes behind(Bytes headers, const Bytes& rest) {
  headers.insert(headers.end(), rest.begin(), rest.end());
  return headers;
}

// Extension headers can only be behind ESP if it is the destination that looks at them: the walk goes through them.
TEST(TransportText, ExtensionHeadersAreWalkedByDecapsulationAlone) {
  for_each_receiver([](Receiver& receiver, bool v6) {
    if (!v6) return;
    const Bytes tcp = tcp_segment(receiver.sa().remote(), receiver.sa().local(), 100);
    const Bytes good = receiver.sealed(behind({6, 0, 1, 4, 0, 0, 0, 0}, tcp), wire::kProtocolDestinationOptions);
    EXPECT_EQ(receiver.look(good).kind, Kind::kUndecidable);
    const DecapRequest opened = receiver.open(good);
    ASSERT_FALSE(opened.drop);
    const auto ip = wire::parse_ip(opened.inner);
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->protocol(), wire::kProtocolTcp);
  });
}

TEST(TransportText, WhatCannotBeParsedIsNotDelivered) {
  struct Row {
    const char* what;
    Bytes content;
    std::uint8_t next;
  };
  Bytes many;
  for (int i = 0; i < 64; ++i) many.insert(many.end(), {60, 0, 1, 4, 0, 0, 0, 0});
  const Row rows[] = {
      {"options that go on behind the packet", {6, 200, 1, 4, 0, 0, 0, 0}, wire::kProtocolDestinationOptions},
      {"no room for a header", {6, 0}, wire::kProtocolDestinationOptions},
      {"hop-by-hop options behind another header", {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}, 60},
      {"a fragment header that is cut off", {6, 0, 0, 1}, wire::kProtocolFragment},
      {"more headers than anyone sends", many, wire::kProtocolDestinationOptions},
  };
  for_each_receiver([&](Receiver& receiver, bool v6) {
    for (const Row& row : rows) {
      const Bytes packet = receiver.sealed(row.content, row.next);
      EXPECT_EQ(receiver.look(packet).kind, Kind::kUndecidable) << row.what;
      const DecapRequest opened = receiver.open(packet);
      EXPECT_TRUE(opened.authentic);
      // To IPv4 these are protocols like any other.
      EXPECT_EQ(opened.drop, v6 ? std::optional(Drop::kMalformed) : std::nullopt) << row.what;
      EXPECT_EQ(opened.inner.empty(), v6) << row.what;
    }
  });
}

// Padding is no TCP header.
TEST(TransportText, APeekLooksAtNoPadding) {
  for_each_receiver([](Receiver& receiver, bool) {
    const Bytes tcp = tcp_segment(receiver.sa().remote(), receiver.sa().local(), 0);
    for (const std::size_t padding : {0u, 30u, 90u, 240u}) {
      EXPECT_EQ(receiver.look(receiver.sealed(tcp, wire::kProtocolTcp, padding)).kind, Kind::kTcp) << padding;
      const Bytes cut(tcp.begin(), tcp.begin() + 12);
      EXPECT_EQ(receiver.look(receiver.sealed(cut, wire::kProtocolTcp, padding)).kind, Kind::kUndecidable)
          << padding;
    }
  });
}

// RFC 4303 section 3.1.1: transport mode protects whole datagrams.
TEST(TransportText, FragmentsAreRefused) {
  for_each_receiver([](Receiver& receiver, bool v6) {
    const Bytes tcp = tcp_segment(receiver.sa().remote(), receiver.sa().local(), 100);
    Bytes packet = receiver.sealed(tcp, wire::kProtocolTcp);
    if (v6 || packet[0] >> 4 != 4 || packet.size() < 20 || packet[9] != wire::kProtocolEsp) return;
    EXPECT_FALSE(receiver.open(packet).drop);
    packet[6] = 0x20;  // more fragments
    EXPECT_EQ(receiver.open(packet).drop, Drop::kFragment);
    packet[6] = 0;
    packet[7] = 3;  // at byte 24
    EXPECT_EQ(receiver.open(packet).drop, Drop::kFragment);
  });
}

}  // namespace
}  // namespace testudo::ipsec
