#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts the table of the last run (build/bench/summary.json) into docs/performance.md, between its two markers.

usage: bench/report.py
"""
import json
import pathlib
import sys

import summary

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- table: begin (bench/report.py) -->\n", "<!-- table: end -->\n"


def markdown(rows: list[dict], about: dict) -> str:
    cells = summary.lines(rows)
    text = (f"{about['when']}, commit {about['commit']}: {about['cpu']} (family {about['family']}, model {about['model']}; "
            f"{', '.join(about['features'])}), {about['cores']} cores, Linux {about['kernel']}, "
            f"load {about['load']:.1f} at the start.\n\n")
    text += "| " + " | ".join(summary.HEAD) + " |\n|---|--:|---|--:|--:|--:|---|\n"
    return text + "".join("| " + " | ".join(line) + " |\n" for line in cells)


def main() -> int:
    page = ROOT / "docs/performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        sys.exit(f"report: error: {page.relative_to(ROOT)} has lost its markers")
    made = ROOT / "build/bench"
    rows = json.loads((made / "summary.json").read_text())
    about = json.loads((made / "machine.json").read_text())
    page.write_text(before + BEGIN + markdown(rows, about) + END + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
