# SPDX-License-Identifier: Apache-2.0
"""A capture on a link, and a reader that turns a quarter of a million packets into columns in a second.

    with Capture(client, "lan", path) as capture:
        ...
    packets = read_esp(path)
    sent_by_cluster = [p for p in packets if p.source == "192.0.2.100"]
"""
import signal
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Iterator, NamedTuple

from lab import wait
from lab.host import LabHost
from lab.process import Process

_SNAP_BYTES = 256      # enough for a whole small request, so that it can be sent again
_BUFFER_KIB = 64 * 1024


class EspPacket(NamedTuple):
    time: float            # seconds since the epoch
    source_mac: bytes
    source: int            # IPv4 address as a number
    destination: int
    spi: int
    sequence: int
    frame: memoryview      # Ethernet frame, cut to the snap length
    wire_bytes: int        # length of the frame on the wire


@dataclass
class Capture:
    """tcpdump on one interface of one host, everything for UDP 4500 and protocol 50."""

    host: LabHost
    interface: str
    path: Path
    filter: str = "udp port 4500 or esp"
    process: Process | None = None

    def start(self) -> "Capture":
        self.path.unlink(missing_ok=True)
        self.process = self.host.start(
            "tcpdump", "tcpdump", "-i", self.interface, "-n", "-U", "--immediate-mode", "-s", str(_SNAP_BYTES), "-B", str(_BUFFER_KIB),
            "-Z", "root", "-w", str(self.path), self.filter)
        wait.until("tcpdump to listen", lambda: self.path.exists() and self.path.stat().st_size >= 24)
        return self

    def stop(self) -> int:
        """Ends the capture and returns how many packets tcpdump says it has lost."""
        assert self.process
        log = Path(self.process.log)
        self.process.signal(signal.SIGINT)
        wait.until("tcpdump to end", lambda: not self.process.alive())
        lost = [line for line in log.read_text(encoding="utf-8").splitlines() if "dropped by kernel" in line]
        return int(lost[-1].split()[0]) if lost else 0

    def __enter__(self) -> "Capture":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()


def read_esp(path: Path) -> list[EspPacket]:
    """Every ESP packet of a capture, in UDP or not, in the order of arrival. A capture that is still being written
    is read up to its last whole packet."""
    return list(_esp_packets(path.read_bytes()))


_RECORD = struct.Struct("<IIII")
_SPI_SEQUENCE = struct.Struct(">II")
_ADDRESSES = struct.Struct(">II")


def _esp_packets(data: bytes) -> Iterator[EspPacket]:
    if len(data) < 24 or data[:4] not in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        raise ValueError("not a little-endian pcap file")
    fraction = 1e-6 if data[0] == 0xD4 else 1e-9
    view = memoryview(data)
    offset, end = 24, len(data)
    record, spi_sequence, addresses = _RECORD.unpack_from, _SPI_SEQUENCE.unpack_from, _ADDRESSES.unpack_from
    while offset + 16 <= end:
        seconds, parts, captured, wire = record(data, offset)
        frame = offset + 16
        offset = frame + captured
        if offset > end:
            return
        esp = _esp_offset(data, frame, captured)
        if esp:
            source, destination = addresses(data, frame + 26)
            spi, sequence = spi_sequence(data, esp)
            yield EspPacket(seconds + parts * fraction, data[frame + 6:frame + 12], source, destination, spi, sequence,
                            view[frame:offset], wire)


def _esp_offset(data: bytes, frame: int, captured: int) -> int:
    """Where the SPI is, or 0 when the frame holds no ESP: ARP, IKE (four zero bytes first), a keepalive (one byte)."""
    if captured < 14 + 20 + 8 or data[frame + 12] != 0x08 or data[frame + 13] != 0:
        return 0
    protocol = data[frame + 23]
    offset = frame + 14 + (data[frame + 14] & 15) * 4
    if protocol == 17:
        offset += 8
    elif protocol != 50:
        return 0
    if offset + 8 > frame + captured or data[offset:offset + 4] == b"\0\0\0\0":
        return 0
    return offset


def address(text: str) -> int:
    return int(IPv4Address(text))


def mac_text(mac: bytes) -> str:
    return mac.hex(":")
