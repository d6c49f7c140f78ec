# SPDX-License-Identifier: Apache-2.0
"""python3 -m lab up [quickstart] | down [NAME] | list"""
import argparse
import json
import os
import sys

from lab import quickstart
from lab.state import labs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description="Clusters in network namespaces.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="build a cluster, leave it running, print it as one JSON object")
    up.add_argument("topology", nargs="?", default="quickstart", choices=["quickstart"])
    up.add_argument("--name", help="name of this lab (default: the topology's)")
    up.add_argument("--rekey-bytes", type=int, default=0, help="rekey the CHILD_SA after so many bytes")
    down = commands.add_parser("down", help="remove a lab, or all of them")
    down.add_argument("name", nargs="?")
    commands.add_parser("list", help="names of the labs that exist")
    arguments = parser.parse_args()
    if arguments.command == "list":
        print("\n".join(labs()))
        return 0
    if os.geteuid() != 0:
        print("lab: needs root: it makes network namespaces", file=sys.stderr)
        return 1
    if arguments.command == "up":
        cluster = quickstart.Quickstart.up(arguments.name or arguments.topology, arguments.rekey_bytes)
        print(json.dumps(cluster.describe(), indent=2))
        return 0
    return _down(arguments.name)


def _down(name: str | None) -> int:
    removed = [name] if name and quickstart.down(name) else quickstart.down_all() if not name else []
    print(f"lab: removed {', '.join(removed)}" if removed else "lab: nothing to remove")
    return 0


sys.exit(main())
