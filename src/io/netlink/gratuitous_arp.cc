// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/gratuitous_arp.h"

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

#include "base/byte_order.h"
#include "io/descriptor.h"

namespace testudo::io {
namespace {

using Mac = std::array<std::uint8_t, 6>;

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

}  // namespace

Result<void> announce_by_arp(const std::string& interface, IpAddress address) {
  const Descriptor socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.open()) return fail(system_error("cannot create an ARP socket; CAP_NET_RAW is needed"));
  const auto mac = mac_of(socket.get(), interface);
  if (!mac) return tl::unexpected(mac.error());
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETHERTYPE_ARP);
  to.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  to.sll_halen = ETH_ALEN;
  std::memset(to.sll_addr, 0xff, ETH_ALEN);
  for (const std::uint16_t operation : {std::uint16_t{ARPOP_REQUEST}, std::uint16_t{ARPOP_REPLY}}) {
    Arp arp;
    arp.operation = Be<std::uint16_t>(operation);
    arp.sender_mac = *mac;
    arp.target_mac = operation == ARPOP_REPLY ? *mac : Mac{};
    arp.sender = arp.target = Be<std::uint32_t>(address.value());
    if (sendto(socket.get(), &arp, sizeof arp, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0) {
      return fail(system_error("cannot announce " + address.to_string() + " on " + interface));
    }
  }
  return {};
}

}  // namespace testudo::io
