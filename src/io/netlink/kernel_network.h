// SPDX-License-Identifier: Apache-2.0
// KernelNetwork: HostNetwork on netlink, nftables and sysctls of the network namespace it runs in. Needs
// CAP_NET_ADMIN and CAP_NET_RAW.
//
// What apply() sets up, in this order (decision 2, fail closed):
//   nftables   table inet testudo: to a DVIPA, from anywhere but lo and the TUN: dropped; on its owner UDP 500 and
//              4500 and neighbour discovery from the network interface are let in. (The raw port's tap has seen the
//              packet before.)
//   rules      5270: fwmark 0x7e57 → main, the daemon's own packets; 5271: from DVIPA → table 5270
//   routes     table 5270: default dev TUN, with MTU and advmss as inner_mtu.h says; blackhole default metric 4278,
//              which stays when the TUN goes
//   sysctls    network interface: arp_ignore 1, arp_announce 2; strict reverse path filters become loose ones (2)
//              there and on the TUN, because a DVIPA's packets come and go by different interfaces. IPv6 needs none
//              of them: its neighbour discovery speaks for an interface's own addresses only
//   addresses  DVIPA/32 or /128 on the TUN; on its owner on the network interface too, which makes the kernel
//   answer
//              neighbours, and for the time of the lease only. IPv6 ones without duplicate address detection,
//              deprecated
// Rules and routes of a family only while it has a DVIPA. The kernel's own tables are the only memory: rules of
// preference 5271 name the DVIPAs of a former run.
#pragma once

#include "io/netlink/host_network.h"

namespace testudo::io {

class KernelNetwork final : public HostNetwork {
 public:
  Result<void> apply(const Steering& wanted) override;
  Result<void> renew(const Steering& present) override;
  Result<void> clear(const Steering& last) override;
  Result<void> announce(const std::string& network, IpAddress dvipa) override;
  Result<std::set<Listener>> listening_ports(const std::string& tun) override;
  Result<std::set<TcpConnection>> connections(const std::string& tun, std::span<const IpAddress> dvipas) override;
  Result<InterfaceInfo> interface(const std::string& name) override;
};

}  // namespace testudo::io
