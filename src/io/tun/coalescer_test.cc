// SPDX-License-Identifier: Apache-2.0
#include "io/tun/coalescer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

#include "io/tun/tcp_segment_for_test.h"

namespace testudo::io {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::size_t joined(const std::vector<Bytes>& packets) {
  std::vector<wire::Outgoing> burst;
  for (const Bytes& p : packets) burst.push_back(outgoing(p));
  return joinable(burst);
}

// Three segments that follow each other, the second one changed as the row says: how many of them are joined?
struct Row {
  const char* what;
  std::size_t joined;
  std::function<void(TcpSegment&)> change;
};

void expect_joined(const Row& row, bool v6) {
  TcpSegment second{.sequence = 1100, .v6 = v6};
  row.change(second);
  const TcpSegment third{.sequence = static_cast<std::uint32_t>(second.sequence + second.payload), .v6 = v6};
  EXPECT_EQ(joined({TcpSegment{.v6 = v6}.bytes(), second.bytes(), third.bytes()}), row.joined)
      << row.what << (v6 ? ", IPv6" : ", IPv4");
}

TEST(Coalescer, TruthTable) {
  const Row rows[] = {
      {"nothing", 3, [](TcpSegment&) {}},
      {"PSH ends the run", 2, [](TcpSegment& s) { s.flags |= 0x08; }},
      {"shorter ends the run", 2, [](TcpSegment& s) { s.payload = 99; }},
      {"longer", 1, [](TcpSegment& s) { s.payload = 101; }},
      {"empty", 1, [](TcpSegment& s) { s.payload = 0; }},
      {"hole", 1, [](TcpSegment& s) { s.sequence += 1; }},
      {"repetition", 1, [](TcpSegment& s) { s.sequence -= 100; }},
      {"acknowledgement", 1, [](TcpSegment& s) { s.acknowledgement += 1; }},
      {"window", 1, [](TcpSegment& s) { s.window += 1; }},
      {"FIN", 1, [](TcpSegment& s) { s.flags |= 0x01; }},
      {"SYN", 1, [](TcpSegment& s) { s.flags |= 0x02; }},
      {"RST", 1, [](TcpSegment& s) { s.flags |= 0x04; }},
      {"URG", 1, [](TcpSegment& s) { s.flags |= 0x20; }},
      {"ECE", 1, [](TcpSegment& s) { s.flags |= 0x40; }},
      {"CWR", 1, [](TcpSegment& s) { s.flags |= 0x80; }},
      {"no ACK", 1, [](TcpSegment& s) { s.flags = 0; }},
      {"another port", 1, [](TcpSegment& s) { s.source_port += 1; }},
      {"options", 1, [](TcpSegment& s) { s.option = 2; }},
      {"length of options", 1, [](TcpSegment& s) { s.options = 8; }},
      {"TTL", 1, [](TcpSegment& s) { s.ttl = 63; }},
      {"congestion experienced", 1, [](TcpSegment& s) { s.traffic_class = 3; }},
      {"another destination", 1, [](TcpSegment& s) { s.last_address = 3; }},
      {"the other version", 1, [](TcpSegment& s) { s.v6 = !s.v6; }},
  };
  for (const Row& row : rows) {
    expect_joined(row, /*v6=*/false);
    expect_joined(row, /*v6=*/true);
  }
}

TEST(Coalescer, TruthTableOfIpv4) {
  const Row rows[] = {
      {"with DF, any identification", 3, [](TcpSegment& s) { s.identification = 77; }},
      {"without DF", 1, [](TcpSegment& s) { s.fragment = 0; }},
      {"more fragments", 1, [](TcpSegment& s) { s.fragment = 0x2000; }},
      {"later fragment", 1, [](TcpSegment& s) { s.fragment = 1; }},
  };
  for (const Row& row : rows) expect_joined(row, /*v6=*/false);
}

TEST(Coalescer, TruthTableOfIpv6) {
  const Row rows[] = {
      {"another flow label", 1, [](TcpSegment& s) { s.flow_label += 1; }},
      {"traffic class", 1, [](TcpSegment& s) { s.traffic_class = 0xb8; }},
      {"an extension header", 1, [](TcpSegment& s) { s.next_header = 60; }},
  };
  for (const Row& row : rows) expect_joined(row, /*v6=*/true);
}

TEST(Coalescer, WithoutDfIdentificationsMustRise) {
  const TcpSegment first{.identification = 0xffff, .fragment = 0};
  TcpSegment second{.sequence = 1100, .identification = 0, .fragment = 0};
  EXPECT_EQ(joined({first.bytes(), second.bytes()}), 2u);
  second.identification = 1;
  EXPECT_EQ(joined({first.bytes(), second.bytes()}), 1u);
}

TEST(Coalescer, WrongChecksumStandsAlone) {
  const Bytes first = TcpSegment{}.bytes();
  Bytes second = TcpSegment{.sequence = 1100}.bytes();
  second.back() ^= 1;
  EXPECT_EQ(joined({first, second}), 1u);
  EXPECT_EQ(joined({second, TcpSegment{.sequence = 1200}.bytes()}), 1u);
  Bytes v6 = TcpSegment{.sequence = 1100, .v6 = true}.bytes();
  v6.back() ^= 1;
  EXPECT_EQ(joined({TcpSegment{.v6 = true}.bytes(), v6}), 1u);
  second = TcpSegment{.sequence = 1100}.bytes();
  second[10] ^= 1;  // of the IP header
  EXPECT_EQ(joined({first, second}), 1u);
}

TEST(Coalescer, SequenceNumbersWrap) {
  EXPECT_EQ(joined({TcpSegment{.sequence = 0xffffffce}.bytes(), TcpSegment{.sequence = 50}.bytes()}), 2u);
}

TEST(Coalescer, StaysBelow64KiBAnd64Segments) {
  const auto run = [](std::size_t payload, bool v6 = false) {
    std::vector<Bytes> packets;
    for (std::uint32_t i = 0; i < 70; ++i) {
      packets.push_back(
          TcpSegment{.sequence = static_cast<std::uint32_t>(i * payload), .payload = payload, .v6 = v6}.bytes());
    }
    return joined(packets);
  };
  EXPECT_EQ(run(10), 64u);
  EXPECT_EQ(run(1400), 46u);
  EXPECT_EQ(run(1348), 48u);
  EXPECT_EQ(run(10, /*v6=*/true), 64u);
  EXPECT_EQ(run(1400, /*v6=*/true), 46u);
}

TEST(Coalescer, TruncatedPacketsStandAlone) {
  for (const bool v6 : {false, true}) {
    const Bytes whole = TcpSegment{.v6 = v6}.bytes();
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(joined({part, part}), 1u) << size;
    }
  }
}

// Cutting what was joined gives the same packets.
RC_GTEST_PROP(Coalescer, JoinIsTheInverseOfCut, ()) {
  const auto payload = *rc::gen::inRange<std::size_t>(1, 1400);
  const auto count = *rc::gen::inRange<std::size_t>(2, 40);
  const auto last = *rc::gen::inRange<std::size_t>(1, payload + 1);
  TcpSegment s{.sequence = *rc::gen::arbitrary<std::uint32_t>(),
               .payload = payload,
               .identification = *rc::gen::arbitrary<std::uint16_t>(),
               .fragment = *rc::gen::element<std::uint16_t>(0, 0x4000),
               .options = 4 * *rc::gen::inRange<std::size_t>(0, 11),
               .v6 = *rc::gen::arbitrary<bool>()};
  std::vector<Bytes> packets;
  for (std::size_t i = 0; i < count; ++i) {
    if (i + 1 == count) s.payload = last, s.flags |= *rc::gen::element<std::uint8_t>(0, 8);
    packets.push_back(s.bytes());
    s.sequence += static_cast<std::uint32_t>(payload);
    s.identification++;
  }
  std::vector<wire::Outgoing> burst;
  for (const Bytes& p : packets) burst.push_back(outgoing(p));
  RC_ASSERT(joinable(burst) == count);

  const JoinedHeader header(burst);
  RC_ASSERT(header.segment_size() == payload);
  Bytes super(header.bytes().begin(), header.bytes().end());
  for (const Bytes& p : packets) {
    super.insert(super.end(), p.begin() + static_cast<std::ptrdiff_t>(header.bytes().size()), p.end());
  }
  const std::size_t ip = ip_size(super.data());
  RC_ASSERT(header.ip_size() == ip);
  RC_ASSERT(!is_v4(super.data()) || wire::checksum({super.data(), 20}) == 0);
  RC_ASSERT((is_v4(super.data()) ? get_be(&super[2], 2) : 40 + get_be(&super[4], 2)) == super.size());
  RC_ASSERT(wire::partial_checksum(pseudo_sum(super.data(), super.size() - ip)) == get_be(&super[ip + 16], 2));
  RC_ASSERT(cut(super, payload) == packets);
}

}  // namespace
}  // namespace testudo::io
