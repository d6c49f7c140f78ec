// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/announcement.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/byte_order.h"
#include "io/descriptor.h"
#include "wire/checksum.h"
#include "wire/ip.h"

namespace testudo::io {
namespace {

using Mac = std::array<std::uint8_t, 6>;
constexpr Mac kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr Mac kAllNodes = {0x33, 0x33, 0, 0, 0, 1};  // of ff02::1 (RFC 2464 section 7)

struct Arp {  // RFC 826, Ethernet and IPv4
  Be<std::uint16_t> hardware{ARPHRD_ETHER};
  Be<std::uint16_t> protocol{ETHERTYPE_IP};
  std::uint8_t hardware_size = 6;
  std::uint8_t protocol_size = 4;
  Be<std::uint16_t> operation;
  Mac sender_mac;
  Be<std::uint32_t> sender;
  Mac target_mac;
  Be<std::uint32_t> target;
};
static_assert(sizeof(Arp) == 28);

struct Advertisement {  // RFC 4861 section 4.4, with the option of section 4.6.1
  std::uint8_t type = 136;
  std::uint8_t code = 0;
  Be<std::uint16_t> checksum;
  std::uint8_t flags = 0x20;  // override
  std::uint8_t reserved[3] = {};
  std::array<std::uint8_t, 16> target;
  std::uint8_t option = 2;         // target's link-layer address
  std::uint8_t option_length = 1;  // units of 8 bytes
  Mac mac;
};
static_assert(sizeof(Advertisement) == 32);

Result<Mac> mac_of(int fd, const std::string& interface) {
  ifreq r{};
  interface.copy(r.ifr_name, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFHWADDR, &r) != 0) return fail(system_error("cannot read the MAC address of " + interface));
  if (r.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
    return fail("cannot announce a DVIPA on " + interface + ": it is no Ethernet interface");
  }
  Mac mac{};
  std::memcpy(mac.data(), r.ifr_hwaddr.sa_data, mac.size());
  return mac;
}

sockaddr_ll to_all(const std::string& interface, std::uint16_t protocol, const Mac& group) {
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(protocol);
  to.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  to.sll_halen = ETH_ALEN;
  std::memcpy(to.sll_addr, group.data(), group.size());
  return to;
}

bool send(int fd, const sockaddr_ll& to, const void* data, std::size_t size) {
  return sendto(fd, data, size, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) >= 0;
}

bool announce_by_arp(int fd, const std::string& interface, const Mac& mac, IpAddress address) {
  const sockaddr_ll to = to_all(interface, ETHERTYPE_ARP, kBroadcast);
  for (const std::uint16_t operation : {std::uint16_t{ARPOP_REQUEST}, std::uint16_t{ARPOP_REPLY}}) {
    Arp arp;
    arp.operation = Be<std::uint16_t>(operation);
    arp.sender_mac = mac;
    arp.target_mac = operation == ARPOP_REPLY ? mac : Mac{};
    arp.sender = arp.target = Be<std::uint32_t>(address.v4());
    if (!send(fd, to, &arp, sizeof arp)) return false;
  }
  return true;
}

bool announce_by_advertisement(int fd, const std::string& interface, const Mac& mac, IpAddress address) {
  struct {
    std::array<std::uint8_t, wire::kIpv6HeaderSize> ip;
    Advertisement advertisement;
  } packet{};
  const auto all_nodes = IpAddress::parse("ff02::1");
  wire::build_ip(
      packet.ip,
      {.source = address, .destination = *all_nodes, .protocol = wire::kProtocolIcmpv6, .hop_limit = 255},
      sizeof packet.advertisement);
  Advertisement& a = packet.advertisement;
  a.target = address.bytes();
  a.mac = mac;
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(&a), sizeof a);
  const auto pseudo = wire::pseudo_header_sum(address, *all_nodes, wire::kProtocolIcmpv6, sizeof a);
  a.checksum = Be<std::uint16_t>(wire::fold(wire::add(pseudo, bytes)));
  return send(fd, to_all(interface, ETHERTYPE_IPV6, kAllNodes), &packet, sizeof packet);
}

}  // namespace

Result<void> announce_address(const std::string& interface, IpAddress address) {
  const Descriptor socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.open()) return fail(system_error("cannot create a packet socket; CAP_NET_RAW is needed"));
  const auto mac = mac_of(socket.get(), interface);
  if (!mac) return tl::unexpected(mac.error());
  const auto announce = address.is_v4() ? announce_by_arp : announce_by_advertisement;
  if (announce(socket.get(), interface, *mac, address)) return {};
  return fail(system_error("cannot announce " + address.to_string() + " on " + interface));
}

}  // namespace testudo::io
