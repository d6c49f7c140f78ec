// SPDX-License-Identifier: Apache-2.0
// The target's inbound path. Input: one byte, then
//   raw (0x80 clear)   what came on the XCF data port from the owner: GRE and what follows. Of protected packets
//                      nothing may ever be delivered: the input cannot know the key.
//   sealed (0x80 set)  an inner packet, put under the right key. Bits 0–2: changed afterwards in the GRE header,
//   the
//                      outer IP header or behind it, at a place that the first two bytes of the input say.
//   bit 3              the SA comes only afterwards: the packet is held.
//   bit 4              the packet comes twice in a burst.
//   bit 5              the SA is one of AH, in tunnel mode over IPv6; else of ESP, over IPv4
// What is delivered is a whole IP packet to the DVIPA that the filters select, or of which the owner says that its
// own do, and each at most once. What asks for a reply is not for this host, which is no owner.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "policy/filter.h"
#include "target/inbound_world_for_test.h"

namespace testudo::target {
namespace {

/// What takes long to make, once for each kind of SA.
struct Parts {
  explicit Parts(bool ah_v6) : v6(ah_v6) {
    world.record = false;
    if (!v6) return;
    const auto set = [](ipsec::SaParameters& p) {
      p.protocol = ipsec::Protocol::kAh;
      p.suite = crypto::Suite{crypto::Cipher::kNone, crypto::Integrity::kHmacSha256};
      p.key = Secret(crypto::sizes(p.suite).key);
      const bool at_peer = p.direction == ipsec::Direction::kOutbound;
      p.local = at_peer ? kInboundPeer6 : kInboundDvipa6;
      p.remote = at_peer ? kInboundDvipa6 : kInboundPeer6;
    };
    world.adjust = set;
    world.peer = world.make(ipsec::Direction::kOutbound, 1);
  }
  bool v6;
  InboundWorld world;
};

class Run {
 public:
  Run(Parts& parts, std::uint8_t choice, std::span<const std::uint8_t> input)
      : choice_(choice), v6_(parts.v6), world_(parts.world) {
    world_.on_deliver = [this](std::span<const wire::Outgoing> packets) {
      for (const wire::Outgoing& o : packets) check({o.body, o.body_size});
    };
    dropped_before_ = world_.dropped();
    const bool late = (choice & 8) != 0;
    if (!late) world_.install();
    Bytes packet = (choice & 0x80) == 0 ? Bytes(input.begin(), input.end()) : sealed(input);
    if (packet.size() >= wire::kGreSize) key_ = ForwardKey{key_of(packet)};
    std::vector<Bytes> burst((choice & 16) != 0 ? 2 : 1, packet);
    world_.process(burst);
    if (late) world_.install();
    world_.now += 2s;
    world_.inbound.tick(world_.now);
    const std::size_t most = key_.clear() ? burst.size() : 1;
    CHECK(delivered_ <= most && world_.replies.empty());
    CHECK(delivered_ + world_.dropped() - dropped_before_ == burst.size());
    CHECK(world_.inbound.next_timer() == Time::max());
    world_.uninstall();
  }

 private:
  static std::uint32_t key_of(const Bytes& packet) {
    Be<std::uint32_t> key;
    std::memcpy(&key, packet.data() + 4, sizeof key);
    return key.host();
  }

  Bytes sealed(std::span<const std::uint8_t> input) {
    if (input.size() < 2 || input.size() > 1800) return {};
    inner_.assign(input.begin() + 2, input.end());
    if (!wire::parse_ip(inner_)) return {};  // the peer's own IPsec refuses it
    Bytes packet = outer();
    const std::size_t head = wire::kGreSize + (v6_ ? wire::kIpv6HeaderSize : wire::kIpv4HeaderSize);
    const auto change = [&](std::size_t from, std::size_t size) {
      packet[from + input[0] % size] ^= input[1];
      changed_ |= input[1] != 0;
    };
    if ((choice_ & 1) != 0) change(0, wire::kGreSize);
    if ((choice_ & 2) != 0) change(wire::kGreSize, head - wire::kGreSize);
    if ((choice_ & 4) != 0) change(head, packet.size() - head);
    return packet;
  }

  Bytes outer() {
    if (!v6_) return forward(world_.esp(1, inner_), {});
    Bytes packet(wire::kGreSize);
    wire::build_gre(std::span(packet).first<wire::kGreSize>(),
                    {.key = ForwardKey::of(kInboundEpoch, 0).field, .protocol = wire::kGreProtocolIpv6});
    const Bytes ah = ipsec::protect(*world_.transforms, *world_.peer, inner_, SeqNo(1));
    packet.insert(packet.end(), ah.begin(), ah.end());
    return packet;
  }

  void check(std::span<const std::uint8_t> packet) {
    ++delivered_;
    const auto ip = wire::parse_ip(packet);
    CHECK(ip && ip->total_size() == packet.size() && !ip->is_fragment());
    CHECK(ip->destination() == kInboundDvipa || ip->destination() == kInboundDvipa6);
    CHECK(!key_.reply());
    if (key_.clear()) return;
    CHECK((choice_ & 0x80) != 0);
    CHECK(!changed_ || (choice_ & 4) == 0);
    // Congestion that was marked on the way gets into the inner packet's second byte, and into IPv4's checksum.
    const std::ptrdiff_t from = ip->is_v4() ? 12 : 2;
    CHECK(packet.size() <= inner_.size());
    CHECK(std::equal(packet.begin() + from, packet.end(), inner_.begin() + from));
    if (key_.filtered()) return;
    const auto flow = policy::flow_of(*ip);
    CHECK(flow.has_value());
    const auto* rule = world_.table.find(policy::Direction::kInbound, *flow);
    if (policy::is_icmp_error(*ip)) return;  // passes for the sake of what it encloses
    CHECK(rule != nullptr && rule->tunnel == world_.peer->tunnel());
  }

  std::uint8_t choice_;
  bool v6_;
  InboundWorld& world_;
  Bytes inner_;
  ForwardKey key_;
  bool changed_ = false;
  std::size_t delivered_ = 0;
  std::uint64_t dropped_before_ = 0;
};

}  // namespace
}  // namespace testudo::target

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using testudo::target::Parts;
  static auto& parts =
      *new std::array<std::unique_ptr<Parts>, 2>{std::make_unique<Parts>(false), std::make_unique<Parts>(true)};
  if (size > 0) testudo::target::Run(*parts[data[0] >> 5 & 1], data[0], {data + 1, size - 1});
  return 0;
}
