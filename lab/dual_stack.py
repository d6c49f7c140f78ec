# SPDX-License-Identifier: Apache-2.0
"""The quickstart cluster, smaller, with both families on its network segment and a pair of DVIPAs of each.

     client .10, ::10 ──┬── lan 192.0.2.0/24, 2001:db8::/64 ──┬──────────────┬──────────────┐
                        │                              owner .1, ::1   t1 .11, ::11   t2 .12, ::12
                        │                                     │              │              │
                                              xcf 10.77.0.0/24 ──────────────┴──────────────┴── etcd .100

DVIPAs 192.0.2.100 and 2001:db8::100 are reached through IPsec only, 192.0.2.101 and 2001:db8::101 in the clear only.
Child "web" of the client's charon is the way to the first, "web6" to the second.
"""
from dataclasses import dataclass

from lab import config
from lab.quickstart import CLIENT_ADDRESS, DVIPA, ETCD_ADDRESS, PLAIN_DVIPA, Quickstart
from lab.topology import Host, Segment, Topology

DVIPA6 = "2001:db8::100"
PLAIN_DVIPA6 = "2001:db8::101"
CLIENT_ADDRESS6 = "2001:db8::10"


@dataclass
class DualStack(Quickstart):
    members = {"owner": 1, "t1": 11, "t2": 12}
    targets = ("t1", "t2")
    dvipas = (DVIPA, PLAIN_DVIPA, DVIPA6, PLAIN_DVIPA6)
    protected = {DVIPA: "", DVIPA6: "6"}

    @classmethod
    def describe_topology(cls, name: str) -> Topology:
        hosts = [Host("client", {"lan": CLIENT_ADDRESS}, addresses6={"lan": CLIENT_ADDRESS6},
                      wire_size=frozenset({"lan"})),
                 Host("etcd", {"xcf": ETCD_ADDRESS})]
        hosts += [Host(member, {"lan": f"192.0.2.{number}", "xcf": f"10.77.0.{number}"},
                       addresses6={"lan": f"2001:db8::{number}"}) for member, number in cls.members.items()]
        return Topology(name, [Segment("lan", "192.0.2.0/24", subnet6="2001:db8::/64"),
                               Segment("xcf", "10.77.0.0/24", mtu=9000)], hosts)

    def _filters(self) -> str:
        six = config.FILTERS.replace(PLAIN_DVIPA, PLAIN_DVIPA6).replace(DVIPA, DVIPA6)
        return f"{config.FILTERS}\n{six}"

    def _definition_block(self, owner: bool) -> str:
        distribute = "".join(f"  VIPADISTRIBUTE DEFINE {dvipa} PORT 80 DESTIP ALL\n" for dvipa in self.dvipas)
        return (f"VIPADYNAMIC\n  VIPADEFINE {DVIPA}/24 {PLAIN_DVIPA}\n"
                f"  VIPADEFINE {DVIPA6}/64 {PLAIN_DVIPA6}\n{distribute}ENDVIPADYNAMIC\n")
