#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long clients see nothing of a DVIPA when its owner is killed, and when it is moved as planned.

usage: bench/availability.py [--rounds N] [--out build/availability.json]

In each round, with three downloads of 100 MB and short requests running: kill -9 of the owner's node, takeover by the
backup; the owner starts again and gets its address back as planned. The gap is the longest time around the event in
which no ESP packet of the DVIPA reaches the client, as a capture on its link shows. Prints a table, and exits 1 if a
connection broke, a download was wrong, or a sequence number came twice.
"""
import argparse
import hashlib
import json
import pathlib
import signal
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import summary  # noqa: E402
from lab import quickstart, wait  # noqa: E402
from lab.capture import Capture, address, read_esp  # noqa: E402
from lab.http import Download, get_names  # noqa: E402
from lab.quickstart import DVIPA, Quickstart  # noqa: E402

NAME = "availability"
DOWNLOADS = 3
GOALS_MS = {"takeover": (500.0, 1000.0), "planned move": (20.0, None)}  # median, 95th percentile


def serves(cluster: Quickstart, name: str) -> bool:
    return any(one["address"] == DVIPA and one["role"] == "owner" and one["serving"]
               for one in cluster.nodes[name].query("status")["dvipas"])


def gap_ms(packets, at: float, until: float) -> float:
    """The longest silence that ends or begins between two moments (seconds since the epoch)."""
    times = [p.time for p in packets if p.source == address(DVIPA)]
    gaps = [(later - earlier) * 1000 for earlier, later in zip(times, times[1:]) if later > at and earlier < until]
    return max(gaps, default=float("inf"))


class Event:
    """Downloads and requests under way, something happens, everything must end well."""

    def __init__(self, cluster: Quickstart):
        self.cluster = cluster
        self.broken: list[str] = []

    def run(self, what, done) -> float:
        cluster, folder = self.cluster, self.cluster.state.tmpfs
        path = folder / "availability.pcap"
        with Capture(cluster.client, "lan", path), ThreadPoolExecutor() as pool:
            downloads = [Download.start(cluster.client, f"http://{DVIPA}/100mb", folder / f"body-{i}")
                         for i in range(DOWNLOADS)]
            wait.until("the downloads to be under way", lambda: all(d.bytes > 500_000 for d in downloads), 30)
            requests = pool.submit(get_names, cluster.client, DVIPA, 200, 20.0)
            began = time.time()
            what()
            wait.until("somebody to serve", done, 60)
            ended = time.time()
            self.broken += [error for d in downloads if (error := d.finish(120))]
            answers = requests.result()
        for download in downloads:
            with open(download.path, "rb") as body:
                if hashlib.file_digest(body, "sha256").hexdigest() != cluster.big_file_sha256:
                    self.broken.append(f"{download.path.name} is not what was sent")
        if answers.failed:
            self.broken.append(f"{answers.failed} requests failed: {answers.errors}")
        packets = read_esp(path)
        numbers = Counter((p.spi, p.sequence) for p in packets if p.source == address(DVIPA))
        if twice := [number for number, times in numbers.items() if times > 1]:
            self.broken.append(f"numbers that came twice: {twice[:5]}")
        return gap_ms(packets, began, ended + 1)


def measure(rounds: int) -> tuple[dict[str, list[float]], list[str]]:
    gaps: dict[str, list[float]] = {"takeover": [], "planned move": []}
    quickstart.down(NAME)
    with Quickstart.up(NAME) as cluster:
        cluster.client_charon.initiate("web")
        event = Event(cluster)
        for _ in range(rounds):
            gaps["takeover"].append(event.run(lambda: cluster.processes["owner/node"].signal(signal.SIGKILL),
                                              lambda: serves(cluster, "backup")))
            wait.until("the owner's process to be gone", lambda: not cluster.processes["owner/node"].alive())
            gaps["planned move"].append(event.run(lambda: cluster.start_node("owner"),
                                                  lambda: serves(cluster, "owner")))
        return gaps, event.broken


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def rows(gaps: dict[str, list[float]]) -> list[dict]:
    return [summary.row(f"{name}, gap, {figure}", value, "ms", goal=goal, most=True)
            for name, values in gaps.items()
            for figure, value, goal in zip(("median", "p95"), (statistics.median(values), percentile(values, 0.95)),
                                           GOALS_MS[name])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/availability.json")
    options = parser.parse_args()
    gaps, broken = measure(options.rounds)
    table = rows(gaps)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"rows": table, "gaps_ms": gaps, "broken": broken}, indent=1) + "\n")
    for row in table:
        goal = "" if row["goal"] is None else f"goal {row['goal']:g} ms, {'met' if row['ok'] else 'NOT met'}"
        print(f"{row['name']:28} {row['value']:8.1f} ms  {goal}")
    for line in broken:
        print(f"broken: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
