#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test of a build and sums up: `N passed, N failed` is the last line, and counts single test cases.

usage: tools/run_tests.py [--preset release] [--fuzz-seconds N]

A GoogleTest program counts with each of its cases, any other ctest entry as one, pytest with each of its cases, a fuzz
target and a check of a model as one. A program that dies counts as one failure on top of what it reported before.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import run_fuzz
import run_model

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's packages
PYTEST_LIMIT = 2700  # seconds; all of them take about twelve minutes, half of them with a real kernel


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: "Count") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def junit(path: Path) -> Count:
    """Counts the test cases of a JUnit file, as pytest and GoogleTest write them."""
    count = Count()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            count.skipped += 1
        else:
            count.passed += 1
    return count


def ctest(build: Path, results: Path) -> Count:
    """Every ctest entry. GoogleTest programs write one more file each, which has their cases."""
    cases = results / "gtest"
    cases.mkdir(parents=True)
    report = results / "ctest.xml"
    done = subprocess.run(
        ["ctest", "--test-dir", str(build), "--output-on-failure", "--no-tests=error", "-j", str(os.cpu_count() or 1),
         "--output-junit", str(report)], env={**os.environ, "GTEST_OUTPUT": f"xml:{cases}/"}, check=False)
    if not report.exists():
        return Count(failed=1)
    total = Count()
    for entry in ElementTree.parse(report).getroot().iter("testcase"):
        if entry.get("status") == "disabled":
            total.skipped += 1
        else:  # "run" is a success; "fail", and "notrun" for a program that is missing, are not
            total.add(_entry(cases / f"{entry.get('name')}.xml", entry.get("status") != "run"))
    if done.returncode != 0 and not total.failed:
        total.failed += 1
    return total


def _entry(cases: Path, failed: bool) -> Count:
    if not cases.exists():
        return Count(failed=1) if failed else Count(passed=1)
    count = junit(cases)
    if failed and not count.failed:
        count.failed += 1  # it reported nothing wrong, and died afterwards
    return count


def _ends(run: subprocess.Popen, limit: float) -> int:
    """The exit status. What takes longer than the limit is interrupted, so that it still takes its lab down, and failed."""
    interrupted = 0
    for patience, stop in ((limit, run.send_signal), (120, lambda _: run.kill())):
        try:
            return run.wait(patience) or interrupted
        except subprocess.TimeoutExpired:
            print(f"{run.args[2]}: error: does not end, interrupted after {patience:.0f} s", flush=True)
            interrupted = 1
            stop(signal.SIGINT)
    return run.wait() or interrupted


def pytest(results: Path) -> Count:
    report = results / "pytest.xml"
    run = subprocess.Popen(  # pylint: disable=consider-using-with
        [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "tests"], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL)
    status = _ends(run, PYTEST_LIMIT)
    if not report.exists():
        return Count(failed=1)
    count = junit(report)
    if status != 0 and not count.failed:
        count.failed += 1
    return count


def lint() -> Count:
    """Layers, mutations and format, as one check."""
    done = subprocess.run(["make", "--no-print-directory", "lint"], cwd=ROOT, check=False)
    if done.returncode != 0:
        print("lint: FAILED, see above; `make format` formats", flush=True)
    return Count(failed=1) if done.returncode else Count(passed=1)


def main() -> int:
    # Who starts us in the background may have SIGINT ignored, and the programs we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="release")
    parser.add_argument("--fuzz-seconds", type=int, default=0, help="also run every fuzz target so long")
    arguments = parser.parse_args()
    build = ROOT / "build" / arguments.preset
    results = build / "test-results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    total = Count()
    total.add(lint())
    total.add(ctest(build, results))
    if arguments.fuzz_seconds:
        total.add(Count(*run_fuzz.run_all(arguments.fuzz_seconds, [])))
    total.add(Count(*run_model.run_all("", None, False)))
    os.environ["TESTUDO_BUILD"] = str(build)
    total.add(pytest(results))
    if total.skipped:
        print(f"{total.skipped} skipped")
    sys.stdout.flush()
    sys.stderr.flush()
    print(f"{total.passed} passed, {total.failed} failed", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
