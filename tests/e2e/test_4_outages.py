# SPDX-License-Identifier: Apache-2.0
"""Parts that go away, come back, or should never have been let in."""
import signal
import subprocess
import time

import pytest

from lab import wait
from lab.http import get_names
from lab.node import program
from lab.quickstart import DVIPA, PLAIN_DVIPA


def log_of(cluster, name: str) -> str:
    return cluster.nodes[name].log.read_text(encoding="utf-8", errors="replace")


def test_charon_killed_and_restarted(connected):
    """Its SAs stay: traffic goes on without it, and after it is back it negotiates again."""
    connected.processes["owner/charon"].signal(signal.SIGKILL)
    wait.until("charon to be gone", lambda: not connected.processes["owner/charon"].alive())
    assert get_names(connected.client, DVIPA, 6).failed == 0
    connected.start_owner_charon()
    assert get_names(connected.client, DVIPA, 6).failed == 0
    connected.client_charon.swanctl("--terminate", "--ike", "dvipa", "--force", "--timeout", "1", check=False)
    wait.until("charon to negotiate again", lambda: "completed" in connected.client_charon.initiate("web"), 10)
    assert get_names(connected.client, DVIPA, 6).failed == 0


def test_etcd_away_for_half_a_minute(connected):
    """Traffic and new connections go on; the nodes say what they cannot do; all is well afterwards."""
    etcd = connected.processes["etcd"]
    before = len(log_of(connected, "owner"))
    etcd.signal(signal.SIGSTOP)
    failed, warned = [], set()
    try:
        stopped = time.monotonic()
        while time.monotonic() - stopped < 30:
            for dvipa, requests in ((DVIPA, 6), (PLAIN_DVIPA, 3)):
                answers = get_names(connected.client, dvipa, requests)
                if answers.failed:
                    failed.append(f"after {time.monotonic() - stopped:.1f} s: {dvipa}: {answers.errors}")
            for name, node in connected.nodes.items():
                status = node.query("status")
                if not status["facility"]["reachable"] and "coupling facility" in " ".join(status["warnings"]):
                    warned.add(name)
            time.sleep(0.5)
    finally:
        etcd.signal(signal.SIGCONT)
    assert not failed
    assert warned == set(connected.nodes), "every node's status says what it cannot do meanwhile"
    assert "coupling facility does not answer" in log_of(connected, "owner")[before:]
    wait.until("the facility to be reachable again", lambda: all(
        node.query("status")["facility"]["reachable"] for node in connected.nodes.values()), 60)
    connected.wait_ready(30)
    assert "rekey completed successfully" in connected.client_charon.swanctl("--rekey", "--child", "web")
    assert get_names(connected.client, DVIPA, 6).failed == 0


def test_target_restarted(connected):
    """It learns VIPAList, SAs and filters again and takes connections as before."""
    connected.processes["t3/node"].stop()
    assert get_names(connected.client, DVIPA, 12).served_by["t3"] == 0
    connected.start_node("t3")
    connected.wait_ready(40)
    answers = get_names(connected.client, DVIPA, 12)
    assert answers.failed == 0 and answers.served_by["t3"] > 0, answers


def start_again(cluster, name: str, config_text: str, seconds: float = 30) -> tuple[int, str]:
    """Runs a second node on a host to its end: its status, and what it said."""
    config = cluster.hosts[name].dir / "second.toml"
    config.write_text(config_text, encoding="utf-8")
    try:
        done = cluster.hosts[name].run(program(), "node", "--config", str(config), check=False, timeout=seconds)
    except subprocess.TimeoutExpired as still_running:
        pytest.fail(f"the second node goes on running: {still_running.stderr}")
    return done.returncode, done.stdout + done.stderr


def test_node_started_twice_on_its_host(connected):
    text = connected.nodes["t1"].config.read_text(encoding="utf-8")
    status, said = start_again(connected, "t1", text)
    assert status != 0 and "already running" in said, said
    assert get_names(connected.client, DVIPA, 12).failed == 0


def test_second_node_with_a_name_that_is_taken(connected):
    """On another host, with addresses of its own: only the name is the same."""
    connected.processes["t3/node"].stop()
    text = connected.nodes["t3"].config.read_text(encoding="utf-8")
    taken = connected.nodes["t2"].config.read_text(encoding="utf-8")
    # It waits as long as a session lasts, in case that its namesake has crashed; here not for a minute.
    text = text.replace("[facility]\n", "[facility]\nsession-ttl-seconds = 3\n")
    for key in ("name", "certificate", "key"):
        ours = next(line for line in text.splitlines() if line.startswith(f"{key} ="))
        theirs = next(line for line in taken.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(ours, theirs)
    try:
        status, said = start_again(connected, "t3", text)
        assert status != 0 and "a node named t2 is already running at 10.77.0.12" in said, said
    finally:
        connected.start_node("t3")
        connected.wait_ready(40)


def test_member_with_a_certificate_of_another_name(connected):
    """A certificate of the cluster's CA, but not of that member: etcd lets it in, XCF does not."""
    connected.processes["t3/node"].stop()
    node = connected.nodes["t3"]
    right = node.config.read_text(encoding="utf-8")
    before = len(log_of(connected, "owner"))
    node.config.write_text(right.replace("t3.crt", "etcd.crt").replace("t3.key", "etcd.key"), encoding="utf-8")
    connected.start_node("t3")
    try:
        wait.until("the owner or the stranger to say that it was refused", lambda: any(
            "refused" in text.lower() or "certificate" in text.lower()
            for text in (log_of(connected, "owner")[before:], log_of(connected, "t3")[-3000:])), 10)
        assert get_names(connected.client, DVIPA, 12).served_by["t3"] == 0
    finally:
        connected.processes["t3/node"].stop()
        node.config.write_text(right, encoding="utf-8")
        connected.start_node("t3")
        connected.wait_ready(40)


def test_daemon_killed_leaves_no_clear_text(connected):
    """Fail closed: with the daemon gone a target answers nothing, least of all in the clear."""
    connected.processes["t1/node"].signal(signal.SIGKILL)
    wait.until("the node to be gone", lambda: not connected.processes["t1/node"].alive())
    capture = connected.hosts["t1"].popen(
        "timeout", "2", "tcpdump", "-i", "lan", "-n", "-l", "--immediate-mode",
        f"src host {DVIPA} or src host {PLAIN_DVIPA}", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    get_names(connected.client, DVIPA, 3, connect_timeout=0.5)
    leaked, _ = capture.communicate()
    assert "192.0.2.10" not in leaked, leaked
    connected.start_node("t1")
    connected.wait_ready(90)  # until the session of the killed one is over
    assert get_names(connected.client, DVIPA, 6).failed == 0
