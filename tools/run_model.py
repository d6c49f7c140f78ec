#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models of model/ with SPIN, each exhaustively, and each with rules taken away, which SPIN must refute.

usage: tools/run_model.py [--only NAME] [--keep DIR] [--large]

A check fails when the property does not hold, when the search was not exhaustive (depth, memory or time ran out), or when
a broken variant is not refuted. Steps of a model that no check of it ever takes are warned of. The summary goes to
build/model/summary.json, generated sources and programs to build/model/ or DIR. docs/proof.md says what it means.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "model"
MEMORY_MB = 4000
DEPTH = 200_000
LIMIT_SECONDS = 900  # of one check, on a machine that is busy


@dataclass
class Check:
    model: str
    prop: str  # selects the run in the model
    size: dict
    broken: str = ""  # BREAK_… without the prefix; "": the property must hold
    cycles: bool = False  # also: no run goes on for ever

    @property
    def name(self) -> str:
        return f"{self.model}/{self.prop.lower()}" + (f"/{self.broken.lower()}" if self.broken else "")

    def defines(self) -> list[str]:
        broken = [f"-DBREAK_{self.broken}"] if self.broken else []
        return [f"-D{self.prop}", *(f"-D{key}={value}" for key, value in self.size.items()), *broken]


@dataclass
class Result:
    name: str
    size: str
    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    verdict: str = ""
    ok: bool = False


def checks(large: bool) -> list[Check]:
    unique = {"NUMBERS": 5, "CRASHES": 0}
    crash = {"NUMBERS": 3, "IDS_SECOND": 1}
    window = {"NUMBERS": 5, "CRASHES": 0}
    window_crash = {"NUMBERS": 3, "IDS_SECOND": 1}
    answered = {"NUMBERS": 3, "IDS": 4, "CRASHES": 0, "LOSSES": 1}
    once = {"MOVES": 1, "CRASHES": 0, "DOWNS": 0}
    down = {"MOVES": 1, "CRASHES": 0, "DOWNS": 1}
    dies = {"MOVES": 1, "CRASHES": 1, "DOWNS": 0}
    still = {"MOVES": 0, "CRASHES": 0, "DOWNS": 0}
    own = {"EPOCHS": 2, "NUMBERS": 3}
    out = [Check("leases", "SAFETY_UNIQUE", unique), Check("leases", "SAFETY_UNIQUE", crash),
           Check("leases", "SAFETY_WINDOW", window), Check("leases", "SAFETY_WINDOW", window_crash),
           Check("leases", "LIVENESS", answered, cycles=True),
           Check("replay", "ONCE", once), Check("replay", "ONCE", dies), Check("replay", "ONCE", down),
           Check("replay", "UNBLOCKED", still),
           Check("ownership", "ONE_OWNER", own), Check("ownership", "OWNED", own, cycles=True)]
    out += [Check("leases", "SAFETY_UNIQUE", unique, b) for b in ("CEILING", "FENCE", "TAKEOVER", "SECOND_GRANT")]
    out += [Check("leases", "SAFETY_UNIQUE", crash, "INCARNATION")]
    out += [Check("leases", "SAFETY_WINDOW", window, b) for b in ("SPAN", "EXCLUSIVE", "RECALL", "GUARD", "DEADLINE")]
    out += [Check("leases", "LIVENESS", answered, "REPETITION"),
            Check("leases", "LIVENESS", answered | {"CRASHES": 1}, "EXPIRY")]
    out += [Check("replay", "ONCE", once, b) for b in ("TRUST", "SAME_FLOW", "AGAIN", "BOTH", "RECORD", "EPOCH",
                                                      "CARRY", "IN_SYNC")]
    # With HALF = W the ledger's own window hides what lies behind a target's.
    out += [Check("replay", "ONCE", once | {"HALF": 3}, b) for b in ("", "MERGE")]
    out += [Check("replay", "ONCE", down, b) for b in ("DEATH", "SNAPSHOT")]
    out += [Check("replay", "ONCE", dies, b) for b in ("ROSTER", "INCARNATION", "OUTLIVE")]
    out += [Check("replay", "UNBLOCKED", still, b) for b in ("FORGED_MOVES", "UNVERIFIED")]
    out += [Check("ownership", "ONE_OWNER", own, b) for b in ("FENCE", "EARLY", "OLDER", "BEGIN", "ROSTER", "EPOCH")]
    out += [Check("ownership", "OWNED", own, "CLAIM")]
    if large:
        out += [Check("leases", "SAFETY_UNIQUE", {"NUMBERS": 4}), Check("leases", "SAFETY_WINDOW", {"NUMBERS": 5}),
                Check("leases", "LIVENESS", {"NUMBERS": 4, "IDS": 4, "LOSSES": 2}, cycles=True),
                Check("replay", "ONCE", {"MOVES": 2, "CRASHES": 1, "DOWNS": 1}),
                Check("ownership", "ONE_OWNER", {"EPOCHS": 3, "NUMBERS": 4})]
    return out


def command(arguments: list[str], cwd: Path, limit: float) -> str:
    done = subprocess.run(["nice", "-n", "10", *arguments], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace", check=False, timeout=limit)
    return done.stdout + done.stderr


def build(check: Check, folder: Path) -> str:
    """What is wrong, or nothing. Options of one line in the source get one each, so that each is counted as a step."""
    plain = command(["gcc", "-E", "-P", "-x", "c", *check.defines(), str(ROOT / "model" / f"{check.model}.pml")],
                    folder, 60)
    (folder / "m.pml").write_text(plain.replace(" :: ", "\n\t:: "), encoding="utf-8")
    said = command(["spin", "-a", "m.pml"], folder, 120)
    if not (folder / "pan.c").exists() or "Error" in said:
        return said or "spin makes no verifier"
    # No hash-compact, no bitstate: every state is stored whole. No partial order reduction either.
    cycles = ["-DNP"] if check.cycles else ["-DSAFETY"]
    optimise = "-O0" if check.broken else "-O1"  # what is refuted is refuted soon: the compiler is what takes time
    said = command(["gcc", optimise, "-w", f"-DMEMLIM={MEMORY_MB}", "-DCOLLAPSE", "-DNOREDUCE", *cycles, "-o", "pan", "pan.c"],
                   folder, 300)
    return "" if (folder / "pan").exists() else said


def judge(check: Check, said: str) -> tuple[bool, str]:
    errors = re.search(r"errors: (\d+)", said)
    if errors is None or re.search(r"out of memory|too small|search not completed|interrupted|truncated", said):
        if not (errors and int(errors[1]) and check.broken):
            return False, "NOT EXHAUSTIVE"
    refuted = int(errors[1]) > 0
    if check.broken:
        return refuted, "refuted, as it must be" if refuted else "NOT REFUTED"
    return not refuted, "DOES NOT HOLD" if refuted else "holds"


def unreached(said: str, folder: Path) -> set[str]:
    """Texts of the steps that the search never took."""
    lines = (folder / "m.pml").read_text(encoding="utf-8").splitlines()
    found = re.findall(r"m\.pml:(\d+), state \d+, \"(?!-end-)", said)
    return {lines[int(line) - 1].strip() for line in found}


def run(check: Check, folder: Path, never: dict) -> Result:
    size = " ".join(f"{key}={value}" for key, value in check.size.items())
    result = Result(check.name, size)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        wrong = build(check, folder)
        said = wrong or command(["./pan", f"-m{DEPTH}", *(["-l"] if check.cycles else [])], folder, LIMIT_SECONDS)
    except subprocess.TimeoutExpired as hung:
        wrong, said = "", f"search not completed within {hung.timeout:.0f} s"
    result.seconds = time.monotonic() - started
    for field, pattern in (("states", r"(\d+) states, stored"), ("transitions", r"(\d+) transitions"),
                           ("depth", r"depth reached (\d+)")):
        if match := re.search(pattern, said):
            setattr(result, field, int(match[1]))
    result.ok, result.verdict = (False, "DOES NOT BUILD") if wrong else judge(check, said)
    if not result.ok:
        print(said[-3000:], file=sys.stderr)
    if result.ok and not check.broken:
        steps = unreached(said, folder)
        key = (check.model, check.prop)
        never[key] = never[key] & steps if key in never else steps
    return result


def show(result: Result) -> None:
    print(f"{result.name:34} {result.size:38} {result.states:>9} {result.transitions:>10} {result.depth:>6} "
          f"{result.seconds:>6.1f}  {result.verdict}", flush=True)


def run_all(only: str, keep: Path | None, large: bool) -> tuple[int, int]:
    """(passed, failed)."""
    OUT.mkdir(parents=True, exist_ok=True)
    print(f"{'model/property/broken rule':34} {'size':38} {'states':>9} {'transitions':>10} {'depth':>6} {'s':>6}  verdict")
    results, never = [], {}
    with tempfile.TemporaryDirectory(dir=OUT) as scratch:
        for number, check in enumerate(c for c in checks(large) if only in c.name):
            folder = (keep or Path(scratch)) / f"{number:02}-{check.name.replace('/', '-')}"
            results.append(run(check, folder.resolve(), never))
            show(results[-1])
    failed = sum(not r.ok for r in results)
    unused = {f"{model}/{prop.lower()}": sorted(steps) for (model, prop), steps in never.items() if steps}
    for name, steps in unused.items():
        print(f"model: warning: {name}: never taken in any check: " + "; ".join(s[:100] for s in steps), flush=True)
    (OUT / "summary.json").write_text(json.dumps({"checks": [asdict(r) for r in results], "never_taken": unused}, indent=1)
                                      + "\n", encoding="utf-8")
    return len(results) - failed, failed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="checks whose name contains this")
    parser.add_argument("--keep", type=Path, help="keep sources, programs and trails here")
    parser.add_argument("--large", action="store_true", help="larger sizes as well: an hour, 4 GB")
    arguments = parser.parse_args()
    started = time.monotonic()
    passed, failed = run_all(arguments.only, arguments.keep, arguments.large)
    print(f"model: {passed} checks as they must be, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    os.environ.pop("MAKEFLAGS", None)
    sys.exit(main())
