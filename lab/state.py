# SPDX-License-Identifier: Apache-2.0
"""What a lab has made, on disk, so that a later process can remove it even after a crash.

Everything of lab NAME lives under /run/testudo-lab/NAME. A thing is written down before it is made: removing
something that was never made is harmless, forgetting something that was is not.
"""
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path("/run/testudo-lab")


class LabState:
    """The state directory of one lab.

    Layout: `namespaces` and `processes` are append-only lists (one JSON value a line); `hosts/NAME/` holds a host's
    files and logs; `tmpfs/` is in memory (etcd's data, the files that nginx serves, captures).
    """

    def __init__(self, name: str):
        if not name or not name.replace("-", "").isalnum():
            raise ValueError(f"a lab's name has letters, digits and dashes only, not {name!r}")
        self.name = name
        self.path = ROOT / name
        self.tmpfs = self.path / "tmpfs"

    def exists(self) -> bool:
        return self.path.is_dir()

    def create(self) -> None:
        self.path.mkdir(parents=True)
        self.path.chmod(0o755)
        self.tmpfs.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "testudo-lab", str(self.tmpfs)], check=True)

    def host_dir(self, host: str) -> Path:
        path = self.path / "hosts" / host
        path.mkdir(parents=True, exist_ok=True)
        return path

    def remember(self, kind: str, value) -> None:
        with open(self.path / kind, "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(value) + "\n")

    def remembered(self, kind: str) -> list:
        try:
            lines = (self.path / kind).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith(("}", '"'))]

    def destroy(self) -> None:
        if os.path.ismount(self.tmpfs):
            subprocess.run(["umount", "-l", str(self.tmpfs)], check=False)
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            ROOT.rmdir()
        except OSError:
            pass  # another lab is there


def labs() -> list[str]:
    """Names of the labs that exist."""
    return sorted(path.name for path in ROOT.iterdir() if path.is_dir()) if ROOT.is_dir() else []
