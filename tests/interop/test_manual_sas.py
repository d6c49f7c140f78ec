# SPDX-License-Identifier: Apache-2.0
"""AH over ESP by manual SAs on both sides: `ip xfrm` in the guest, `testudo sa load` at the owner."""
from contextlib import contextmanager

import pytest

import wireshark
from cases import TRANSPORT, TUNNEL
from kernel_cluster import DVIPAS, FAMILIES, FILE_BYTES, KernelCluster
from lab import wait
from lab.node import program
from manual import ManualSas
from test_linux_kernel import PREEMPTED, nothing_refused

# The route's MTU leaves room for every suite of one header. That both do not fit in IPv6 is told to the connection, once.
LARGE = PREEMPTED | {"too_big"}

MODES = [ManualSas(mode, family) for family in FAMILIES for mode in (TUNNEL, TRANSPORT)]


def sa_command(cluster: KernelCluster, *words: str) -> str:
    owner = cluster.nodes["owner"]
    return owner.host.run(program(), "sa", *words, "--socket", str(owner.control_socket)).stdout


@contextmanager
def loaded(cluster: KernelCluster, sas: ManualSas):
    """Both sides have the SAs, and the targets too; at the end nobody has."""
    cluster.disconnect()
    cluster.dvipa = DVIPAS[sas.family]
    file = cluster.nodes["owner"].host.dir / "manual.toml"
    file.touch(mode=0o600)
    file.write_text(sas.toml(), encoding="utf-8")
    cluster.guest.script(sas.xfrm())
    try:
        assert "2 SAs installed" in sa_command(cluster, "load", str(file))
        wait.until("the targets to have them", lambda: all(
            len(cluster.nodes[target].query("sa")["sas"]) == 2 for target in cluster.targets), 10)
        yield
    finally:
        cluster.guest.script("ip xfrm policy flush; ip xfrm state flush")
        sa_command(cluster, "unload", str(file))


@pytest.mark.parametrize("sas", MODES, ids=lambda sas: sas.id)
def test_files_arrive(kernel_cluster, sas):
    with loaded(kernel_cluster, sas), nothing_refused(kernel_cluster, PREEMPTED if sas.family == 4 else LARGE):
        with kernel_cluster.capture("manual.pcap") as capture:
            assert kernel_cluster.download() == kernel_cluster.file_sha256
            assert kernel_cluster.upload() == kernel_cluster.file_sha256
        esp = [state for state in kernel_cluster.kernel_sas() if state.protocol == "esp"]
        shown = kernel_cluster.nodes["owner"].query("sa")["sas"]
        assert {(sa["origin"], sa["protocol"]) for sa in shown} == {("manual", "AH+ESP")}
    packets = wireshark.read(capture.path, [wireshark.esp_sa_line(state) for state in esp])
    assert [packet for packet in packets if packet.wrong] == []
    for state in esp:
        assert sum(packet.tcp_bytes for packet in packets if packet.spi == state.spi) >= FILE_BYTES


def test_numbers_go_on_when_the_file_is_loaded_again(kernel_cluster):
    """The guest keeps its SAs and their replay windows: were a number to come again, it would be refused."""
    with loaded(kernel_cluster, MODES[0]), nothing_refused(kernel_cluster):
        assert kernel_cluster.download() == kernel_cluster.file_sha256
        file = str(kernel_cluster.nodes["owner"].host.dir / "manual.toml")
        sa_command(kernel_cluster, "unload", file)
        sa_command(kernel_cluster, "load", file)
        assert kernel_cluster.download() == kernel_cluster.file_sha256
