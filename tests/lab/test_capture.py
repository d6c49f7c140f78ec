# SPDX-License-Identifier: Apache-2.0
"""The pcap reader, on files written by hand."""
import struct

import pytest

from lab.capture import CaptureReader, address, mac_text, read_esp


def _frame(protocol: int, payload: bytes, options: bytes = b"") -> bytes:
    size = 20 + len(options)
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(payload), 1, 0, 64, protocol, 0)
    ethernet = bytes.fromhex("020000000001" "020000000002" "0800")
    return ethernet + head + bytes([192, 0, 2, 100, 192, 0, 2, 10]) + options + payload


def _esp(spi: int, sequence: int) -> bytes:
    return struct.pack(">II", spi, sequence) + bytes(40)


def _udp(payload: bytes) -> bytes:
    return struct.pack(">HHHH", 4500, 4500, 8 + len(payload), 0) + payload


def _pcap(*frames: bytes, snap: int = 65535) -> bytes:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snap, 1)
    for number, frame in enumerate(frames):
        data += struct.pack("<IIII", 1000 + number, 500_000, min(len(frame), snap), len(frame)) + frame[:snap]
    return data


@pytest.fixture
def read(tmp_path):
    def reader(data: bytes):
        path = tmp_path / "a.pcap"
        path.write_bytes(data)
        return read_esp(path)
    return reader


def test_esp_in_udp(read):
    [packet] = read(_pcap(_frame(17, _udp(_esp(0x1234, 7)))))
    assert (packet.spi, packet.sequence, packet.time) == (0x1234, 7, 1000.5)
    assert mac_text(packet.source_mac) == "02:00:00:00:00:02"
    assert (packet.source, packet.destination) == (address("192.0.2.100"), address("192.0.2.10"))


def test_raw_esp_and_ip_options(read):
    packets = read(_pcap(_frame(50, _esp(1, 2)), _frame(50, _esp(3, 4), options=b"\x01" * 4)))
    assert [(packet.spi, packet.sequence) for packet in packets] == [(1, 2), (3, 4)]


def test_what_is_no_esp_is_left_out(read):
    ike = _frame(17, _udp(bytes(4) + bytes(28)))
    keepalive = _frame(17, _udp(b"\xff"))
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    tcp = _frame(6, bytes(40))
    assert read(_pcap(ike, keepalive, arp, tcp)) == []


def test_cut_packets_know_their_length(read):
    [packet] = read(_pcap(_frame(50, _esp(1, 2)), snap=50))
    assert (len(packet.frame), packet.wire_bytes) == (50, 82)


def test_a_file_that_grows_is_read_to_its_last_whole_packet(read):
    whole = _pcap(_frame(50, _esp(1, 1)), _frame(50, _esp(1, 2)))
    assert [packet.sequence for packet in read(whole[:-5])] == [1]


def test_a_reader_goes_on_where_it_stopped(tmp_path):
    whole = _pcap(*(_frame(50, _esp(1, number)) for number in range(1, 6)))
    path = tmp_path / "a.pcap"
    reader = CaptureReader(path)
    numbers = []
    for size in (24, 30, 200, 201, 300, len(whole)):
        path.write_bytes(whole[:size])
        numbers += [packet.sequence for packet in reader.more()]
    assert numbers == [1, 2, 3, 4, 5]


def test_another_format_is_refused(read):
    with pytest.raises(ValueError):
        read(b"\x0a\x0d\x0d\x0a" + bytes(100))
