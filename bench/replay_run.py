#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Four targets send at once on one SA to an unmodified strongSwan; every packet of it is judged on the client's link.

usage: bench/replay_run.py [--packets N] [--seconds N] [--downloads N] [--json FILE] [--keep-logs DIRECTORY]

Builds the lab's cluster with four targets (root), has the client download through its one tunnel from all of them, and
lets bench_replay_audit count, before anything is decrypted, what a receiver with a replay window of 32, 64 or 128
packets would refuse. Goal: no number twice, and at most 1 in 100,000 that a window of 32 would refuse. Exits 0 when it
is met and the capture has lost nothing, 1 otherwise. Removes the cluster in any case.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# pylint: disable=wrong-import-position
from lab import quickstart, wait  # noqa: E402
from lab.node import BUILD  # noqa: E402
from lab.observe import Tally  # noqa: E402
from lab.quickstart import CLIENT_ADDRESS, DVIPA, ETCD_ADDRESS, Quickstart  # noqa: E402
from lab.topology import Host, Segment, Topology  # noqa: E402

NAME = "replay"
REFUSED_PER_PACKET_MAX = 1e-5
WINDOW = "32"


class FourTargets(Quickstart):
    """The quickstart cluster with one more target and no second DVIPA."""

    members = {"owner": 1, "backup": 2, "t1": 11, "t2": 12, "t3": 13, "t4": 14}
    targets = ("t1", "t2", "t3", "t4")
    dvipas = (DVIPA,)

    @classmethod
    def describe_topology(cls, name: str) -> Topology:
        hosts = [Host("client", {"lan": CLIENT_ADDRESS}, wire_size=frozenset({"lan"})),
                 Host("etcd", {"xcf": ETCD_ADDRESS})]
        hosts += [Host(member, {"lan": f"192.0.2.{number}", "xcf": f"10.77.0.{number}"})
                  for member, number in cls.members.items()]
        return Topology(name, [Segment("lan", "192.0.2.0/24"), Segment("xcf", "10.77.0.0/24", mtu=9000)], hosts)

    def _filters(self) -> str:
        return f'[[filter]]\ndvipa = "{DVIPA}"\naction = "protect"\n'

    def _definition_block(self, owner: bool) -> str:
        first = f"VIPADEFINE MOVEABLE IMMEDIATE 255.255.255.0 {DVIPA}" if owner else f"VIPABACKUP 100 {DVIPA}"
        destinations = " ".join(f"10.77.0.{self.members[target]}" for target in self.targets)
        return (f"VIPADYNAMIC\n  {first}\n  VIPADISTRIBUTE DEFINE {DVIPA} PORT 80 DESTIP {destinations}\n"
                "ENDVIPADYNAMIC\n")


def load(cluster: Quickstart, downloads: int) -> subprocess.Popen:
    """So many clients, each of which downloads the big file again and again, over a new connection each time."""
    one = f"while :; do curl -s --noproxy '*' --connect-timeout 5 -o /dev/null http://{DVIPA}/100mb || sleep 0.1; done"
    script = "\n".join(f"({one}) &" for _ in range(downloads)) + "\nwait"
    return cluster.client.popen("sh", "-c", script, start_new_session=True)


def audit(cluster: Quickstart, options: argparse.Namespace) -> dict:
    out = cluster.state.path / "audit.json"
    command = (str(BUILD / "bench" / "bench_replay_audit"), "lan", DVIPA, str(options.packets), str(options.seconds),
               str(out))
    listener = cluster.client.start("audit", "nice", "-n", "-10", *command)
    log = pathlib.Path(listener.log)
    wait.until("the audit to listen", lambda: "listening" in log.read_text(encoding="utf-8"))
    before = Tally.take(cluster.nodes)
    clients = load(cluster, options.downloads)
    try:
        wait.until("the audit to end", lambda: not listener.alive(), options.seconds + 30)
    finally:
        os.killpg(clients.pid, 15)
        clients.wait()
    result = json.loads(out.read_text(encoding="utf-8"))
    result["drops"] = (Tally.take(cluster.nodes) - before).all_drops()
    macs = {mac.replace(":", ""): name for mac, name in cluster.macs.items()}
    for sa in result["sas"]:
        sa["senders"] = {macs.get(mac, mac): count for mac, count in sa["senders"].items()}
        for example in sa["examples"]:
            example["neighbours"] = [[us, number, macs.get(mac, mac)] for us, number, mac in example["neighbours"]]
    return result


def judge(result: dict) -> dict:
    total = {"packets": result["packets"], "lost_by_capture": result["lost"], "seconds": round(result["seconds"], 1),
             "duplicates": sum(sa["duplicates"] for sa in result["sas"]),
             "refused": {window: sum(sa["too_old"][window] for sa in result["sas"]) for window in ("32", "64", "128")},
             "deepest": max((sa["deepest"] for sa in result["sas"]), default=0),
             "reordered": sum(sa["reordered"] for sa in result["sas"]),
             "changes_of_sender": sum(sa["changes_of_sender"] for sa in result["sas"]), "drops": result["drops"]}
    senders: dict[str, int] = {}
    for sa in result["sas"]:
        for name, count in sa["senders"].items():
            senders[name] = senders.get(name, 0) + count
    total["senders"] = senders
    allowed = int(result["packets"] * REFUSED_PER_PACKET_MAX)
    total["ok"] = (total["duplicates"] == 0 and total["refused"][WINDOW] <= allowed and result["lost"] == 0
                   and result["packets"] > 0)
    return total


def story(result: dict) -> str:
    """The first refused packets with what came before and after them."""
    lines = []
    for sa in result["sas"]:
        for example in sa["examples"]:
            what = "again" if example["duplicate"] else "too late"
            lines.append(f"SA {sa['spi']}: {example['sequence']} came {what}, {example['behind']} behind the newest, which"
                         f" was there for {example['newest_for_us']} us:")
            lines += [f"    {us:>8} us  {number:>10}  {sender}" for us, number, sender in example["neighbours"]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=120, help="at most")
    parser.add_argument("--downloads", type=int, default=8, help="at the same time")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/bench/replay.json")
    parser.add_argument("--keep-logs", type=pathlib.Path)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("replay_run: error: needs root: it makes network namespaces")
    quickstart.down(NAME)
    try:
        with FourTargets.up(NAME, keep_on_failure=True) as cluster:
            cluster.client_charon.initiate("web")
            result = audit(cluster, options)
            if options.keep_logs:
                shutil.copytree(cluster.state.path / "hosts", options.keep_logs, dirs_exist_ok=True,
                                ignore=lambda folder, names: [n for n in names if (pathlib.Path(folder) / n).is_socket()])
    finally:
        quickstart.down(NAME)
    result["total"] = judge(result)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(story(result))
    print(json.dumps(result["total"], indent=1))
    return 0 if result["total"]["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
