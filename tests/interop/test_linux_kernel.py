# SPDX-License-Identifier: Apache-2.0
"""A real Linux kernel as the client: what it negotiates, sends and receives is judged by its own XFRM, not by us."""
from contextlib import contextmanager

import pytest

import wireshark
from cases import CASES, Case, KernelSa
from kernel_cluster import FILE_BYTES, KernelCluster
from lab import wait
from lab.capture import Capture, read_esp
from lab.observe import Tally
from lab.replay_judge import judge_each


# Not a disagreement with the kernel: a sender that gets no processor for longer than a lease lives never sends late what
# it has numbered. TCP sends it again.
PREEMPTED = {"lease_expired"}


def refused(statistics: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in statistics.items() if count}


def dropped(during: Tally, but: set[str]) -> dict[str, dict[str, int]]:
    """Node → reason → count."""
    found = {node: {reason: count for reason, count in drops.items() if reason not in but}
             for node, drops in during.all_drops().items()}
    return {node: drops for node, drops in found.items() if drops}


@contextmanager
def nothing_refused(cluster: KernelCluster, but: set[str] = PREEMPTED):
    """Neither by the kernel nor by a node, but for these reasons."""
    before = Tally.take(cluster.nodes)
    yield
    assert refused(cluster.guest.xfrm_statistics()) == {}
    assert dropped(Tally.take(cluster.nodes) - before, but) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_files_arrive(kernel_cluster, case):
    with nothing_refused(kernel_cluster):
        kernel_cluster.negotiate(case)
        with kernel_cluster.capture("files.pcap") as capture:
            assert kernel_cluster.download() == kernel_cluster.file_sha256
            assert kernel_cluster.upload() == kernel_cluster.file_sha256
        states = kernel_cluster.kernel_sas()
        assert len(states) == 2, f"one SA each way: {states}"
        assert [state.differs_from(case) for state in states] == [[], []]
    if wireshark.can_read(case):
        understood_by_wireshark(capture, states)


def understood_by_wireshark(capture: Capture, states: list[KernelSa]) -> None:
    """What was on the link is right for a third implementation as well, and it was the files."""
    packets = wireshark.read(capture.path, [wireshark.esp_sa_line(state) for state in states])
    assert [packet for packet in packets if packet.wrong] == []
    for state in states:
        assert sum(packet.tcp_bytes for packet in packets if packet.spi == state.spi) >= FILE_BYTES


def test_hosts_that_send_at_once_stay_in_a_small_window(kernel_cluster):
    """Four targets send on one SA to a kernel with a replay window of 32. It refuses nothing."""
    with nothing_refused(kernel_cluster):
        kernel_cluster.negotiate(Case("aes128gcm16"))
        inbound = {state.spi: state for state in kernel_cluster.kernel_sas() if state.source == kernel_cluster.dvipa}
        assert [state.replay_window for state in inbound.values()] == [32]
        with kernel_cluster.capture("at-once.pcap") as capture:
            assert kernel_cluster.download_at_once(8) == 8 * [kernel_cluster.file_sha256]
    packets = [packet for packet in read_esp(capture.path) if packet.spi in inbound]
    assert len({packet.source_mac for packet in packets}) == len(kernel_cluster.targets)
    [verdict] = judge_each(((packet.spi, packet.sequence) for packet in packets), 32).values()
    assert verdict.packets > 8 * FILE_BYTES / 1500
    assert (verdict.duplicates, verdict.refused) == (0, 0), f"{verdict}"
    # They did send at once: the numbers came from one host after the other, in small pieces.
    changes = sum(before.source_mac != after.source_mac for before, after in zip(packets, packets[1:]))
    assert changes > 100, f"{changes} changes of the sender in {verdict}"


def test_rekeys_lose_nothing(kernel_cluster):
    """A kernel refuses what comes by an SA that it has deleted. Raw ESP, rekeyed by both ends in the midst of a download."""
    with nothing_refused(kernel_cluster):
        kernel_cluster.negotiate(Case("aes128gcm16"))
        before = {state.spi for state in kernel_cluster.kernel_sas()}
        assert kernel_cluster.download_slowly([
            lambda: kernel_cluster.client_charon.swanctl("--rekey", "--child", "web"),
            lambda: kernel_cluster.owner_charon.swanctl("--rekey", "--child", "web"),
        ]) == kernel_cluster.file_sha256
        # charon leaves the inbound one for packets that are late, for five seconds.
        wait.until("the former SAs to be gone",
                   lambda: not before & {state.spi for state in kernel_cluster.kernel_sas()}, 15)
