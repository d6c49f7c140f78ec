# SPDX-License-Identifier: Apache-2.0
"""A topology as data: segments, hosts, and where each host is plugged in.

    Topology("pair", segments=[Segment("lan", "192.0.2.0/24")],
             hosts=[Host("a", {"lan": "192.0.2.1"}), Host("b", {"lan": "192.0.2.2"})])
"""
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True)
class Segment:
    """An Ethernet segment: one bridge. Its name is also the interface's name in every host that is plugged in."""

    name: str
    subnet: str
    mtu: int = 1500
    subnet6: str = ""  # IPv6, where there is

    @property
    def prefix_length(self) -> int:
        return IPv4Network(self.subnet).prefixlen

    @property
    def prefix_length6(self) -> int:
        return IPv6Network(self.subnet6).prefixlen


@dataclass(frozen=True)
class Host:
    """A network namespace with one interface per segment. Without `addresses6` it speaks no IPv6 at all.

    `wire_size`: segments on which this host sees, and is seen with, frames as a real wire would carry them: no
    segmentation or checksum offload on its link, so that a capture there shows packets and not trains.
    """

    name: str
    addresses: dict[str, str]
    wire_size: frozenset[str] = field(default_factory=frozenset)
    sysctls: dict[str, str] = field(default_factory=dict)
    addresses6: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Topology:
    name: str
    segments: list[Segment]
    hosts: list[Host]

    def segment(self, name: str) -> Segment:
        return next(segment for segment in self.segments if segment.name == name)

    def namespace(self, host: str) -> str:
        return f"testudo-{self.name}-{host}"

    @property
    def fabric(self) -> str:
        """The namespace that holds the bridges: none of them shows up on the machine itself."""
        return self.namespace("fabric")
