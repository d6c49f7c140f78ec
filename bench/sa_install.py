#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a CHILD_SA of a real charon takes until every shadow cache has it, between processes.

usage: bench/sa_install.py OUT.json [REKEYS]

Builds the lab's cluster (root): an owner with charon, a backup and three targets, each a process in a network namespace of
its own, linked by gRPC with mutual TLS. Then the client's strongSwan rekeys its CHILD_SA again and again. The owner's
`testudo status` says how long its SAs took, from charon's add_sa to the last acknowledgement (sa_install_ms). How long
a round trip takes without Testudo is measured beside it: a byte there and back over TCP between two of the namespaces.
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# pylint: disable=wrong-import-position
from lab import quickstart, wait  # noqa: E402
from lab.quickstart import Quickstart  # noqa: E402

NAME = "sa-install"
_SERVER = """\
import socket
listener = socket.create_server(("10.77.0.11", 7777))
connection, _ = listener.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := connection.recv(1):
    connection.sendall(data)
"""
_CLIENT = """\
import socket, time, json
for _ in range(100):
    try:
        connection = socket.create_connection(("10.77.0.11", 7777))
        break
    except OSError:
        time.sleep(0.02)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
times = []
for _ in range(500):
    started = time.perf_counter()
    connection.sendall(b"x")
    connection.recv(1)
    times.append(1e3 * (time.perf_counter() - started))
    time.sleep(0.002)
times.sort()
print(json.dumps({"p50": times[250], "p99": times[495]}))
"""


def round_trip(cluster: Quickstart) -> dict:
    server = cluster.hosts["t1"].popen("python3", "-c", _SERVER)
    try:
        return json.loads(cluster.hosts["owner"].run("python3", "-c", _CLIENT).stdout)
    finally:
        server.terminate()
        server.wait()


def settled(cluster: Quickstart) -> dict | None:
    """All SAs that are there are at all members."""
    others = sorted(set(cluster.members) - {"owner"})
    sas = cluster.nodes["owner"].query("sa")["sas"]
    if any(sorted(sa["shadows"]) != others for sa in sas):
        return None
    return cluster.nodes["owner"].query("status")["sa_install_ms"]


def main() -> int:
    out = pathlib.Path(sys.argv[1])
    rekeys = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    quickstart.down(NAME)
    try:
        with Quickstart.up(NAME) as cluster:
            cluster.client_charon.initiate("web")
            plain = round_trip(cluster)
            for _ in range(rekeys):
                cluster.client_charon.swanctl("--rekey", "--child", "web")
            # An inbound and an outbound SA each time, if charon was not busy with the last one.
            status = wait.until("the last SA to be everywhere", lambda: settled(cluster))
    finally:
        quickstart.down(NAME)
    result = {"rekeys": rekeys, "members": len(Quickstart.members) - 1, "round_trip": plain, **status}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
