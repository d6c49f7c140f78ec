# SPDX-License-Identifier: Apache-2.0
"""One host of a lab: run something in it, or leave something running."""
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import process
from lab.process import Process
from lab.state import LabState


@dataclass(frozen=True)
class LabHost:
    name: str
    namespace: str
    addresses: dict[str, str]
    state: LabState

    @property
    def dir(self) -> Path:
        return self.state.host_dir(self.name)

    def argv(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command]

    def run(self, *command: str, check: bool = True, timeout: float = 60, env: dict[str, str] | None = None,
            text: str | None = None) -> subprocess.CompletedProcess:
        """Runs a command to its end. With `check`, its failure raises with what it printed."""
        done = subprocess.run(self.argv(*command), capture_output=True, text=True, timeout=timeout, check=False,
                              env={**os.environ, **(env or {})}, input=text)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: status {done.returncode}:"
                               f" {(done.stderr or done.stdout).strip()[-2000:]}")
        return done

    def popen(self, *command: str, **options) -> subprocess.Popen:
        """A command whose output the caller reads while it runs."""
        return subprocess.Popen(self.argv(*command), stdin=subprocess.DEVNULL, text=True, **options)

    def start(self, label: str, *command: str, env: dict[str, str] | None = None) -> Process:
        """Leaves a command running; its output goes to LABEL.log in the host's directory."""
        return process.start(self.state, f"{self.name}/{label}", self.argv(*command), self.dir / f"{label}.log", env)
