# SPDX-License-Identifier: Apache-2.0
"""A real Linux kernel as the client: what it negotiates, sends and receives is judged by its own XFRM, not by us."""
import pytest

import wireshark
from cases import CASES
from kernel_cluster import FILE_BYTES
from lab.observe import Tally
from lab.quickstart import DVIPA


# Not a disagreement with the kernel: a sender that gets no processor for longer than a lease lives never sends late what
# it has numbered. TCP sends it again.
PREEMPTED = {"lease_expired"}


def refused(statistics: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in statistics.items() if count}


def dropped(during: Tally) -> dict[str, dict[str, int]]:
    """Node → reason → count."""
    found = {node: {reason: count for reason, count in drops.items() if reason not in PREEMPTED}
             for node, drops in during.all_drops().items()}
    return {node: drops for node, drops in found.items() if drops}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_download(kernel_cluster, case):
    before = Tally.take(kernel_cluster.nodes)
    kernel_cluster.negotiate(case)
    assert kernel_cluster.download() == kernel_cluster.file_sha256
    states = kernel_cluster.kernel_sas()
    assert len(states) == 2, f"one SA each way: {states}"
    assert [state.differs_from(case) for state in states] == [[], []]
    assert refused(kernel_cluster.guest.xfrm_statistics()) == {}
    assert dropped(Tally.take(kernel_cluster.nodes) - before) == {}


# tshark 4.0 knows neither extended sequence numbers nor ChaCha20-Poly1305, and checks nothing in AH.
READABLE = [case for case in CASES if case.protocol == "esp" and not case.esn and "chacha" not in case.proposal]


@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.id)
def test_wireshark_understands_every_packet(kernel_cluster, case):
    """With the keys that the kernel has: what is on the link is right for a third implementation as well."""
    kernel_cluster.negotiate(case)
    with kernel_cluster.capture("download.pcap") as capture:
        assert kernel_cluster.download() == kernel_cluster.file_sha256
    packets = wireshark.read(capture.path, [wireshark.esp_sa_line(state) for state in kernel_cluster.kernel_sas()])
    assert [packet for packet in packets if packet.wrong] == []
    assert sum(packet.tcp_bytes for packet in packets if packet.source == DVIPA) >= FILE_BYTES
