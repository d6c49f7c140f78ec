#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Applies small faults to the code of sequence leases, replay protection and takeovers, one at a time, and shows
which check catches each. A fault that nothing catches is a failure: something is not tested.

usage: tools/run_mutations.py [--list] [--all] [--jobs N] [NAME...]

Works on a copy of the tree in build/mutations; the first run builds what the checks need, which takes minutes. The
faults are in tools/mutations.py, as exact text that must be in its file exactly once.
  --all     run every check for each fault, not only until one catches it
"""
import argparse
import functools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutations import MUTATIONS, Mutation  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutations" / "tree"
BUILD = COPY / "build" / "release"  # as in the tree itself: so ccache knows most of it
TIMEOUT = 300  # seconds for one check: a fault may make it hang

# What a fault is tried on: program in BUILD, its arguments.
CHECKS = {
    "sim": ("sim/sim_protocols", ["--jobs", "2", "--seeds"]),
    "sequence": ("src/sequence/sequence_test", ["--gtest_brief=1"]),
    "distributor": ("src/distributor/distributor_test", ["--gtest_brief=1", "--gtest_filter=*Replay*:*Window*"]),
    "target": ("src/target/target_test", ["--gtest_brief=1", "--gtest_filter=*Inbound*"]),
    "path": ("src/path/path_test", ["--gtest_brief=1"]),
}
SEEDS = ["1..100", "101..1500"]  # of the simulation; most faults show at once


def copy_tree() -> None:
    """The working tree as git sees it, without touching what is the same: the build goes on from the last one."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            check=True, capture_output=True).stdout.decode().split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    for name in names:
        source, copy = ROOT / name, COPY / name
        if copy.is_file() and copy.read_bytes() == source.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    for top in [p for p in COPY.iterdir() if p.name != "build"]:
        for copy in [top] if top.is_file() else [p for p in top.rglob("*") if p.is_file()]:
            if str(copy.relative_to(COPY)) not in names:
                copy.unlink()
    (COPY / "build").mkdir(exist_ok=True)
    headers = COPY / "build" / "strongswan-headers"
    if not headers.exists() and (ROOT / "build" / "strongswan-headers").exists():
        headers.symlink_to(ROOT / "build" / "strongswan-headers")


def build(checks: list[str], jobs: int) -> subprocess.CompletedProcess:
    targets = [Path(CHECKS[check][0]).name for check in checks]
    return subprocess.run(["ninja", "-C", str(BUILD), f"-j{jobs}", *targets], capture_output=True, text=True,
                          check=False)


def configure() -> None:
    subprocess.run(["cmake", "-S", str(COPY), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"],
                   check=True, stdout=subprocess.DEVNULL)


def text_of(mutation: Mutation) -> str:
    """The file with the fault."""
    source = (ROOT / mutation.file).read_text()
    found = source.count(mutation.old)
    if found != 1:
        sys.exit(f"mutations: error: {mutation.name}: its old text is {found} times in {mutation.file}, must be once; "
                 "adapt tools/mutations.py")
    return source.replace(mutation.old, mutation.new)


def run(check: str, more: list[str]) -> str | None:
    """Nothing: the program is content. Else the first thing that it complains about."""
    program, arguments = CHECKS[check]
    try:
        done = subprocess.run([str(BUILD / program), *arguments, *more], cwd=COPY, capture_output=True, text=True,
                              errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"does not end within {TIMEOUT} s"
    if done.returncode == 0:
        return None
    if failed := re.search(r"CHECK failed: .*", done.stderr):
        return failed[0]
    if check == "sim":
        bad = re.findall(r"^seed (\d+): FAILED", done.stdout, re.MULTILINE)
        what = re.search(r"^seed (\d+): FAILED.*\n +(.*)$", done.stdout, re.MULTILINE)
        return f"{len(bad)} of seeds {more[0]}; {what[1]}: {what[2]}" if what else f"exit status {done.returncode}"
    failed = re.findall(r"\[  FAILED  \] ([\w./]+)", done.stdout)
    return failed[0] if failed else f"exit status {done.returncode}"


def verdict(check: str) -> str | None:
    for more in [[seeds] for seeds in SEEDS] if check == "sim" else [[]]:
        if complaint := run(check, more):
            return complaint
    return None


@functools.cache
def content_without_fault(check: str, jobs: int) -> None:
    done = build([check], jobs)
    if done.returncode != 0:
        sys.exit(done.stdout + f"mutations: error: {check} does not build without a fault")
    if complaint := verdict(check):
        sys.exit(f"mutations: error: {check} fails without a fault: {complaint}")


def try_mutation(mutation: Mutation, every: bool, jobs: int) -> list[tuple[str, str]]:
    """Who catches it, and how."""
    file = COPY / mutation.file
    whole = file.read_text()
    caught = []
    try:
        for check in mutation.checks:
            file.write_text(whole)
            content_without_fault(check, jobs)
            file.write_text(text_of(mutation))
            done = build([check], jobs)
            if done.returncode != 0:
                sys.exit(done.stdout + f"mutations: error: {mutation.name}: does not compile")
            if complaint := verdict(check):
                caught.append((check, complaint))
                if not every:
                    break
    finally:
        file.write_text(whole)
    return caught


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows which check catches each of a list of small faults.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of faults; none: all of them")
    parser.add_argument("--list", action="store_true", help="the names, then end")
    parser.add_argument("--all", action="store_true", help="run every check of each fault")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    wanted = [m for m in MUTATIONS if not arguments.names or m.name in arguments.names]
    unknown = set(arguments.names) - {m.name for m in MUTATIONS}
    if unknown:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    for mutation in wanted:
        text_of(mutation)
        if arguments.list:
            print(f"{mutation.name:34} {mutation.file}")
    if arguments.list:
        return 0
    COPY.mkdir(parents=True, exist_ok=True)
    copy_tree()
    configure()
    survived = []
    for mutation in wanted:
        started = time.monotonic()
        caught = try_mutation(mutation, arguments.all, arguments.jobs)
        for check, complaint in caught or [("NOTHING", "it survives")]:
            print(f"{mutation.name:34} {check:12} {complaint[:110]}", flush=True)
        print(f"mutations: {mutation.name} took {time.monotonic() - started:.0f} s", file=sys.stderr)
        if not caught:
            survived.append(mutation.name)
    print(f"mutations: {len(wanted) - len(survived)} of {len(wanted)} faults are caught" +
          (f"; NOT: {', '.join(survived)}" if survived else ""))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
