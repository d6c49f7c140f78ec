# SPDX-License-Identifier: Apache-2.0
"""Frames and connections that no honest client would send.

    send_frames(client, "lan", [packet.frame for packet in captured])
    connect_in_the_clear(client, "192.0.2.100", 80)
"""
import json
import select
import socket
import sys
import time

from lab.certificates import REPOSITORY
from lab.host import LabHost

_MARK = 0x42  # what the client's charon marks its own packets with: they go around the tunnel


def send_frames(host: LabHost, interface: str, frames: list[bytes]) -> None:
    """Puts Ethernet frames on the link, byte by byte as they are."""
    _in(host, {"do": "frames", "interface": interface, "frames": [bytes(frame).hex() for frame in frames]})


def send_ip(host: LabHost, packets: list[bytes]) -> None:
    """Sends IPv4 packets, headers included; the kernel finds the next hop."""
    _in(host, {"do": "ip", "packets": [bytes(packet).hex() for packet in packets]})


def connect_in_the_clear(host: LabHost, address: str, port: int, attempts: int = 3, seconds: float = 1.0) -> int:
    """TCP connections past the IPsec tunnel, all at once. Returns how many were established within `seconds`."""
    return _in(host, {"do": "connect", "address": address, "port": port, "attempts": attempts, "seconds": seconds})


def _in(host: LabHost, order: dict) -> int:
    done = host.run("/usr/bin/python3", "-m", "lab.inject", text=json.dumps(order),
                    env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"})
    return json.loads(done.stdout)


# ---- below: in the host's namespace ----

def _send_frames(order: dict) -> int:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((order["interface"], 0))
        return sum(link.send(bytes.fromhex(frame)) > 0 for frame in order["frames"])


def _send_ip(order: dict) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK)
        packets = [bytes.fromhex(packet) for packet in order["packets"]]
        return sum(raw.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0)) > 0 for packet in packets)


def _connect(order: dict) -> int:
    opened = [socket.socket() for _ in range(order["attempts"])]
    for client in opened:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK)
        client.setblocking(False)
        client.connect_ex((order["address"], order["port"]))
    deadline = time.monotonic() + order["seconds"]
    waiting, established = list(opened), 0
    while waiting and (left := deadline - time.monotonic()) > 0:
        _, writable, _ = select.select([], waiting, [], left)
        established += sum(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 for client in writable)
        waiting = [client for client in waiting if client not in writable]
    return established


def main() -> None:
    order = json.load(sys.stdin)
    print({"frames": _send_frames, "ip": _send_ip, "connect": _connect}[order["do"]](order))


if __name__ == "__main__":
    main()
