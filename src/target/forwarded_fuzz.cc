// SPDX-License-Identifier: Apache-2.0
// The target's inbound path. Input: one byte, then
//   raw (0x80 clear)   what came on the XCF data port from the owner: GRE and what follows. Of protected packets
//                      nothing may ever be delivered: the input cannot know the key.
//   sealed (0x80 set)  an inner packet, put under the right key. Bits 0–2: changed afterwards in the GRE header,
//   the
//                      outer IP header or the ESP packet, at a place that the first two bytes of the input say.
//   bit 3              the SA comes only afterwards: the packet is held.
//   bit 4              the packet comes twice in a burst.
// What is delivered is a whole IPv4 packet to the DVIPA that the filters select, and each at most once.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "policy/filter.h"
#include "target/inbound_world_for_test.h"

namespace testudo::target {
namespace {

constexpr std::size_t kEspAt = wire::kGreSize + wire::kIpv4HeaderSize;

class Run {
 public:
  Run(std::uint8_t choice, std::span<const std::uint8_t> input) : choice_(choice) {
    world_.on_deliver = [this](std::span<const wire::Outgoing> packets) {
      for (const wire::Outgoing& o : packets) check({o.body, o.body_size});
    };
    const bool late = (choice & 8) != 0;
    if (!late) world_.install();
    Bytes packet = (choice & 0x80) == 0 ? Bytes(input.begin(), input.end()) : sealed(input);
    if (packet.size() >= wire::kGreSize) clear_ = ForwardKey{key_of(packet)}.clear();
    std::vector<Bytes> burst((choice & 16) != 0 ? 2 : 1, packet);
    world_.process(burst);
    if (late) world_.install();
    world_.now += 2s;
    world_.inbound.tick(world_.now);
    const std::size_t most = clear_ ? burst.size() : 1;
    CHECK(delivered_ <= most);
    CHECK(delivered_ + world_.dropped() == burst.size());
    CHECK(world_.inbound.next_timer() == Time::max());
  }

 private:
  static std::uint32_t key_of(const Bytes& packet) {
    Be<std::uint32_t> key;
    std::memcpy(&key, packet.data() + 4, sizeof key);
    return key.host();
  }

  Bytes sealed(std::span<const std::uint8_t> input) {
    if (input.size() < 2 || input.size() > 2000) return {};
    inner_.assign(input.begin() + 2, input.end());
    Bytes packet = forward(world_.esp(1, inner_), {});
    const auto change = [&](std::size_t from, std::size_t size) {
      packet[from + input[0] % size] ^= input[1];
      changed_ |= input[1] != 0;
    };
    if ((choice_ & 1) != 0) change(0, wire::kGreSize);
    if ((choice_ & 2) != 0) change(wire::kGreSize, wire::kIpv4HeaderSize);
    if ((choice_ & 4) != 0) change(kEspAt, packet.size() - kEspAt);
    return packet;
  }

  void check(std::span<const std::uint8_t> packet) {
    ++delivered_;
    const auto ip = wire::parse_ipv4(packet);
    CHECK(ip && ip->total_size() == packet.size() && ip->destination() == kInboundDvipa);
    CHECK(policy::flow_of(*ip).has_value());
    if (clear_) return;
    CHECK((choice_ & 0x80) != 0);
    CHECK(!changed_ || (choice_ & 4) == 0);
    CHECK(packet.size() <= inner_.size() && std::equal(packet.begin(), packet.end(), inner_.begin()));
    const auto* rule = world_.table.find(policy::Direction::kInbound, *policy::flow_of(*ip));
    CHECK(rule != nullptr && rule->tunnel == world_.peer->tunnel());
  }

  std::uint8_t choice_;
  InboundWorld world_;
  Bytes inner_;
  bool clear_ = false, changed_ = false;
  std::size_t delivered_ = 0;
};

}  // namespace
}  // namespace testudo::target

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) testudo::target::Run(data[0], {data + 1, size - 1});
  return 0;
}
