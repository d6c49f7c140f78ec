# SPDX-License-Identifier: Apache-2.0
"""python3 -m lab up [quickstart] | down [NAME] [--all] | list"""
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
    down = commands.add_parser("down", help="remove a lab")
    down.add_argument("name", nargs="?", default="quickstart")
    down.add_argument("--all", action="store_true", help="remove every lab, whoever has made it")
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
    return _down(arguments.name, arguments.all)


def _down(name: str, everything: bool) -> int:
    removed = quickstart.down_all() if everything else [name] if quickstart.down(name) else []
    print(f"lab: removed {', '.join(removed)}" if removed else "lab: nothing to remove")
    return 0


sys.exit(main())
