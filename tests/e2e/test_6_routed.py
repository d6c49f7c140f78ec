# SPDX-License-Identifier: Apache-2.0
"""A client that is not on the cluster's own network: a narrow link on the way, and a NAT."""
import hashlib
import os

import pytest

from lab import quickstart, wait
from lab.http import get_names
from lab.observe import Tally
from lab.quickstart import DVIPA
from lab.routed import Routed

NAME = "e2e-routed"
BYTES = 3_000_000


@pytest.fixture(scope="module")
def routed():
    quickstart.down(NAME)
    with Routed.up(NAME) as running:
        running.state.tmpfs.joinpath("few").write_bytes(os.urandom(BYTES))
        running.client_charon.initiate("web")
        yield running


def curl(routed, *arguments):
    return routed.client.run("curl", "-sS", "--noproxy", "*", "-m", "60", *arguments, timeout=70).stdout


def download(routed) -> str:
    """From which target the whole file came."""
    headers = curl(routed, "-D", "-", "-o", "/dev/null", "-w", "size=%{size_download}", f"http://{DVIPA}/few")
    assert f"size={BYTES}" in headers
    return next(line.split()[1] for line in headers.splitlines() if line.startswith("X-Served-By"))


def test_targets_send_what_fits_the_path(routed):
    """The router's word reaches the owner, and by it every target: the file comes whole, and soon nothing is too big."""
    before = Tally.take(routed.nodes)
    assert {download(routed) for _ in range(6)} == set(routed.targets)
    assert (Tally.take(routed.nodes) - before).of("owner", "inbound.path_mtu_hints") > 0
    learned = routed.too_bigs()
    assert learned > 0
    assert {download(routed) for _ in range(4)} == set(routed.targets)
    assert routed.too_bigs() == learned


def test_packets_that_come_in_fragments_are_put_together(routed):
    """The client's packets grow by ESP beyond its own link's MTU."""
    content = os.urandom(BYTES)
    (routed.client.dir / "content").write_bytes(content)
    before = routed.fragments_sent()
    headers = curl(routed, "-D", "-", "-T", str(routed.client.dir / "content"), f"http://{DVIPA}/upload/content")
    target = next(line.split()[1] for line in headers.splitlines() if line.startswith("X-Served-By"))
    uploaded = routed.nginx[target].uploaded("content").read_bytes()
    assert hashlib.sha256(uploaded).digest() == hashlib.sha256(content).digest()
    assert routed.fragments_sent() > before


def test_a_nats_new_port_is_followed(routed):
    """A NAT that forgets gives the client another port: answers go there as soon as an authentic packet came from it."""
    routed.client_charon.swanctl("--terminate", "--ike", "dvipa")
    routed.translate(20001)
    routed.client_charon.initiate("web")
    assert get_names(routed.client, DVIPA, 8).failed == 0
    routed.translate(20002)
    wait.until("answers to reach the new port", lambda: get_names(routed.client, DVIPA, 1, 1.0).failed == 0, 10)
    answers = get_names(routed.client, DVIPA, 12)
    assert answers.failed == 0, answers.errors
    assert set(answers.served_by) == set(routed.targets)
