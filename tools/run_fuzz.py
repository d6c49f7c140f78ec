#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds every fuzz target and runs each for some seconds, starting from its seed corpus.

usage: tools/run_fuzz.py [--seconds N] [TARGET...]

What a run finds beyond the seeds goes to build/fuzz/found/TARGET, a crashing input to build/fuzz/crashes/.
"""
import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "fuzz"


def targets() -> dict[str, Path]:
    """Fuzz target → its program. Ninja knows them once the preset is configured."""
    listed = subprocess.run(["ninja", "-C", str(BUILD), "-t", "targets", "all"], check=True, capture_output=True,
                            text=True).stdout
    paths = re.findall(r"^(\S+_fuzz): CXX_EXECUTABLE_LINKER", listed, re.MULTILINE)
    return {Path(path).name: BUILD / path for path in sorted(paths)}


def corpus(program: Path) -> Path:
    """src/wire/wire_esp_fuzz reads fuzz/corpus/esp."""
    folder = program.parent.name
    return ROOT / "fuzz" / "corpus" / program.name.removeprefix(f"{folder}_").removesuffix("_fuzz")


def run(name: str, program: Path, seconds: int) -> bool:
    found = BUILD / "found" / name
    crashes = BUILD / "crashes"
    for directory in (found, crashes):
        directory.mkdir(parents=True, exist_ok=True)
    seeds = [str(corpus(program))] if corpus(program).is_dir() else []
    done = subprocess.run(
        [str(program), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
         f"-artifact_prefix={crashes}/{name}-", str(found), *seeds], capture_output=True, text=True, errors="replace",
        check=False, timeout=seconds * 3 + 120, cwd=ROOT)
    runs = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    if done.returncode != 0:
        print(done.stderr[-6000:], file=sys.stderr)
    without = "" if seeds else f" (no seeds: {corpus(program).relative_to(ROOT)} is missing)"
    print(f"fuzz: {name}: {'ok' if done.returncode == 0 else 'FAILED'}, {runs[1] if runs else '?'} runs{without}",
          flush=True)
    return done.returncode == 0


def run_all(seconds: int, wanted: list[str]) -> tuple[int, int]:
    """(passed, failed)."""
    configure = subprocess.run(["cmake", "--preset", "fuzz"], cwd=ROOT, capture_output=True, text=True, check=False)
    if configure.returncode != 0:
        print(configure.stdout + configure.stderr, file=sys.stderr)
        return 0, 1
    chosen = {name: program for name, program in targets().items() if not wanted or name in wanted}
    if not chosen:
        print("fuzz: error: there is no such fuzz target", file=sys.stderr)
        return 0, 1
    if subprocess.run([str(ROOT / "tools" / "build.sh"), "fuzz", *chosen], check=False).returncode != 0:
        return 0, len(chosen)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(lambda item: run(*item, seconds), chosen.items()))
    return results.count(True), results.count(False)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("target", nargs="*")
    arguments = parser.parse_args()
    started = time.monotonic()
    passed, failed = run_all(arguments.seconds, arguments.target)
    print(f"fuzz: {passed} targets without a finding, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
