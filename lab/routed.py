# SPDX-License-Identifier: Apache-2.0
"""The quickstart cluster, smaller, with its client behind a router and a link that is narrow.

     client 198.51.100.10 ── far 198.51.100.0/24, MTU 1300 ── .1 router .254 ── lan 192.0.2.0/24 ──┬────────┬───────┐
                                                                                              owner .1  t1 .11  t2 .12

The router tells senders of what does not fit (RFC 1191), and can become a NAT.
"""
from dataclasses import dataclass

from lab.host import LabHost
from lab.quickstart import DVIPA, ETCD_ADDRESS, Quickstart
from lab.topology import Host, Segment, Topology

CLIENT = "198.51.100.10"
ROUTER = "192.0.2.254"
NARROW_MTU = 1300

# Without the kernel's connection tracking: what port the NAT gives is the test's to say, at any time.
_NAT = """\
table ip nat
delete table ip nat
table ip nat {
  chain out {
    type filter hook postrouting priority 0
    ip saddr CLIENT udp sport 4500 ip saddr set ROUTER udp sport set PORT
    ip saddr CLIENT udp sport 500 ip saddr set ROUTER udp sport set 1500
  }
  chain in {
    type filter hook prerouting priority -300
    ip daddr ROUTER udp dport PORT ip daddr set CLIENT udp dport set 4500
    ip daddr ROUTER udp dport 1500 ip daddr set CLIENT udp dport set 500
  }
}
"""


@dataclass
class Routed(Quickstart):
    members = {"owner": 1, "t1": 11, "t2": 12}
    targets = ("t1", "t2")
    dvipas = (DVIPA,)

    @classmethod
    def describe_topology(cls, name: str) -> Topology:
        far = frozenset({"far"})
        hosts = [Host("client", {"far": CLIENT}, wire_size=far),
                 Host("router", {"far": "198.51.100.1", "lan": ROUTER}, wire_size=far | {"lan"},
                      sysctls={"net.ipv4.ip_forward": "1"}),
                 Host("etcd", {"xcf": ETCD_ADDRESS})]
        hosts += [Host(member, {"lan": f"192.0.2.{number}", "xcf": f"10.77.0.{number}"})
                  for member, number in cls.members.items()]
        return Topology(name, [Segment("lan", "192.0.2.0/24"), Segment("far", "198.51.100.0/24", mtu=NARROW_MTU),
                               Segment("xcf", "10.77.0.0/24", mtu=9000)], hosts)

    def _write_node_configs(self) -> None:
        self.client.run("ip", "route", "add", "default", "via", "198.51.100.1")
        for member in self.members:
            self.hosts[member].run("ip", "route", "add", "198.51.100.0/24", "via", ROUTER)
        super()._write_node_configs()

    def _filters(self) -> str:
        return f'[[filter]]\ndvipa = "{DVIPA}"\naction = "protect"\n'

    def _definition_block(self, owner: bool) -> str:
        return (f"VIPADYNAMIC\n  VIPADEFINE {DVIPA}/24\n"
                f"  VIPADISTRIBUTE DEFINE {DVIPA} PORT 80 DESTIP ALL\nENDVIPADYNAMIC\n")

    def _owner_swanctl(self, rekey_bytes: int) -> str:
        # Not what the peer's packets come from: behind a NAT that is another address.
        return super()._owner_swanctl(rekey_bytes).replace(
            f"local_ts = {DVIPA}\n", f"local_ts = {DVIPA}\n        remote_ts = {CLIENT}\n")

    def translate(self, port: int) -> None:
        """The router becomes a NAT, which gives the client's port 4500 that number from now on."""
        rules = _NAT.replace("CLIENT", CLIENT).replace("ROUTER", ROUTER).replace("PORT", str(port))
        self.hosts["router"].run("nft", "-f", "-", text=rules)

    def too_bigs(self) -> int:
        """How often the router has said that a packet does not fit."""
        return _snmp(self.hosts["router"], "IcmpMsg").get("OutType3", 0)

    def fragments_sent(self) -> int:
        """How many fragments the client has made."""
        return _snmp(self.client, "Ip")["FragCreates"]


def _snmp(host: LabHost, group: str) -> dict[str, int]:
    lines = host.run("cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith(f"{group}:"))
    return dict(zip(names, map(int, values)))
