#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds every fuzz target and runs each for some seconds, starting from its seed corpus.

usage: tools/run_fuzz.py [--seconds N] [TARGET...]

What a run finds beyond the seeds goes to build/fuzz/found/TARGET, a crashing input to build/fuzz/crashes/. A *_fuzz.cc
that the build makes no target of, and a target without seeds, are failures: nothing is left out quietly.
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


def expected() -> set[str]:
    """What the build must make of the sources: src/wire/fast_fuzz.cc is the target wire_fast_fuzz."""
    return {f"{source.relative_to(ROOT / 'src').parts[0]}_{source.stem}" for source in ROOT.glob("src/**/*_fuzz.cc")}


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
    """Whether the target ran, from seeds, without a finding. Says so in a line; a finding in full on stderr."""
    seeds = corpus(program)
    if not seeds.is_dir() or not any(seeds.iterdir()):
        print(f"fuzz: {name}: FAILED, no seeds: {seeds.relative_to(ROOT)} is missing or empty", flush=True)
        return False
    found, crashes = BUILD / "found" / name, BUILD / "crashes"
    for directory in (found, crashes):
        directory.mkdir(parents=True, exist_ok=True)
    command = [str(program), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={crashes}/{name}-", str(found), str(seeds)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              check=False, timeout=seconds * 3 + 120, cwd=ROOT)
    except subprocess.TimeoutExpired as hung:
        print(f"fuzz: {name}: FAILED, does not end (killed after {hung.timeout:.0f} s)", flush=True)
        return False
    runs = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    ok = done.returncode == 0 and runs is not None and int(runs[1]) > 0
    if not ok:
        print(done.stderr[-6000:], file=sys.stderr)
    print(f"fuzz: {name}: {'ok' if ok else 'FAILED'}, {runs[1] if runs else '?'} runs", flush=True)
    return ok


def run_all(seconds: int, wanted: list[str]) -> tuple[int, int]:
    """(passed, failed)."""
    configure = subprocess.run(["cmake", "--preset", "fuzz"], cwd=ROOT, capture_output=True, text=True, check=False)
    if configure.returncode != 0:
        print(configure.stdout + configure.stderr, file=sys.stderr)
        return 0, 1
    built = targets()
    missing = (set(wanted) or expected()) - set(built)
    if missing or not built:
        print(f"fuzz: error: the build makes no {', '.join(sorted(missing)) or 'fuzz target at all'}", file=sys.stderr)
        return 0, len(missing) or 1
    chosen = {name: program for name, program in built.items() if not wanted or name in wanted}
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
