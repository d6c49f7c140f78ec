# SPDX-License-Identifier: Apache-2.0
"""Packets that no honest client would send, made with the client's own keys or without any.

    forger = Forger.of(cluster)
    inject.send_ip(cluster.client, [forger.esp(forger.tcp_ack(), forger.next_number())])

The keys come from the log of the client's stock strongSwan: nothing of the cluster gives them away.
"""
import itertools
import os
import re
import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Iterator

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lab.capture import EspPacket
from lab.quickstart import CLIENT_ADDRESS, DVIPA, Quickstart

_IV_BYTES = 8
_ICV_BYTES = 16


@dataclass
class Forger:
    """The client's sending side of its newest CHILD_SA, which it must have initiated (AES-GCM, RFC 4106)."""

    spi: int
    key: bytes
    salt: bytes
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(cls, cluster: Quickstart, newest_seen: int = 0) -> "Forger":
        """`newest_seen`: sequence number to go on from, with room for what the honest client sends meanwhile."""
        log = cluster.client_charon.log.read_text(encoding="utf-8")
        secret = _dump(log, "encryption initiator key")
        spi = re.findall(r"adding outbound ESP SA\n.*SPI 0x([0-9a-f]+)", log)[-1]
        return cls(int(spi, 16), secret[:-4], secret[-4:], itertools.count(newest_seen + 200))

    def next_number(self) -> int:
        return next(self.numbers)

    def esp(self, inner: bytes, number: int, padding: bytes | None = None, next_header: int = 4,
            flip_icv: bool = False) -> bytes:
        """The whole outer IPv4 packet, ESP in UDP. `padding` without the two bytes behind it."""
        if padding is None:
            padding = bytes(range(1, 1 + -(len(inner) + 2) % 4))
        plain = inner + padding + bytes([len(padding), next_header])
        head = struct.pack(">II", self.spi, number)
        iv = os.urandom(_IV_BYTES)
        sealed = AESGCM(self.key).encrypt(self.salt + iv, plain, head)
        if flip_icv:
            sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        return udp_encapsulated(head + iv + sealed)


def _dump(log: str, title: str) -> bytes:
    """The last hex dump with that title: lines of up to 16 bytes behind an offset."""
    block = log[log.rindex(title):].splitlines()
    size = int(re.search(r"=> (\d+) bytes", block[0])[1])
    rows = [re.search(r"\d+: ((?:[0-9A-F]{2} )+)", row)[1] for row in block[1:2 + (size - 1) // 16]]
    return bytes.fromhex("".join(rows))[:size]


def udp_encapsulated(esp: bytes, source: str = CLIENT_ADDRESS, destination: str = DVIPA) -> bytes:
    return udp(source, 4500, destination, 4500, esp)


def udp(source: str, source_port: int, destination: str, destination_port: int, payload: bytes) -> bytes:
    """IPv4 and UDP around a payload; no UDP checksum."""
    datagram = struct.pack(">HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    return ipv4(source, destination, 17, datagram)


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    checksum = _checksum(head + addresses)
    return head[:10] + struct.pack(">H", checksum) + addresses + payload


def tcp(source: str, source_port: int, destination: str, destination_port: int, flags: int = 0x02) -> bytes:
    """An IPv4 packet with a bare TCP segment; flags 2 is SYN, 16 is ACK."""
    segment = struct.pack(">HHIIBBHHH", source_port, destination_port, 1, 0, 0x50, flags, 65535, 0, 0)
    pseudo = IPv4Address(source).packed + IPv4Address(destination).packed + struct.pack(">BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack(">H", _checksum(pseudo + segment)) + segment[18:]
    return ipv4(source, destination, 6, segment)


def esp_of(packet: EspPacket) -> bytes:
    """The ESP packet inside a captured ESP-in-UDP frame."""
    frame = bytes(packet.frame)
    assert frame[23] == 17 and len(frame) == packet.wire_bytes, "a whole frame of ESP in UDP"
    return frame[14 + 20 + 8:]


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
