# SPDX-License-Identifier: Apache-2.0
"""The owner's node dies in the middle of downloads: its backup goes on with its SAs and its connections (spec G1, G2)."""
import hashlib
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import quickstart, wait
from lab.capture import Capture, address, read_esp
from lab.http import Download, get_names
from lab.quickstart import CLIENT_ADDRESS, DVIPA, PLAIN_DVIPA, Quickstart
from lab.replay_judge import judge_each

NAME = "e2e-takeover"


@pytest.fixture(scope="module")
def cluster():
    quickstart.down(NAME)
    with Quickstart.up(NAME) as running:
        running.client_charon.initiate("web")
        yield running


def serves(cluster, name: str, dvipa: str = DVIPA) -> bool:
    status = cluster.nodes[name].query("status")
    return any(one["address"] == dvipa and one["role"] == "owner" and one["serving"] for one in status["dvipas"])


def start_downloads(cluster, count: int) -> list[Download]:
    folder = cluster.state.tmpfs
    downloads = [Download.start(cluster.client, f"http://{DVIPA}/100mb", folder / f"takeover-{i}") for i in range(count)]
    wait.until("the downloads to be under way", lambda: all(d.bytes > 1_000_000 for d in downloads), 30)
    return downloads


def sha256(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def all_right(cluster, downloads: list[Download]) -> None:
    assert [d.finish(120) for d in downloads] == [""] * len(downloads)
    assert {sha256(d.path) for d in downloads} == {cluster.big_file_sha256}


def twice(path, source: str, destination: str) -> list[tuple[int, int]]:
    """(SPI, sequence number) of packets of one direction that were seen twice in a capture."""
    seen = Counter((p.spi, p.sequence) for p in read_esp(path)
                   if p.source == address(source) and p.destination == address(destination))
    return [number for number, times in seen.items() if times > 1]


def test_owner_killed_in_the_middle_of_downloads(cluster):
    """Not a connection breaks, also none of the short requests that come all the while."""
    path = cluster.state.tmpfs / "takeover.pcap"
    with Capture(cluster.client, "lan", path), ThreadPoolExecutor() as pool:
        downloads = start_downloads(cluster, 3)
        requests = pool.submit(get_names, cluster.client, DVIPA, 300, 20.0)
        killed = time.monotonic()
        cluster.processes["owner/node"].signal(signal.SIGKILL)
        wait.until("the backup to serve", lambda: serves(cluster, "backup"), 30)
        served = time.monotonic() - killed
        all_right(cluster, downloads)
        answers = requests.result()
    print(f"the backup serves {served * 1000:.0f} ms after the owner's death")
    assert answers.failed == 0, answers
    assert set(answers.served_by) == set(cluster.targets)
    assert twice(path, DVIPA, CLIENT_ADDRESS) == []
    assert get_names(cluster.client, PLAIN_DVIPA, 12).failed == 0


def test_the_client_negotiates_with_the_new_owner(cluster):
    """Its IKE SA is lost with the owner's charon. Another one takes its place, and its SAs those that went on."""
    cluster.client_charon.swanctl("--terminate", "--ike", "dvipa", "--force", "--timeout", "1", check=False)
    assert "completed" in cluster.client_charon.initiate("web")
    assert get_names(cluster.client, DVIPA, 12).failed == 0


def move(cluster, to: str) -> float:
    """Seconds from the command until the heir serves."""
    asked = time.monotonic()
    cluster.nodes["t1"].query("dvipa move", "--to", to, DVIPA)
    wait.until(f"{to} to serve", lambda: serves(cluster, to), 10)
    return time.monotonic() - asked


def test_moved_as_planned_in_the_middle_of_downloads(cluster):
    """There and back and there again, by a word to any member. Nothing breaks."""
    cluster.start_node("owner")
    wait.until("the owner to have its address back", lambda: serves(cluster, "owner"), 60)
    path = cluster.state.tmpfs / "moves.pcap"
    with Capture(cluster.client, "lan", path), ThreadPoolExecutor() as pool:
        downloads = start_downloads(cluster, 3)
        requests = pool.submit(get_names, cluster.client, DVIPA, 300, 20.0)
        for to in ("backup", "owner") * 3:
            move(cluster, to)
            time.sleep(0.5)
        all_right(cluster, downloads)
        answers = requests.result()
    assert answers.failed == 0, answers
    assert twice(path, DVIPA, CLIENT_ADDRESS) == []
