# SPDX-License-Identifier: Apache-2.0
"""What a node writes with `[debug] key-log` is what Wireshark needs."""
import pytest

import wireshark
from cases import TRANSPORT, TUNNEL, Case
from kernel_cluster import FILE_BYTES, KernelCluster
from lab.capture import Capture
from manual import Keys, ManualSas
from test_manual_sas import loaded


def read_with_key_log(cluster: KernelCluster, capture: Capture, spis: set[int]) -> None:
    for node in cluster.nodes.values():  # an owner has the keys of all, a target those of its shadows
        table = cluster.key_log(node)
        assert table.stat().st_mode & 0o777 == 0o600
        packets = wireshark.read(capture.path, table=table)
        assert [packet for packet in packets if packet.wrong] == []
        assert {packet.spi for packet in packets} == spis
        assert sum(packet.tcp_bytes for packet in packets) >= FILE_BYTES


@pytest.mark.parametrize("case", [Case("aes128gcm16"), Case("aes128gcm16", udp=True), Case("aes256-sha512", TRANSPORT),
                                  Case("aes192ctr-sha384")], ids=lambda case: case.id)
def test_negotiated(kernel_cluster, case):
    kernel_cluster.negotiate(case)
    with kernel_cluster.capture("key-log.pcap") as capture:
        assert kernel_cluster.download() == kernel_cluster.file_sha256
    read_with_key_log(kernel_cluster, capture, {state.spi for state in kernel_cluster.kernel_sas()})


def test_manual_ah_over_esp(kernel_cluster):
    # SPIs of their own: of two lines for one SPI Wireshark takes the first.
    sas = ManualSas(TUNNEL, to_dvipa=Keys(0x4001), to_client=Keys(0x3001))
    with loaded(kernel_cluster, sas), kernel_cluster.capture("key-log.pcap") as capture:
        assert kernel_cluster.download() == kernel_cluster.file_sha256
    read_with_key_log(kernel_cluster, capture, {sas.to_dvipa.spi + 1, sas.to_client.spi + 1})


def test_it_is_loud(kernel_cluster):
    owner = kernel_cluster.nodes["owner"]
    assert any("key-log is on" in warning for warning in owner.query("status")["warnings"])
    assert "THE KEYS OF ALL SAS ARE WRITTEN" in owner.log.read_text(encoding="utf-8")
    assert owner.query("counters")["key_log"]["written"] > 0
