# SPDX-License-Identifier: Apache-2.0
"""Packets that must be dropped: each is counted under its reason, once, and nothing else is disturbed."""
import struct

import pytest

from forge import Forger, esp_of, ipv4, tcp, udp, udp_encapsulated
from lab import inject, wait
from lab.capture import mac_text
from lab.claims import from_dvipa, to_dvipa
from lab.http import Download, get_names
from lab.observe import Tally
from lab.quickstart import CLIENT_ADDRESS, DVIPA, PLAIN_DVIPA

OTHER_CLIENT = "192.0.2.77"


@pytest.fixture
def forger(run, connected):
    """With a new SA, which the client has initiated and used."""
    connected.client_charon.swanctl("--terminate", "--ike", "dvipa")
    connected.client_charon.initiate("web")
    assert get_names(connected.client, DVIPA, 1).failed == 0
    return Forger.of(connected, to_dvipa(run.captured())[-1].sequence)


def refused(cluster, packets: list[bytes], *reasons: str, sender: str = "client") -> None:
    """Each packet is dropped for one of `reasons`, nothing is dropped for another one, and service goes on."""
    before = Tally.take(cluster.nodes)
    inject.send_ip(cluster.hosts[sender], packets)

    def counted() -> int:
        return (Tally.take(cluster.nodes) - before).dropped(*reasons)

    try:
        wait.until("the drops to be counted", lambda: counted() >= len(packets), 5.0)
    except wait.TimedOut:
        pass
    difference = Tally.take(cluster.nodes) - before
    assert counted() == len(packets), \
        f"{len(packets)} packets, to be dropped for {' or '.join(reasons)}: {difference.all_drops()}"
    assert sum(sum(by_reason.values()) for by_reason in difference.all_drops().values()) == len(packets), \
        difference.all_drops()
    assert get_names(cluster.client, DVIPA, 3).failed == 0


def test_truncated(forger, connected):
    whole = forger.esp(tcp(CLIENT_ADDRESS, 5000, DVIPA, 80), forger.next_number())
    esp = whole[28:]
    refused(connected, [udp_encapsulated(esp[:length]) for length in (9, 15, 20, 31)], "truncated")


def test_unknown_spi(forger, connected):
    esp = forger.esp(tcp(CLIENT_ADDRESS, 5000, DVIPA, 80), forger.next_number())[28:]
    refused(connected, [udp_encapsulated(struct.pack(">I", forger.spi ^ 0x0101) + esp[4:])], "unknown_spi")


def test_known_spi_from_another_source(forger, connected):
    """With UDP encapsulation a NAT may give the peer another address at any time: only the key tells who it is."""
    esp = forger.esp(tcp(CLIENT_ADDRESS, 5000, DVIPA, 80), forger.next_number(), flip_icv=True)[28:]
    refused(connected, [udp_encapsulated(esp, source=OTHER_CLIENT)], "bad_icv")


def test_wrong_icv_of_a_syn(forger, connected):
    syn = tcp(CLIENT_ADDRESS, 5001, DVIPA, 80)
    refused(connected, [forger.esp(syn, forger.next_number(), flip_icv=True)], "bad_icv")


def test_wrong_icv_in_a_connection_does_not_block_the_genuine_packets(run, forger, connected):
    """Copies of a live connection's packets under numbers that the client will use soon: the ICV does not fit them."""
    download = Download.start(connected.client, f"http://{DVIPA}/slow", connected.state.tmpfs / "forged")
    download.served_by()
    last = to_dvipa(run.captured())[-1]
    esp = esp_of(last)
    forged = [udp_encapsulated(esp[:4] + struct.pack(">I", last.sequence + ahead) + esp[8:])
              for ahead in range(1, 801, 40)]
    before = Tally.take(connected.nodes)
    # Numbers that the client has used by the time the copy arrives are refused as replays.
    refused(connected, forged, "bad_icv", "replay", "replay_too_old")
    assert (Tally.take(connected.nodes) - before).dropped("bad_icv") > 0
    assert download.finish(60) == ""


@pytest.mark.parametrize("padding", [b"\x01\x02\x04", b"\x00" * 3, bytes(range(2, 9))],
                         ids=["1 2 4", "zeroes", "shifted"])
def test_wrong_padding(forger, connected, padding):
    inner = tcp(CLIENT_ADDRESS, 5002, DVIPA, 80)
    padding += bytes(range(len(padding) + 1, len(padding) + 1 + -(len(inner) + len(padding) + 2) % 4))
    refused(connected, [forger.esp(inner, forger.next_number(), padding=padding)], "bad_padding")


def test_inner_source_outside_the_selectors(forger, connected):
    refused(connected, [forger.esp(tcp(OTHER_CLIENT, 5003, DVIPA, 80), forger.next_number())], "not_selected")


def test_inner_destination_outside_the_selectors(forger, connected):
    """The SA of one DVIPA does not open the way to the other one, nor to the owner itself."""
    inner = [tcp(CLIENT_ADDRESS, 5004, destination, 80) for destination in (PLAIN_DVIPA, "192.0.2.1")]
    refused(connected, [forger.esp(packet, forger.next_number()) for packet in inner], "not_selected", "not_for_dvipa")


def test_inner_packet_malformed(forger, connected):
    good = tcp(CLIENT_ADDRESS, 5005, DVIPA, 80)
    inner = [b"\x46" + good[1:21], good[:12], b"\x65" + good[1:]]
    refused(connected, [forger.esp(packet, forger.next_number()) for packet in inner],
            "truncated", "malformed", "unsupported", "not_selected")


def test_segment_of_no_connection(run, forger, connected):
    """Genuine, so it reaches the owner's own kernel, whose RST goes back through the SA."""
    owners = next(mac for mac, name in connected.macs.items() if name == "owner")

    def from_owner() -> int:
        return sum(mac_text(packet.source_mac) == owners for packet in from_dvipa(run.captured()))

    before, answered = Tally.take(connected.nodes), from_owner()
    inject.send_ip(connected.client, [
        forger.esp(tcp(CLIENT_ADDRESS, 5006, DVIPA, 80, flags=0x10), forger.next_number())])
    wait.until("the owner to answer", lambda: from_owner() == answered + 1)
    assert not (Tally.take(connected.nodes) - before).all_drops()
    assert get_names(connected.client, DVIPA, 3).failed == 0


def test_syn_twice_with_one_number(forger, connected):
    packet = forger.esp(tcp(CLIENT_ADDRESS, 5007, DVIPA, 80), forger.next_number())
    inject.send_ip(connected.client, [packet])
    refused(connected, [packet], "replay")


# ---- on the XCF segment ----

def gre_in_udp(source: str, destination: str, inner: bytes, epoch: int, flags: int = 0) -> bytes:
    head = struct.pack(">HHII", 0x3000, 0x0800, (epoch & 0xFFFFFF) << 8 | flags, 0)
    return udp(source, 50_000, destination, 4754, head + inner)


def test_forwarded_packet_of_a_stale_epoch(run, forger, connected):
    esp = ipv4(CLIENT_ADDRESS, DVIPA, 50, esp_of(to_dvipa(run.captured())[-1]))
    refused(connected, [gre_in_udp("10.77.0.1", "10.77.0.11", esp, epoch=0xABCDEF)], "stale_epoch", sender="owner")


def test_forwarded_packet_from_no_member(run, forger, connected):
    esp = ipv4(CLIENT_ADDRESS, DVIPA, 50, esp_of(to_dvipa(run.captured())[-1]))
    refused(connected, [gre_in_udp("10.77.0.100", "10.77.0.11", esp, epoch=1)], "not_xcf", sender="etcd")


def fast_lease_request(cluster, sender: str, epoch: int) -> bytes:
    """As src/wire/fast.h lays it out: header, then one request for eight numbers."""
    status = cluster.nodes["owner"].query("status")
    node_id = next(member["id"] for member in status["members"] if member["name"] == sender)
    sa = next(sa["id"] for sa in cluster.nodes["owner"].query("sa")["sas"] if sa["direction"] == "out")
    head = struct.pack(">2sBBHHI10xH4sQ", b"Tf", 2, 1, node_id, 1, 1, 0xffff, bytes(map(int, DVIPA.split("."))), epoch)
    return head + struct.pack(">QQQQH", sa, 0, 1, 0, 8)  # SA, last of the returned lease, id, returned, wanted


def current_epoch(cluster) -> int:
    return next(dvipa["epoch"] for dvipa in cluster.nodes["owner"].query("status")["dvipas"]
                if dvipa["address"] == DVIPA)


def test_lease_request_of_a_stale_epoch(forger, connected):
    message = fast_lease_request(connected, "t1", current_epoch(connected) - 1)
    refused(connected, [udp("10.77.0.11", 4755, "10.77.0.1", 4755, message)], "stale_epoch", sender="t1")


def test_lease_request_in_the_name_of_another_member(forger, connected):
    message = fast_lease_request(connected, "t2", current_epoch(connected))
    refused(connected, [udp("10.77.0.11", 4755, "10.77.0.1", 4755, message)], "not_xcf", sender="t1")


@pytest.mark.parametrize("message", [b"", b"Tf", b"Tf\x02\x01" + bytes(32), b"Tf\x09\x01" + bytes(66), bytes(1400)],
                         ids=["empty", "head", "no entry", "version 9", "zeroes"])
def test_fast_message_that_is_none(forger, connected, message):
    refused(connected, [udp("10.77.0.11", 4755, "10.77.0.1", 4755, message)], "malformed", "truncated", "unsupported",
            "not_xcf", sender="t1")
