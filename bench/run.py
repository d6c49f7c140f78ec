#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every benchmark, pinned to one core, and compares with the peers of the same run.

usage: bench/run.py [--seconds N] [--only NAME[,NAME]] [--preset release]

Writes build/bench/PROGRAM.json (Google Benchmark's, or the program's own) and build/bench/summary.json, and prints the
table. --seconds is about how long the whole run takes, at least a minute and a half; the default is 420. Exits 0 when
everything ran, whether or not the goals are met, and 1 when a program failed.
"""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import summary

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build/bench"
REPETITIONS = {True: 9, False: 3}  # against peers; beside the code
# Share of the time; what is left is for making SAs and connections, and for the memory.
PEERS = {"esp": 0.45, "owner": 0.15, "memory": 0.0, "freshness": 0.1}
ELSEWHERE = {"freshness": "sim/freshness/sim_freshness"}  # not in bench/; these are told how long they may take
GOOGLE_BENCHMARK = {"esp", "owner"}
FOLDERS_SHARE = 0.15

# Leases, replay protection, and the way of SAs to the targets.
PEERS |= {"ledger": 0.02, "install": 0.0, "lease_rtt": 0.0}
GOOGLE_BENCHMARK |= {"ledger"}
# Seconds that these take, whatever the time; the shares are of what is left.
FIXED = {"install": 25, "lease_rtt": 7, "sa_install": 25}
# Of processes of the product, in the lab: a script and what it needs.
SCRIPTS = {"sa_install": ("bench/sa_install.py", ["testudo", "strongswan-kernel-testudo"])}


def programs(build: pathlib.Path) -> dict[str, pathlib.Path]:
    """The benchmarks against peers, then those that stand beside the code: src/FOLDER/*_bench.cc."""
    found = {name: build / ELSEWHERE.get(name, f"bench/bench_{name}") for name in PEERS
             if name in ELSEWHERE or (ROOT / f"bench/{name}_main.cc").exists()}
    for folder in sorted({path.relative_to(ROOT / "src").parts[0] for path in ROOT.glob("src/*/**/*_bench.cc")}):
        found[f"{folder}_bench"] = build / f"src/{folder}/{folder}_bench"
    return found | {name: ROOT / script for name, (script, _) in SCRIPTS.items()}


def nice() -> list[str]:
    return ["nice", "-n", "-5"] if os.geteuid() == 0 else []


def pinned(command: list[str]) -> list[str]:
    return [*nice(), "taskset", "-c", str(max(os.sched_getaffinity(0))), *command]


def run(name: str, program: pathlib.Path, seconds: float) -> bool:
    """One program; its JSON goes to OUT/NAME.json."""
    command, target = [str(program)], OUT / f"{name}.json"
    if name in SCRIPTS:
        command = ["/usr/bin/python3", str(program), str(target)]
    elif name in GOOGLE_BENCHMARK or name not in PEERS:
        listed = subprocess.run([*command, "--benchmark_list_tests"], capture_output=True, text=True, check=False)
        cases = max(1, len(listed.stdout.splitlines()))
        # Preparing the packets of a turn takes about twice the time of the turn.
        repetitions = REPETITIONS[name in PEERS]
        each = seconds / cases / repetitions / (3 if name in PEERS else 1)
        command += [f"--benchmark_repetitions={repetitions}", "--benchmark_enable_random_interleaving=true",
                    f"--benchmark_min_time={max(each, 0.001):.4f}", f"--benchmark_out={target}",
                    "--benchmark_out_format=json"]
    else:
        command += ["--seconds", f"{max(seconds, 1):.0f}"] if name in ELSEWHERE else []
        command.append(str(target))
    print(f"bench: {name}", flush=True)
    with (OUT / f"{name}.log").open("w") as log:
        done = subprocess.run([*nice(), *command] if name in SCRIPTS else pinned(command), stdout=log, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return True
    print(f"bench: error: {name} failed (status {done.returncode}); see {OUT / name}.log", file=sys.stderr)
    return False


def machine() -> dict[str, object]:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    field = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in text.splitlines() if ":" in line}
    wanted = ("aes", "avx2", "vaes", "vpclmulqdq", "avx512f", "sha_ni")
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True,
                            check=False).stdout.strip()
    return {"commit": commit or "?", "cpu": field.get("model name", "?"), "family": field.get("cpu family", "?"),
            "model": field.get("model", "?"), "cores": os.cpu_count(),
            "features": [flag for flag in wanted if flag in field.get("flags", "").split()],
            "kernel": platform.release(), "load": os.getloadavg()[0],
            "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--only", default="", help="programs, with commas between them")
    parser.add_argument("--preset", default="release")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = programs(ROOT / "build" / options.preset)
    if options.only:
        chosen = {name: path for name, path in chosen.items() if name in options.only.split(",")}
    targets = [target for name, path in chosen.items() for target in SCRIPTS.get(name, ("", [path.name]))[1]]
    built = subprocess.run([ROOT / "tools/build.sh", options.preset, *targets], check=False)
    if built.returncode != 0:
        return 1
    about = machine()
    folders = max(1, sum(name not in PEERS and name not in SCRIPTS for name in chosen))
    failed = []
    left = max(20.0, options.seconds - sum(FIXED.get(name, 0) for name in chosen))
    for name, program in chosen.items():
        share = PEERS.get(name, FOLDERS_SHARE / folders)
        if not run(name, program, left * share):
            failed.append(name)
    (OUT / "machine.json").write_text(json.dumps(about, indent=1) + "\n")
    rows = summary.rows(OUT, [name for name in chosen if name not in failed])
    (OUT / "summary.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(summary.table(rows))
    missed = sum(row["ok"] is False for row in rows)
    print(f"bench: {sum(row['ok'] is True for row in rows)} goals met, {missed} missed; "
          f"{OUT.relative_to(ROOT)}/summary.json")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
