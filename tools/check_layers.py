#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses an #include that points up the list of layers (TESTUDO_LAYERS in cmake/testudo.cmake).

usage: check_layers.py PROJECT_ROOT     exits 1 and names file, line and folder for each offence
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"/]+)/')


def layers(root: pathlib.Path) -> list[str]:
    text = (root / "cmake/testudo.cmake").read_text()
    match = re.search(r"set\(TESTUDO_LAYERS\s+([^)]*)\)", text)
    if match is None:
        sys.exit("check_layers: no TESTUDO_LAYERS in cmake/testudo.cmake")
    return match.group(1).split()


def offences(root: pathlib.Path) -> list[str]:
    order = {name: rank for rank, name in enumerate(layers(root))}
    found = []
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        own = path.relative_to(root / "src").parts[0]
        if own not in order:
            found.append(f"{path}: folder '{own}' is not in TESTUDO_LAYERS")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match and order.get(match.group(1), -1) > order[own]:
                found.append(f"{path.relative_to(root)}:{number}: '{own}' may not include '{match.group(1)}', "
                             "which is further down the list of layers")
    return found


if __name__ == "__main__":
    problems = offences(pathlib.Path(sys.argv[1]))
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    sys.exit(1 if problems else 0)
