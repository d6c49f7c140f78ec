// SPDX-License-Identifier: Apache-2.0
// The seed's table of combinations (spec C1–C8), row by row, with its columns as they are printed; and what this
// project makes of each row, at the owner and at the target, for IPv4 and IPv6 outside and inside.
#include <gtest/gtest.h>

#include "target/seed_table_world_for_test.h"
#include "wire/tcp.h"

namespace testudo::target {
namespace {

using Kind = distributor::Verdict::Kind;

enum class Inner : std::uint8_t { kNone, kDvipa, kOther };  // "N/A", "DVIPA", "^DVIPA"
constexpr bool Y = true, N = false;

struct SeedRow {
  Protection combination;
  Mode mode;
  bool sysplex_dist, crypto_dist, peek;
  bool tcp;          // payload
  bool outer_dvipa;  // local IP address in the outer header
  Inner inner;       // local IP address in the inner header
};

// Notes of the seed. 1: "If ESP null, payload is not encrypted and therefore peek is not needed": such rows are
// played with NULL encryption as well, and nothing is decrypted then. 2: "This combination while sysplex
// distributable, is not expected": decrypted at the owner as a security gateway, then distributed in the clear over
// XCF. The row of AH and ESP in transport mode with TCP says that no peek is needed, with note 1; ESP alone says
// that it is, with the same note. ESP behind AH hides the ports as well, so this is taken for a misprint. The last
// row of AH says "^TCP, ^ESP": AH over ESP is the third part of the table.
const SeedRow kTable[] = {
    // combination, mode, sysplex dist?, crypto dist?, peek req'd?, payload TCP?, outer DVIPA?, inner
    {Protection::kAh, Mode::kTransport, Y, Y, N, Y, Y, Inner::kNone},
    {Protection::kAh, Mode::kTransport, N, N, N, N, Y, Inner::kNone},
    {Protection::kAh, Mode::kTunnel, Y, Y, N, Y, Y, Inner::kDvipa},
    {Protection::kAh, Mode::kTunnel, N, N, N, Y, Y, Inner::kOther},
    {Protection::kAh, Mode::kTunnel, Y, N /* note 2 */, N, Y, N, Inner::kDvipa},
    {Protection::kAh, Mode::kTunnel, N, N, N, N, Y, Inner::kOther},
    {Protection::kEsp, Mode::kTransport, Y, Y, Y /* note 1 */, Y, Y, Inner::kNone},
    {Protection::kEsp, Mode::kTransport, N, N, Y, N, Y, Inner::kNone},
    {Protection::kEsp, Mode::kTunnel, Y, Y, Y /* note 1 */, Y, Y, Inner::kDvipa},
    {Protection::kEsp, Mode::kTunnel, N, N, Y, Y, Y, Inner::kOther},
    {Protection::kEsp, Mode::kTunnel, Y, N /* note 2 */, Y, Y, N, Inner::kDvipa},
    {Protection::kEsp, Mode::kTunnel, N, N, Y, N, Y, Inner::kOther},
    {Protection::kAhEsp, Mode::kTransport, Y, Y, Y /* printed: N, note 1 */, Y, Y, Inner::kNone},
    {Protection::kAhEsp, Mode::kTransport, N, N, Y, N, Y, Inner::kNone},
    {Protection::kAhEsp, Mode::kTunnel, Y, Y, Y /* note 1 */, Y, Y, Inner::kDvipa},
    {Protection::kAhEsp, Mode::kTunnel, N, N, Y, Y, Y, Inner::kOther},
    {Protection::kAhEsp, Mode::kTunnel, Y, N /* note 2 */, Y, Y, N, Inner::kDvipa},
    {Protection::kAhEsp, Mode::kTunnel, N, N, Y, N, Y, Inner::kOther},
    // What the table leaves out, and the text around it says ("anything else: processed normally"): other payloads
    // for the DVIPA itself.
    {Protection::kAh, Mode::kTunnel, N, N, N, N, Y, Inner::kDvipa},
    {Protection::kEsp, Mode::kTunnel, N, N, Y, N, Y, Inner::kDvipa},
    {Protection::kAhEsp, Mode::kTunnel, N, N, Y, N, Y, Inner::kDvipa},
    // The gateway's outer address: with other payloads, with its own traffic, and in transport mode.
    {Protection::kAh, Mode::kTunnel, N, N, N, N, N, Inner::kDvipa},
    {Protection::kEsp, Mode::kTunnel, N, N, Y, N, N, Inner::kDvipa},
    {Protection::kAhEsp, Mode::kTunnel, N, N, Y, N, N, Inner::kDvipa},
    {Protection::kAh, Mode::kTunnel, N, N, N, Y, N, Inner::kOther},
    {Protection::kEsp, Mode::kTunnel, N, N, Y, Y, N, Inner::kOther},
    {Protection::kAhEsp, Mode::kTunnel, N, N, Y, Y, N, Inner::kOther},
    {Protection::kAh, Mode::kTransport, N, N, N, Y, N, Inner::kNone},
    {Protection::kEsp, Mode::kTransport, N, N, Y, Y, N, Inner::kNone},
    {Protection::kAhEsp, Mode::kTransport, N, N, Y, Y, N, Inner::kNone},
};

Protection with_null(Protection p) {
  return p == Protection::kEsp ? Protection::kEspNull : p == Protection::kAhEsp ? Protection::kAhEspNull : p;
}

struct Played {
  SeedRow row;
  TableCase c;
  std::string name;
};

std::vector<Played> plays() {
  std::vector<Played> all;
  for (std::size_t r = 0; r < std::size(kTable); ++r) {
    for (const bool null : {false, true}) {
      for (int family = 0; family < 4; ++family) {
        SeedRow row = kTable[r];
        const bool outer_v6 = (family & 1) != 0, inner_v6 = (family & 2) != 0;
        if (null && with_null(row.combination) == row.combination) continue;
        if (row.mode == Mode::kTransport && outer_v6 != inner_v6) continue;
        // DVIPAs of two families are two DVIPAs: the target has the SA of the one, the connection is with the
        // other. As in note 2, the owner decrypts.
        if (outer_v6 != inner_v6) row.crypto_dist = false;
        if (null) row.combination = with_null(row.combination), row.peek = false;
        const TableCase c{.protection = row.combination,
                          .mode = row.mode,
                          .outer_v6 = outer_v6,
                          .inner_v6 = inner_v6,
                          .outer_dvipa = row.outer_dvipa,
                          .inner_dvipa = row.inner != Inner::kOther};
        std::string name = "row " + std::to_string(r + 1) + (null ? ", NULL" : "");
        name += row.mode == Mode::kTransport ? ", transport" : ", tunnel";
        all.push_back({row, c, name + (outer_v6 ? ", IPv6" : ", IPv4") + (inner_v6 ? " (IPv6)" : " (IPv4)")});
      }
    }
  }
  return all;
}

Bytes changed(Bytes bytes) {
  bytes.back() ^= 1;
  return bytes;
}

/// How a genuine packet arrives.
void expect_arrives(const SeedRow& row, const Outcome& o, const Bytes& plain, bool syn) {
  EXPECT_FALSE(o.dropped) << kDropNames[static_cast<std::size_t>(o.dropped.value_or(Drop::kTruncated))];
  EXPECT_EQ(o.delivered, plain);
  EXPECT_EQ(o.at_target, row.sysplex_dist);
  EXPECT_EQ(o.owner, row.sysplex_dist ? Kind::kForward : Kind::kLocal);
  if (!row.sysplex_dist) return;
  EXPECT_EQ(o.clear, !row.crypto_dist);
  EXPECT_EQ(o.untouched, row.crypto_dist);
  // Filtered at the owner is what it has decrypted; the target need not filter again (the GRE bypass).
  EXPECT_EQ(o.filtered, !row.crypto_dist || syn);
}

TEST(SeedTable, EachRow) {
  for (const Played& p : plays()) {
    SCOPED_TRACE(p.name);
    const SeedRow& row = p.row;
    TableWorld w(p.c);
    const std::uint8_t protocol = row.tcp ? wire::kProtocolTcp : wire::kProtocolUdp;
    const Bytes syn = w.plain(wire::kTcpSyn, protocol), data = w.plain(wire::kTcpAck, protocol);

    expect_arrives(row, w.send(syn, 1), syn, true);
    const Bytes second = w.protect(data, 2);
    expect_arrives(row, w.arrive(second), data, false);
    // Each is counted once in the whole cluster, where it was decrypted for good (spec D1).
    EXPECT_EQ(w.aged_at_owner(), row.crypto_dist ? 0u : 2u);
    EXPECT_EQ(w.aged_at_target(), row.crypto_dist ? 2u : 0u);
    EXPECT_EQ(w.target.counters().filtered.value(), row.crypto_dist ? 1u : 0u);
    // Peek: nothing is decrypted where nothing is encrypted.
    const auto& counters = w.owner.counters();
    EXPECT_EQ(counters.peeked.value(), row.peek ? 2u : 0u);
    EXPECT_EQ(counters.read.value(), row.peek ? 0u : 2u);
    EXPECT_EQ(counters.established_full_decrypt.value(), 0u);
    EXPECT_EQ(w.owner.connections().size(), row.sysplex_dist ? 1u : 0u);
    EXPECT_EQ(w.target.counters().decrypted_packets.value(), row.crypto_dist ? 2u : 0u);
    EXPECT_EQ(w.target.counters().clear_packets.value(), row.sysplex_dist && !row.crypto_dist ? 2u : 0u);

    // Replayed and forged packets: who finds out, and that the SA gets no older by them.
    EXPECT_EQ(w.arrive(second).dropped, Drop::kReplay);
    const Outcome forged = w.arrive(changed(w.protect(data, 3)));
    EXPECT_EQ(forged.dropped, Drop::kBadIcv);
    EXPECT_EQ(forged.at_target, row.crypto_dist);
    EXPECT_EQ(w.arrive(changed(w.protect(syn, 4))).dropped, Drop::kBadIcv);
    EXPECT_EQ(w.aged_at_owner() + w.aged_at_target(), 2u);
    EXPECT_EQ(w.owner.connections().size(), row.sysplex_dist ? 1u : 0u);
    // The forged copy has not used up the genuine packet's number.
    expect_arrives(row, w.send(data, 3), data, false);
  }
}

// The tunnel check (spec C4): at the owner what it decrypts, at the target what it has forwarded after a peek.
TEST(SeedTable, TunnelCheckOfEachRow) {
  for (const Played& p : plays()) {
    SCOPED_TRACE(p.name);
    const std::uint8_t protocol = p.row.tcp ? wire::kProtocolTcp : wire::kProtocolUdp;
    TableWorld w(p.c);
    const Bytes syn = w.plain(wire::kTcpSyn, protocol), data = w.plain(wire::kTcpAck, protocol);
    ASSERT_FALSE(w.send(syn, 1).dropped);
    w.demand("another");
    const Outcome o = w.send(data, 2);
    EXPECT_EQ(o.dropped, Drop::kNotSelected);
    EXPECT_EQ(o.at_target, p.row.crypto_dist);
    EXPECT_EQ(w.send(w.plain(wire::kTcpSyn, wire::kProtocolUdp), 3).dropped, Drop::kNotSelected);
  }
}

// What is not for this cluster.
TEST(SeedTable, NoOtherAddressOfThisHostUnlessItsTrafficIsSteered) {
  for (const Played& p : plays()) {
    if (p.row.outer_dvipa && p.row.inner != Inner::kOther) continue;
    SCOPED_TRACE(p.name);
    TableWorld w(p.c);
    const distributor::Distribution without(TableWorld::kOwner,
                                            {w.distribution.members().begin(), w.distribution.members().end()},
                                            {w.distribution.dvipas().begin(), w.distribution.dvipas().end()});
    w.owner.set_distribution(&without);
    EXPECT_EQ(w.send(w.plain(wire::kTcpSyn), 1).dropped, Drop::kNotForDvipa);
  }
}

// ESP in UDP has no outer header of its own on its way to the target: a fresh one of the right family.
TEST(SeedTable, UdpEncapsulation) {
  for (const Played& p : plays()) {
    if (p.row.combination != Protection::kEsp && p.row.combination != Protection::kEspNull) continue;
    if (!p.row.outer_dvipa) continue;
    SCOPED_TRACE(p.name);
    TableCase c = p.c;
    c.udp = true;
    TableWorld w(c);
    const std::uint8_t protocol = p.row.tcp ? wire::kProtocolTcp : wire::kProtocolUdp;
    const Bytes syn = w.plain(wire::kTcpSyn, protocol), data = w.plain(wire::kTcpAck, protocol);
    expect_arrives(p.row, w.send(syn, 1), syn, true);
    expect_arrives(p.row, w.send(data, 2), data, false);
  }
}

// Large packets in every row: a peek sees less of them.
TEST(SeedTable, FullSizedPackets) {
  for (const Played& p : plays()) {
    SCOPED_TRACE(p.name);
    TableWorld w(p.c);
    const std::uint8_t protocol = p.row.tcp ? wire::kProtocolTcp : wire::kProtocolUdp;
    const Bytes syn = w.plain(wire::kTcpSyn, protocol), data = w.plain(wire::kTcpAck, protocol, 1200);
    ASSERT_FALSE(w.send(syn, 1).dropped);
    const Outcome o = w.send(data, 2);
    EXPECT_EQ(o.delivered, data);
    EXPECT_EQ(o.at_target, p.row.sysplex_dist);
    EXPECT_EQ(o.untouched, p.row.crypto_dist);
    EXPECT_EQ(w.owner.counters().established_full_decrypt.value(), 0u);
  }
}

}  // namespace
}  // namespace testudo::target
