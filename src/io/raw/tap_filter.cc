// SPDX-License-Identifier: Apache-2.0
#include "io/raw/tap_filter.h"

#include <linux/if_packet.h>

#include <algorithm>
#include <array>
#include <set>

#include "wire/ip.h"
#include "wire/udp.h"

namespace testudo::io {
namespace {

constexpr std::uint32_t kIp = kEthernetHeaderSize;  // where the IP header starts
constexpr std::uint32_t kTakeAll = 0x40000;         // bytes: more than any packet has
constexpr std::uint32_t kLeave = 0;
constexpr std::uint8_t kDiscoveryFirst = 133, kDiscoveryLast = 137;  // ICMPv6 types (RFC 4861 section 4)

/// A conditional jump reaches 255 instructions, an unconditional one any distance: so every jump that is not to one
/// of the next few is an unconditional one, whose end is filled in when it is known.
class Program {
 public:
  void load_byte(std::uint32_t at) { add(BPF_LD | BPF_B | BPF_ABS, at); }
  void load_half(std::uint32_t at) { add(BPF_LD | BPF_H | BPF_ABS, at); }
  void load_word(std::uint32_t at) { add(BPF_LD | BPF_W | BPF_ABS, at); }
  void end(std::uint32_t bytes) { add(BPF_RET | BPF_K, bytes); }
  void add(int code, std::uint32_t k) { code_.push_back({static_cast<std::uint16_t>(code), 0, 0, k}); }
  /// `yes`, `no`: instructions to skip.
  void compare(int how, std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
    code_.push_back({static_cast<std::uint16_t>(BPF_JMP | how | BPF_K), yes, no, k});
  }
  /// A jump from here to where land() will be called with it.
  [[nodiscard]] std::size_t jump() {
    add(BPF_JMP | BPF_JA, 0);
    return code_.size() - 1;
  }
  void land(std::size_t jump) { code_[jump].k = static_cast<std::uint32_t>(code_.size() - jump - 1); }
  void land(std::span<const std::size_t> jumps) {
    for (const std::size_t j : jumps) land(j);
  }
  [[nodiscard]] std::vector<sock_filter> take() { return std::move(code_); }

 private:
  std::vector<sock_filter> code_;
};

void leave_unless_sent_to_this_host(Program& p) {
  p.load_byte(static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE));
  p.compare(BPF_JEQ, PACKET_HOST, 1, 0);
  p.end(kLeave);
}

/// The destination port is loaded: the end of the program.
void leave_ike_take_rest(Program& p) {
  p.compare(BPF_JEQ, wire::kIkePort, 1, 0);
  p.compare(BPF_JEQ, wire::kNatTraversalPort, 0, 1);
  p.end(kLeave);
  p.end(kTakeAll);
}

/// The destination's last 32 bits are loaded: jumps when they are one of `values`, leaves the packet otherwise.
template <typename Values>
void match(Program& p, const Values& values, std::vector<std::size_t>& found) {
  for (const std::uint32_t value : values) {
    p.compare(BPF_JEQ, value, 0, 1);
    found.push_back(p.jump());
  }
  p.end(kLeave);
}

/// Addresses that differ in their last 32 bits only.
void match_network(Program& p, std::span<const IpAddress> network, std::vector<std::size_t>& found) {
  const IpAddress first = network.front();
  const auto word = [](std::uint64_t half, int shift) { return static_cast<std::uint32_t>(half >> shift); };
  const std::array words = {word(first.high(), 32), word(first.high(), 0), word(first.low(), 32)};
  std::vector<std::size_t> others;
  for (std::uint32_t i = 0; i < words.size(); ++i) {
    p.load_word(kIp + 24 + 4 * i);
    p.compare(BPF_JEQ, words[i], 1, 0);
    others.push_back(p.jump());
  }
  p.load_word(kIp + 36);
  std::vector<std::uint32_t> last;
  for (const IpAddress a : network) last.push_back(word(a.low(), 0));
  match(p, last, found);
  p.land(others);
}

bool is_discovery(std::uint8_t type) { return type >= kDiscoveryFirst && type <= kDiscoveryLast; }

}  // namespace

std::vector<sock_filter> tap_filter_v4(std::span<const IpAddress> owned) {
  std::set<std::uint32_t> addresses;
  for (const IpAddress a : owned) {
    if (a.is_v4()) addresses.insert(a.v4());
  }
  Program p;
  leave_unless_sent_to_this_host(p);
  p.load_word(kIp + 16);  // destination
  std::vector<std::size_t> found;
  match(p, addresses, found);
  p.land(found);
  p.load_byte(kIp + 9);  // protocol
  p.compare(BPF_JEQ, wire::kProtocolUdp, 1, 0);
  p.end(kTakeAll);
  p.load_half(kIp + 6);  // fragment offset
  p.compare(BPF_JSET, 0x1fff, 0, 1);
  p.end(kLeave);                             // a later fragment
  p.add(BPF_LDX | BPF_B | BPF_MSH, kIp);     // X = IP header length
  p.add(BPF_LD | BPF_H | BPF_IND, kIp + 2);  // destination port
  leave_ike_take_rest(p);
  return p.take();
}

std::vector<sock_filter> tap_filter_v6(std::span<const IpAddress> owned) {
  const std::set<IpAddress> sorted(owned.begin(), owned.end());
  std::vector<IpAddress> addresses;
  std::ranges::copy_if(sorted, std::back_inserter(addresses), [](IpAddress a) { return a.is_v6(); });
  Program p;
  leave_unless_sent_to_this_host(p);
  std::vector<std::size_t> found;
  for (auto from = addresses.begin(); from != addresses.end();) {
    const auto to =
        std::find_if(from, addresses.end(), [from](IpAddress a) { return a.masked(96) != from->masked(96); });
    match_network(p, std::span(from, to), found);
    from = to;
  }
  p.end(kLeave);
  p.land(found);
  p.load_byte(kIp + 6);  // next header
  p.compare(BPF_JEQ, wire::kProtocolIcmpv6, 0, 5);
  p.load_byte(kIp + 40);  // ICMPv6 type
  p.compare(BPF_JGE, kDiscoveryFirst, 0, 2);
  p.compare(BPF_JGT, kDiscoveryLast, 1, 0);
  p.end(kLeave);
  p.end(kTakeAll);
  p.compare(BPF_JEQ, wire::kProtocolUdp, 1, 0);
  p.end(kTakeAll);
  p.load_half(kIp + 42);  // destination port
  leave_ike_take_rest(p);
  return p.take();
}

bool left_to_the_kernel(std::span<const std::uint8_t> packet) {
  const auto ip = wire::parse_ip_prefix(packet).view;
  if (!ip) return false;
  if (ip->protocol() == wire::kProtocolUdp) {
    if (ip->fragment_offset() != 0) return true;
    const auto payload = ip->payload();
    if (payload.size() < sizeof(wire::UdpHeader)) return true;  // a port cannot be told
    const std::uint16_t port = reinterpret_cast<const wire::UdpHeader*>(payload.data())->destination_port.host();
    return port == wire::kIkePort || port == wire::kNatTraversalPort;
  }
  return ip->protocol() == wire::kProtocolIcmpv6 && ip->fragment_offset() == 0 && !ip->payload().empty() &&
         is_discovery(ip->payload()[0]);
}

}  // namespace testudo::io
