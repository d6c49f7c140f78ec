# SPDX-License-Identifier: Apache-2.0
"""What an operator asks and checks: `testudo status|sa|connections|counters`, `testudo check`."""
import json
import re
import subprocess

import pytest

from lab.node import program

QUERIES = ("status", "sa", "connections", "counters")


@pytest.mark.parametrize("what", QUERIES)
def test_every_node_answers_in_json_and_in_text(connected, what):
    for name, node in connected.nodes.items():
        assert isinstance(node.query(what), dict), name
        text = node.host.run(program(), what, "--socket", str(node.control_socket)).stdout
        assert text.strip(), name


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
