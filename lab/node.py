# SPDX-License-Identifier: Apache-2.0
"""`testudo node` on one host, and its command line client."""
import json
import os
from dataclasses import dataclass
from pathlib import Path

from lab.certificates import REPOSITORY
from lab.host import LabHost
from lab.process import Process

BUILD = Path(os.environ.get("TESTUDO_BUILD", REPOSITORY / "build" / "release"))


def program() -> str:
    return str(BUILD / "apps" / "testudo" / "testudo")


@dataclass
class Node:
    host: LabHost
    process: Process | None = None

    @property
    def config(self) -> Path:
        return self.host.dir / "node.toml"

    @property
    def definitions(self) -> Path:
        return self.host.dir / "vipa.conf"

    @property
    def control_socket(self) -> Path:
        return self.host.dir / "control.sock"

    @property
    def charon_socket(self) -> Path:
        return self.host.dir / "charon.sock"

    @property
    def log(self) -> Path:
        return self.host.dir / "node.log"

    def start(self) -> Process:
        self.process = self.host.start("node", program(), "node", "--config", str(self.config))
        return self.process

    def query(self, what: str, *arguments: str) -> dict:
        """`testudo WHAT --json`, parsed. WHAT may be several words."""
        done = self.host.run(program(), *what.split(), "--json", "--socket", str(self.control_socket), *arguments, timeout=10)
        return json.loads(done.stdout)
