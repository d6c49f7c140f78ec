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
from typing import NamedTuple

from lab import wait
from lab.host import LabHost
from lab.process import Process

SNAP_BYTES = 256      # enough for a whole small request, so that it can be sent again
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
    snap_bytes: int = SNAP_BYTES
    process: Process | None = None

    def start(self) -> "Capture":
        self.path.unlink(missing_ok=True)
        self.process = self.host.start(
            "tcpdump", "tcpdump", "-i", self.interface, "-n", "-U", "--immediate-mode", "-s", str(self.snap_bytes),
            "-B", str(_BUFFER_KIB), "-Z", "root", "-w", str(self.path), self.filter)
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


class CaptureReader:
    """Reads a capture while it is being written: each call goes on where the one before has ended."""

    def __init__(self, path: Path):
        self._path = path
        self._offset = 0

    def more(self) -> list[EspPacket]:
        """ESP packets, in UDP or not, in the order of arrival, up to the last whole one."""
        with open(self._path, "rb") as file:
            if self._offset == 0:
                self._offset = len(_file_header(file.read(24)))
            file.seek(self._offset)
            data = file.read()
        packets: list[EspPacket] = []
        self._offset += _append_esp(data, packets)
        return packets


def read_esp(path: Path) -> list[EspPacket]:
    """Every ESP packet of a capture."""
    return CaptureReader(path).more()


_RECORD = struct.Struct("<IIII").unpack_from
_ADDRESSES = struct.Struct(">II").unpack_from    # also SPI and sequence number
_ETHERNET, _IPV4, _UDP = 14, 20, 8               # bytes of their headers


def _file_header(data: bytes) -> bytes:
    if len(data) < 24 or data[:4] != b"\xd4\xc3\xb2\xa1":
        raise ValueError("not a little-endian pcap file with microseconds")
    return data


def _append_esp(data: bytes, packets: list[EspPacket]) -> int:
    """Appends the ESP packets among pcap records, and returns how many bytes the whole ones of all records take."""
    view = memoryview(data)
    whole, offset, end = 0, 0, len(data)
    while offset + 16 <= end:
        seconds, microseconds, captured, wire = _RECORD(data, offset)
        frame = offset + 16
        offset = frame + captured
        if offset > end:
            break  # still being written
        whole = offset
        # The common case without a function call: IPv4 without options, UDP, and no zero SPI (IKE's non-ESP marker).
        esp = frame + _ETHERNET + _IPV4 + _UDP
        if not (captured >= 50 and data[frame + 12:frame + 15] == b"\x08\0\x45" and data[frame + 23] == 17):
            esp = _unusual_esp(data, frame, captured)
            if not esp:
                continue
        source, destination = _ADDRESSES(data, frame + 26)
        spi, sequence = _ADDRESSES(data, esp)
        if spi:
            mac = data[frame + 6:frame + 12]
            packets.append(EspPacket(seconds + microseconds * 1e-6, mac, source, destination, spi, sequence,
                                     view[frame:offset], wire))
    return whole


def _unusual_esp(data: bytes, frame: int, captured: int) -> int:
    """Where the SPI is, or 0 when the frame holds no ESP: ARP, a keepalive (one byte), something else."""
    if captured < _ETHERNET + _IPV4 + 8 or data[frame + 12:frame + 14] != b"\x08\0":
        return 0
    protocol = data[frame + 23]
    offset = frame + _ETHERNET + (data[frame + _ETHERNET] & 15) * 4 + (_UDP if protocol == 17 else 0)
    return offset if protocol in (17, 50) and offset + 8 <= frame + captured else 0


def address(text: str) -> int:
    return int(IPv4Address(text))


def mac_text(mac: bytes) -> str:
    return mac.hex(":")
