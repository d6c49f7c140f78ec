// SPDX-License-Identifier: Apache-2.0
// What an outsider can send to the owner. Input: a list of packets, each a byte that says what it is, a byte of
// length, and that many bytes:
//   0 as they are, on UDP port 4500    1 as they are, on the raw port
//   2 ESP, with bits changed that the input names: never authentic, so nothing may come of it but forwarding
//   3 inner packet, protected by the peer, who may be hostile as well
//   4 the last genuine packet again    5 commit of the last number    6 time passes
//   7 inner packet over IPv6: the first byte says by which SA: AH in tunnel mode, ESP or AH in transport mode
//   8 the same with bits changed       9 the last genuine packet over IPv6, in pieces that the input names
// Whatever comes: a genuine packet is delivered here or forwarded, no number is delivered here twice, no forged
// packet is delivered or makes a connection.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "distributor/fragments_for_test.h"
#include "distributor/inbound_world_for_test.h"
#include "ipsec/packet_for_test.h"

namespace testudo::distributor {
namespace {

constexpr auto kLocal = Verdict::Kind::kLocal;

/// What takes long to make, once.
struct Parts {
  World world{{.suite = crypto::Suite::kAesGcm128Icv16,
               .esn = false,
               .config = {.connections = {.capacity = 4}, .reassembler = {.packets = 4}}}};
  std::array<std::unique_ptr<ipsec::Sa>, 3> six = {
      world.install6(SaId(11), ipsec::Protocol::kAh, ipsec::Mode::kTunnel),
      world.install6(SaId(12), ipsec::Protocol::kEsp, ipsec::Mode::kTransport),
      world.install6(SaId(13), ipsec::Protocol::kAh, ipsec::Mode::kTransport)};
};

class Fuzz {
 public:
  explicit Fuzz(Parts& parts) : parts_(parts), world_(parts.world) { world_.forget(); }

  void step(unsigned what, const Bytes& bytes) {
    switch (what) {
      case 0:
        return untrusted(world_.udp_one(bytes));
      case 1:
        return (void)world_.raw_one(bytes);
      case 2:
        return forged(bytes);
      case 3:
        return genuine(bytes);
      case 4:
        return again();
      case 5:
        return world_.commit(kT1, seq_, bytes.size() % 2 == 0);
      case 7:
        return genuine6(bytes);
      case 8:
        return forged6(bytes);
      case 9:
        return pieces6(bytes);
      default:
        world_.now += std::chrono::seconds(bytes.size());
        return world_.inbound->tick(world_.now);
    }
  }

 private:
  /// From outside, without a key: it may be forwarded on trust, to be refused by the target, and no more.
  void untrusted(const Seen& seen) { CHECK(seen.kind != kLocal); }

  static void change(Bytes& packet, std::size_t from, const Bytes& bytes) {
    const std::size_t at = bytes.empty() ? from : from + bytes[0] % (packet.size() - from);
    for (std::size_t i = 0; i < std::max<std::size_t>(bytes.size(), 1) && at + i < packet.size(); ++i) {
      packet[at + i] = static_cast<std::uint8_t>(packet[at + i] ^ (i == 0 ? 1 : bytes[i]));
    }
  }

  void forged(const Bytes& bytes) {
    Bytes esp = world_.esp(ack(40000), seq_ + 1);
    change(esp, 8, bytes);
    const std::size_t connections = world_.list().size();
    untrusted(world_.udp_one(esp));
    CHECK(world_.list().size() <= connections);
  }

  void genuine(const Bytes& bytes) {
    Bytes inner = packet_of({.flags = wire::kTcpSyn});
    std::copy_n(bytes.begin(), std::min(bytes.size(), inner.size()), inner.begin());
    inner[0] = static_cast<std::uint8_t>(inner[0] >> 4 == 6 ? inner[0] : 0x40 | (inner[0] & 15));
    if (!wire::parse_ip(inner)) return;  // the peer's own IPsec refuses it
    last_ = world_.esp(inner, ++seq_);
    delivered_ = world_.udp_one(last_).kind == kLocal;
  }

  void again() {
    if (!last_.empty()) delivered_once(world_.udp_one(last_), delivered_);
    if (!last6_.empty()) delivered_once(world_.raw_one(last6_), delivered6_);
  }
  void delivered_once(const Seen& seen, bool& delivered) {
    const bool local = seen.kind == kLocal;
    CHECK(!(local && delivered));
    delivered = delivered || local;
  }

  /// A packet of the peer over IPv6, with what follows its first byte behind the addresses' header.
  Bytes protected6(const Bytes& bytes, std::uint64_t number) {
    ipsec::Sa& sa = *parts_.six[bytes.empty() ? 0 : bytes[0] % 3];
    const bool tunnel = !sa.transport();
    Bytes inner = ipsec::tcp_packet(tunnel ? kClient6 : kPeer6, kDvipa6, 40);
    if (bytes.size() > 1) inner[6] = bytes[1];  // next header
    for (std::size_t i = 2; i < bytes.size() && 38 + i < inner.size(); ++i) inner[38 + i] = bytes[i];
    const auto ip = wire::parse_ip(inner);
    if (!ip || (!tunnel && ip->is_fragment())) return {};
    Bytes out(ipsec::encap_size(sa, inner, inner.size()) + ipsec::kEsnTailroom);
    ipsec::EncapRequest request{.sa = &sa, .seq = SeqNo(number), .header = inner, .out = out.data()};
    world_.transforms.encap({&request, 1});
    if (request.drop) return {};
    out.resize(request.size);
    return out;
  }

  void genuine6(const Bytes& bytes) {
    const Bytes packet = protected6(bytes, seq6_ + 1);
    if (packet.empty()) return;
    ++seq6_;
    last6_ = packet;
    delivered6_ = world_.raw_one(last6_).kind == kLocal;
  }

  void forged6(const Bytes& bytes) {
    Bytes packet = protected6({}, seq6_ + 1);
    const std::size_t connections = world_.list().size();
    // Behind the IP header: fields in it that AH does not protect may change on the way.
    change(packet, wire::kIpv6HeaderSize, bytes);
    untrusted(world_.raw_one(packet));
    CHECK(world_.list().size() <= connections);
  }

  /// Cut at a place that the input names, in the order that it names, perhaps with a copy or an overlap.
  void pieces6(const Bytes& bytes) {
    if (last6_.empty() || bytes.size() < 3) return;
    const std::size_t size = last6_.size() - wire::kIpv6HeaderSize;
    const std::size_t cut = 8 + bytes[0] % ((size - 1) / 8) * 8;
    const std::size_t second = (bytes[1] & 4) != 0 ? cut - 8 : cut;
    if (cut >= size) return;
    const std::array pieces = {fragment_of(last6_, 0, cut, bytes[2]), fragment_of(last6_, second, size, bytes[2])};
    for (const unsigned bit : {0u, 1u}) {
      const Seen seen = world_.raw_one(pieces[(bytes[1] ^ bit) & 1]);
      delivered_once(seen, delivered6_);
    }
  }

  Parts& parts_;
  World& world_;
  Bytes last_, last6_;
  std::uint64_t seq_ = 0, seq6_ = 0;
  bool delivered_ = false, delivered6_ = false;
};

}  // namespace
}  // namespace testudo::distributor

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto& parts = *new testudo::distributor::Parts;
  testudo::distributor::Fuzz fuzz(parts);
  std::span<const std::uint8_t> left(data, std::min<std::size_t>(size, 2000));
  while (left.size() >= 2) {
    const std::size_t length = std::min<std::size_t>(left[1], left.size() - 2);
    fuzz.step(left[0] % 10, {left.begin() + 2, left.begin() + 2 + static_cast<std::ptrdiff_t>(length)});
    left = left.subspan(2 + length);
  }
  return 0;
}
