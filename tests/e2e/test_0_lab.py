# SPDX-License-Identifier: Apache-2.0
"""The tests' own tools against a stock strongSwan in the place of the cluster: what fails here is not Testudo's."""
import pytest

from forge import Forger, tcp
from lab import inject, network, process, quickstart, wait
from lab.capture import Capture, address, read_esp
from lab.http import Download, get_names
from lab.pair import Pair
from lab.quickstart import CLIENT_ADDRESS, DVIPA, SLOW_FILE_BYTES
from lab.replay_judge import judge_each
from lab.state import LabState, labs

NAME = "selftest"


@pytest.fixture(scope="module")
def pair():
    quickstart.down(NAME)
    with Pair.up(NAME) as running:
        running.client_charon.initiate("web")
        yield running


@pytest.fixture
def capture(pair):
    with Capture(pair.client, "lan", pair.state.tmpfs / "pair.pcap") as running:
        yield running


def from_server(capture: Capture) -> list:
    return [packet for packet in read_esp(capture.path) if packet.source == address(DVIPA)]


def test_client_reaches_a_peer_whose_address_is_the_tunnels_other_end(pair):
    answers = get_names(pair.client, DVIPA, 10)
    assert answers.failed == 0 and answers.served_by["server"] == 10


def test_capture_sees_packets_of_wire_size_in_order(pair, capture):
    download = Download.start(pair.client, f"http://{DVIPA}/slow", pair.state.tmpfs / "slow-here")
    assert download.served_by() == "server"
    assert download.finish(60) == "" and download.bytes == SLOW_FILE_BYTES
    packets = from_server(capture)
    assert len(packets) > SLOW_FILE_BYTES // 1400
    assert max(packet.wire_bytes for packet in packets) <= 1514
    [verdict] = judge_each([(packet.spi, packet.sequence) for packet in packets], 32).values()
    assert (verdict.duplicates, verdict.refused) == (0, 0)


def test_capture_sees_a_train_as_packets(pair, capture):
    """UDP_SEGMENT (103): the sender's kernel call takes 40 packets at once, the client's link shows each."""
    pair.server.run("/usr/bin/python3", "-c", f"""
import socket
train = b"".join((7).to_bytes(4, "big") + number.to_bytes(4, "big") + bytes(1392) for number in range(1, 41))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x42)  # around the server's own tunnel
    sender.setsockopt(socket.SOL_UDP, 103, 1400)
    sender.sendto(train, ("{CLIENT_ADDRESS}", 4500))
""")
    wait.until("40 packets", lambda: len([packet for packet in from_server(capture) if packet.spi == 7]) == 40)
    assert {packet.wire_bytes for packet in from_server(capture) if packet.spi == 7} == {14 + 20 + 8 + 1400}


def test_forged_syn_is_answered(pair, capture):
    """So the forger's packets are right unless they are made wrong on purpose."""
    pair.client_charon.swanctl("--terminate", "--ike", "dvipa")
    pair.client_charon.initiate("web")
    forger = Forger.of(pair)
    before = len(from_server(capture))
    inject.send_ip(pair.client, [forger.esp(tcp(CLIENT_ADDRESS, 5999, DVIPA, 80), forger.next_number())])
    wait.until("an answer", lambda: len(from_server(capture)) > before)


def test_frames_are_sent_as_they_are(pair, capture):
    get_names(pair.client, DVIPA, 1)
    sent = [packet for packet in read_esp(capture.path) if packet.destination == address(DVIPA)]
    inject.send_frames(pair.client, "lan", [bytes(sent[-1].frame)])
    wait.until("the frame to be on the link twice", lambda: [
        bytes(packet.frame) for packet in read_esp(capture.path)].count(bytes(sent[-1].frame)) == 2)


def test_clear_connections_go_around_the_tunnel(pair):
    """The stock peer has no filter: they are established, with nothing in ESP."""
    assert inject.connect_in_the_clear(pair.client, DVIPA, 80, attempts=3) == 3


def test_processes_are_known_by_start_time(pair):
    started = process.remembered(pair.state)
    assert all(entry.alive() for entry in started if entry.label.endswith("charon"))
    impostor = process.Process("impostor", started[0].pid, started[0].start_ticks + 1, "")
    assert not impostor.alive()


def test_down_removes_what_another_process_made():
    state = LabState("leftover")
    quickstart.down("leftover")
    pair = Pair.up("leftover")
    children = process.remembered(state)
    del pair
    assert quickstart.down("leftover")
    assert "leftover" not in labs() and not state.exists()
    assert not any(child.alive() for child in children)
    assert not [name for name in network.namespaces() if name.startswith("testudo-leftover-")]
