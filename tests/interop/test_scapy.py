# SPDX-License-Identifier: Apache-2.0
"""scapy's IPsec layer as judge of the engine's bytes: each side's packets are accepted by the other, for every suite,
mode and family, and what was changed on the way is refused."""
import itertools
import os
import random
import sys
from pathlib import Path

import pytest
from scapy.all import ICMP, IP, TCP, UDP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN, raw
from scapy.layers.ipsec import AH, ESP, SecurityAssociation

sys.path.insert(0, str(Path(__file__).parent / "scapy_peer"))
import suites  # noqa: E402
from engine import Engine  # noqa: E402

suites.register()
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build" / os.environ.get("TESTUDO_PRESET", "release") / "tests" / "interop" / "scapy_peer" / "packet_peer"

LOCAL = {4: "192.0.2.100", 6: "2001:db8::100"}  # the engine's
REMOTE = {4: "198.51.100.7", 6: "2001:db8:1::7"}  # scapy's
IP_OF = {4: IP, 6: IPv6}
# Outer family (none: transport mode), inner family.
SHAPES = {"4-in-4": (4, 4), "6-in-4": (4, 6), "4-in-6": (6, 4), "6-in-6": (6, 6), "transport-4": (None, 4),
          "transport-6": (None, 6)}
SIZES = (0, 1, 2, 3, 7, 15, 16, 17, 100, 1337)
ALL = [*suites.esp_suites(), *suites.ah_suites()]
spis = itertools.count(0x1000)
random.seed(20)


@pytest.fixture(scope="module", name="engine")
def engine_fixture():
    with Engine(PROGRAM) as engine:
        yield engine


def inner_packet(family, to_engine, size):
    source, destination = (REMOTE, LOCAL) if to_engine else (LOCAL, REMOTE)
    packet = IP_OF[family](src=source[family], dst=destination[family]) / TCP(sport=1234, dport=80, flags="PA")
    return IP_OF[family](raw(packet / random.randbytes(size)))


class Pair:
    """One SA of one direction, at both ends."""

    def __init__(self, engine, shape, suite, *, to_engine, esn=False, inner_esp=None):
        outer, self.inner = SHAPES[shape]
        family = outer or self.inner
        self.engine, self.to_engine, self.esn, self.spi = engine, to_engine, esn, next(spis)
        key = random.randbytes(suite.key_size)
        source, destination = (REMOTE, LOCAL) if to_engine else (LOCAL, REMOTE)
        header = IP_OF[family](src=source[family], dst=destination[family]) if outer else None
        sa = dict(direction="in" if to_engine else "out", protocol="ah" if suite.ah else "esp",
                  mode="tunnel" if outer else "transport", spi=self.spi, local=LOCAL[family], remote=REMOTE[family],
                  suite=suite.name, key=key.hex(), esn=esn)
        layers = [(suite, self.spi, key)]
        if inner_esp:
            spi, esp_key = next(spis), random.randbytes(inner_esp.key_size)
            sa.update(inner_esp=dict(spi=spi, suite=inner_esp.name, key=esp_key.hex()))
            layers.insert(0, (inner_esp, spi, esp_key))
        self.sa = engine.install(**sa)
        # Innermost first: only that one adds a header.
        self.layers = [SecurityAssociation(AH if s.ah else ESP, spi=spi, tunnel_header=header if i == 0 else None,
                                           esn_en=esn, **s.arguments(key))
                       for i, (s, spi, key) in enumerate(layers)]
        self.cls = IP_OF[family]

    def _high(self, sequence):
        for layer in self.layers:
            layer.esn = sequence >> 32
            if isinstance(layer.auth_algo, suites.EsnAuth):
                layer.auth_algo.high = sequence >> 32 if self.esn else None

    def scapy_protects(self, sequence, packet):
        self._high(sequence)
        for layer in self.layers:
            packet = layer.encrypt(packet.__class__(raw(packet)), seq_num=sequence & 0xffffffff)
        return raw(packet)

    def scapy_opens(self, sequence, data):
        self._high(sequence)
        for layer in reversed(self.layers):
            opened = layer.decrypt(self.cls(data))
            data = raw(opened)
        return data

    def to_the_engine(self, sequence, packet):
        got, drop = self.engine.open(self.scapy_protects(sequence, packet), sequence >> 32)
        assert drop is None, f"dropped: {drop}"
        assert got == raw(packet)

    def from_the_engine(self, sequence, packet):
        outer = self.engine.protect(self.sa, sequence, raw(packet))
        assert self.cls(raw(self.cls(outer))) == self.cls(outer)
        # A header checksum that is wrong would come out changed when scapy computes it anew.
        header = self.cls(outer)
        if self.cls is IP:
            checksum, header.chksum = header.chksum, None
            assert IP(raw(header)).chksum == checksum
        assert self.scapy_opens(sequence, outer) == raw(packet)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suite", ALL, ids=lambda s: s.name)
def test_each_accepts_the_other(engine, suite, shape):
    for esn in (False, True):
        start = 0x1_0000_0005 if esn else 5
        inbound = Pair(engine, shape, suite, to_engine=True, esn=esn)
        outbound = Pair(engine, shape, suite, to_engine=False, esn=esn)
        for number, size in enumerate(SIZES, start):
            inbound.to_the_engine(number, inner_packet(inbound.inner, True, size))
            outbound.from_the_engine(number, inner_packet(outbound.inner, False, size))


# Every ESP suite behind one of AH, and every one of AH before one ESP suite.
AH_ESP = [("HMAC-SHA256-128", suite.name) for suite in suites.esp_suites()]
AH_ESP += [(suite.name, "AES-GCM-128") for suite in suites.ah_suites() if suite.name != "HMAC-SHA256-128"]


def suite_of(name):
    return next(s for s in ALL if s.name == name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", AH_ESP, ids="+".join)
def test_ah_over_esp(engine, names, shape):
    ah, esp = map(suite_of, names)
    inbound = Pair(engine, shape, ah, to_engine=True, inner_esp=esp)
    outbound = Pair(engine, shape, ah, to_engine=False, inner_esp=esp)
    for number, size in enumerate(SIZES, 1):
        inbound.to_the_engine(number, inner_packet(inbound.inner, True, size))
        outbound.from_the_engine(number, inner_packet(outbound.inner, False, size))


@pytest.mark.parametrize("protocol", ("udp", "icmp"))
def test_other_payloads(engine, protocol):
    payload = UDP(sport=9, dport=53) / b"ask" if protocol == "udp" else ICMP(type=8, id=1, seq=2) / b"ping"
    for shape in ("4-in-4", "transport-4"):
        pair = Pair(engine, shape, suite_of("AES-GCM-128"), to_engine=True)
        pair.to_the_engine(1, IP(raw(IP(src=REMOTE[4], dst=LOCAL[4]) / payload)))


@pytest.mark.parametrize("name", ("AES-GCM-128", "HMAC-SHA256-128"))
def test_ipv6_extension_headers(engine, name):
    headers = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]), IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    for to_engine in (True, False):
        source, destination = (REMOTE, LOCAL) if to_engine else (LOCAL, REMOTE)
        pair = Pair(engine, "transport-6", suite_of(name), to_engine=to_engine)
        # Destination options in front of the protected header are where scapy and Linux look for no more than the
        # hop-by-hop header and the routing header that may follow.
        packet = IPv6(src=source[6], dst=destination[6]) / headers[0] / TCP(sport=1, dport=80) / b"payload"
        move = pair.to_the_engine if to_engine else pair.from_the_engine
        move(1, IPv6(raw(packet)))


def mutations(suite, data, offset):
    """(what, bytes, reasons) of packets that were changed behind the IP header, which has `offset` bytes."""
    def flipped(at, bit=0):
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        return bytes(changed)

    def resized(changed):
        # With an IP header that says the new length, so that it is not refused for the wrong reason.
        cls = IP if data[0] >> 4 == 4 else IPv6
        header = cls(changed[:offset])
        if cls is IP:
            header.len, header.chksum = len(changed), None
        else:
            header.plen = len(changed) - 40
        return raw(header)[:offset] + changed[offset:]

    sequence = offset + (8 if suite.ah else 4)
    spi = offset + (4 if suite.ah else 0)
    yield "SPI", flipped(spi + 1), {"unknown_spi"}
    yield "sequence number", flipped(sequence + 3, 5), {"bad_icv"}
    for at in range(sequence + 4, len(data), max(1, (len(data) - sequence) // 40)):
        yield f"byte {at - offset}", flipped(at, at % 8), {"bad_icv"}
    yield "first byte behind the header", flipped(sequence + 4), {"bad_icv"}
    yield "last byte", flipped(len(data) - 1, 7), {"bad_icv"}
    for cut in (1, 4, 16, len(data) - offset - 9):
        yield f"{cut} bytes cut", resized(data[:-cut]), {"bad_icv", "truncated", "malformed"}
    yield "four bytes appended", resized(data + bytes(4)), {"bad_icv", "truncated", "malformed"}
    if suite.ah:
        yield "next header", flipped(offset, 1), {"bad_icv"}
        yield "length of AH", flipped(offset + 1), {"bad_icv", "malformed", "truncated"}


@pytest.mark.parametrize("shape", ("4-in-4", "6-in-6", "transport-4", "transport-6"))
@pytest.mark.parametrize("suite", ALL, ids=lambda s: s.name)
def test_what_was_changed_is_refused(engine, suite, shape):
    pair = Pair(engine, shape, suite, to_engine=True)
    data = pair.scapy_protects(77, inner_packet(pair.inner, True, 60))
    for what, changed, reasons in mutations(suite, data, 20 if pair.cls is IP else 40):
        assert changed != data, what
        got, drop = engine.open(changed)
        assert got is None, f"{what}: accepted"
        assert drop in reasons, f"{what}: {drop}"
    # None of them has moved the window or used up the number; the genuine packet is accepted once.
    assert engine.open(data)[1] is None
    assert engine.open(data)[1] == "replay"


@pytest.mark.parametrize("family", (4, 6))
def test_ah_covers_what_does_not_change_on_the_way(engine, family):
    pair = Pair(engine, f"transport-{family}", suite_of("HMAC-SHA256-128"), to_engine=True)
    mutable = {4: (1, 8), 6: (1, 3, 7)}[family]  # class, hops; class and flow label, hop limit
    fixed = {4: (5, 15, 19), 6: (23, 39)}[family]  # identification, last byte of the addresses
    for number, at in enumerate((*mutable, *fixed), 1):
        data = bytearray(pair.scapy_protects(number, inner_packet(family, True, 20)))
        data[at] ^= 0x04
        if family == 4:
            data = bytearray(raw(IP(bytes(data[:10]) + b"\0\0" + bytes(data[12:]))))
            header = IP(bytes(data))
            del header.chksum
            data = bytearray(raw(header))
        got, drop = engine.open(bytes(data))
        if at in mutable:
            assert drop is None, f"byte {at}: {drop}"
        else:
            assert got is None and drop in {"bad_icv", "unknown_spi"}, f"byte {at}: {drop}"
