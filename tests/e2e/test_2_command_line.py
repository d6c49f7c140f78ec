# SPDX-License-Identifier: Apache-2.0
"""What an operator asks and checks: `testudo status|sa|connections|counters`, `testudo check`."""
import json
import re
import subprocess

import pytest

from lab.certificates import REPOSITORY
from lab.http import Download, get_names
from lab.node import program
from lab.quickstart import CLIENT_ADDRESS, DVIPA, MEMBERS, PLAIN_DVIPA, TARGETS

from limits import REKEY_BYTES

QUERIES = ("status", "sa", "connections", "counters")


@pytest.mark.parametrize("what", QUERIES)
def test_every_node_answers_in_json_and_in_text(connected, what):
    for name, node in connected.nodes.items():
        assert isinstance(node.query(what), dict), name
        text = node.host.run(program(), what, "--socket", str(node.control_socket)).stdout
        assert text.strip(), name


def test_status_shows_members_owner_epoch_and_ready_targets(connected):
    epochs: dict[str, set[int]] = {}
    for name, node in connected.nodes.items():
        status = node.query("status")
        assert (status["node"], status["cluster"]) == (name, "lab")
        assert {member["name"]: member["xcf_address"] for member in status["members"]} == {
            member: f"10.77.0.{number}" for member, number in MEMBERS.items()}
        assert {member["link"] for member in status["members"] if member["name"] == name} == {"self"}
        assert status["facility"]["reachable"]
        for dvipa in status["dvipas"]:
            assert dvipa["owner"] == "owner"
            assert dvipa["role"] == (name if name in ("owner", "backup") else "target")
            assert dvipa["ports"] == [80]
            epochs.setdefault(dvipa["address"], set()).add(dvipa["epoch"])
    assert epochs.keys() == {DVIPA, PLAIN_DVIPA}
    assert all(len(seen) == 1 and min(seen) > 0 for seen in epochs.values()), epochs
    owner = connected.nodes["owner"].query("status")
    assert all(sorted(dvipa["targets_ready"]["80"]) == list(TARGETS) for dvipa in owner["dvipas"])
    assert owner["ike"] == {"configured": True, "connected": True, "mismatches": []}


def test_sa_shows_both_directions_and_who_has_shadows(connected):
    assert get_names(connected.client, DVIPA, 30).served_by.keys() == set(TARGETS)
    sas = connected.nodes["owner"].query("sa")["sas"]
    assert {sa["direction"] for sa in sas} == {"in", "out"}
    for sa in sas:
        assert sa["dvipa"] == DVIPA and sa["algorithm"] == "AES-GCM-128" and sa["encapsulation"] == "udp"
        assert sorted(sa["shadows"]) == ["backup", *TARGETS]
        assert sa["peer"] == f"{CLIENT_ADDRESS}:4500" and sa["tunnel"]
        assert sa["lifesize"]["soft_bytes"] == REKEY_BYTES
    outbound = next(sa for sa in sas if sa["direction"] == "out")
    assert outbound["mode"] in ("exclusive", "shared")
    assert 0 < outbound["next"] <= outbound["ceiling"] and outbound["leases_outstanding"] >= 0
    for name in TARGETS:
        shadows = connected.nodes[name].query("sa")["sas"]
        assert {sa["spi"] for sa in shadows} == {sa["spi"] for sa in sas}
        assert sum(sa["bytes"] for sa in shadows) > 0


def test_filters_are_the_static_ones_and_charons(connected):
    filters = connected.nodes["owner"].query("sa")["filters"]
    assert {(rule["dvipa"], rule["action"]) for rule in filters if rule["origin"] == "static"} == {
        (DVIPA, "protect"), (PLAIN_DVIPA, "permit")}
    assert any(rule["action"] == "protect" and rule["tunnel"] for rule in filters if rule["origin"] == "dynamic")


@pytest.mark.parametrize("address, ipsec", [(DVIPA, True), (PLAIN_DVIPA, False)])
def test_connections_shows_which_target_has_which(connected, address, ipsec):
    download = Download.start(connected.client, f"http://{address}/slow", connected.state.tmpfs / "listed")
    target = download.served_by()
    listed = [entry for entry in connected.nodes["owner"].query("connections")["connections"]
              if entry["dvipa"] == f"{address}:80" and entry["state"] == "established"]
    assert [(entry["target"], entry["ipsec"], entry["protocol"]) for entry in listed] == [(target, ipsec, "tcp")]
    assert listed[0]["client"].startswith(f"{CLIENT_ADDRESS}:") and listed[0]["packets"] > 0
    assert download.finish(20) == ""


def test_counters_name_every_reason_for_a_drop(connected):
    source = (REPOSITORY / "src" / "base" / "drop.h").read_text(encoding="utf-8")
    reasons = set(re.findall(r'^  X\(k\w+, "(\w+)"', source, re.MULTILINE))
    assert len(reasons) > 20
    for node in connected.nodes.values():
        assert set(node.query("counters")["drops"]) == reasons


def test_no_key_is_shown(connected):
    log = connected.client_charon.log.read_text(encoding="utf-8")
    dumps = re.findall(r"encryption (?:initiator|responder) key => .*\n((?:.*\[CHD\]\s+\d+: .*\n)+)", log)
    keys = ["".join(re.findall(r" ([0-9A-F]{2})(?= )", dump))[:32].lower() for dump in dumps]
    assert keys
    for node in connected.nodes.values():
        shown = "".join(json.dumps(node.query(what)) for what in QUERIES).lower()
        shown += node.log.read_text(encoding="utf-8", errors="replace").lower()
        assert not any(key in shown for key in keys)


def check(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([program(), "check", *arguments], capture_output=True, text=True, check=False, timeout=20)


def test_check_accepts_every_node_file(cluster):
    for name, node in cluster.nodes.items():
        done = check("--config", str(node.config))
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_check_names_file_line_and_statement(cluster, tmp_path):
    node = cluster.nodes["owner"]
    definitions = tmp_path / "vipa.conf"
    lines = node.definitions.read_text(encoding="utf-8").splitlines()
    wrong = next(number for number, line in enumerate(lines) if "VIPADISTRIBUTE" in line)
    lines[wrong] = lines[wrong].replace("PORT 80", "PORT 80000")
    definitions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = tmp_path / "node.toml"
    config.write_text(node.config.read_text(encoding="utf-8").replace(str(node.definitions), str(definitions)),
                      encoding="utf-8")
    done = check("--config", str(config))
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"vipa.conf:{wrong + 1}" in said and "VIPADISTRIBUTE" in said and "65535" in said, said


def test_check_names_the_key_of_a_node_file(cluster, tmp_path):
    text = cluster.nodes["t1"].config.read_text(encoding="utf-8")
    config = tmp_path / "node.toml"
    config.write_text(re.sub(r'^network = .*$', 'netwrok = "lan"', text, flags=re.MULTILINE), encoding="utf-8")
    done = check("--config", str(config))
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(r"node\.toml:\d+", said) and "netwrok" in said, said


def test_check_starts_nothing(cluster):
    before = cluster.nodes["t1"].query("status")
    check("--config", str(cluster.nodes["t1"].config))
    assert cluster.nodes["t1"].query("status").keys() == before.keys()
    assert cluster.processes["t1/node"].alive()
