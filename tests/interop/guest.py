# SPDX-License-Identifier: Apache-2.0
"""A guest with a kernel of its own, used like a LabHost: run something in it, or leave something running.

    guest = Guest.boot(state, fabric_namespace, "lan", ["192.0.2.10/24"])
    print(guest.run("uname", "-r").stdout)

`dir` is the one directory that both sides write, at the same path. Everything else of the host is there to be read, and
what the guest writes elsewhere is in its memory.
"""
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from lab import process, wait
from lab.charon import Charon
from lab.process import Process
from lab.state import LabState

HERE = Path(__file__).resolve().parent
NAME = "client"
LIFE_SECONDS = 1500  # the longest that a guest runs, should nobody end it
SLOWNESS = 5         # limits that are generous elsewhere, in here


@dataclass
class Guest:
    state: LabState
    interface: str            # the bridge that it is plugged into
    addresses: list[str]      # with prefix length
    process: Process | None = None
    name: str = NAME
    jobs: int = field(default=0)

    @classmethod
    def boot(cls, state: LabState, fabric: str, bridge: str, addresses: list[str]) -> "Guest":
        """Returns at once; the first `run` waits until it is up (about five seconds)."""
        guest = cls(state, bridge, addresses)
        guest.process = process.start(state, f"{guest.name}/qemu", [
            str(HERE / "qemu-peer.sh"), "--netns", fabric, "--nic", f"{bridge}={','.join(addresses)}",
            "--share", str(guest.dir), "--name", guest.name, "--timeout", str(LIFE_SECONDS), "--quiet",
            str(HERE / "guest-agent.sh")], guest.dir / "qemu-peer.log")
        return guest

    @property
    def dir(self) -> Path:
        return self.state.host_dir(self.name)

    @property
    def tap(self) -> str:
        """Its end of the link, in the fabric's namespace."""
        return f"{self.interface}-{self.name}"[:15]

    def wait_up(self) -> None:
        assert self.process
        wait.until(f"the guest to be up (see {self.dir}/*.console)", lambda: (self.dir / "ready").exists()
                   or not self.process.alive(), 60 * SLOWNESS)
        if not self.process.alive():
            raise RuntimeError(f"the guest has ended: {(self.dir / 'qemu-peer.log').read_text(encoding='utf-8')[-2000:]}")

    def run(self, *command: str, check: bool = True, timeout: float = 60, env: dict[str, str] | None = None,
            ) -> subprocess.CompletedProcess:
        """Runs a command to its end. With `check`, its failure raises with what it printed."""
        return self.script(_assignments(env) + shlex.join(command), check, timeout)

    def script(self, text: str, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess:
        """Runs lines of bash."""
        self.wait_up()
        job = self.dir / "jobs" / str(self.jobs)
        self.jobs += 1
        job.with_suffix(".writing").write_text(text + "\n", encoding="utf-8")
        job.with_suffix(".writing").rename(job.with_suffix(".sh"))
        status = job.with_suffix(".status")
        wait.until(f"the guest to end: {text[:200]}", status.exists, seconds * SLOWNESS)
        done = subprocess.CompletedProcess(text, int(status.read_text(encoding="ascii")),
                                           job.with_suffix(".out").read_text(encoding="utf-8", errors="replace"),
                                           job.with_suffix(".err").read_text(encoding="utf-8", errors="replace"))
        if check and done.returncode != 0:
            raise RuntimeError(f"guest: {text[:500]}: status {done.returncode}:"
                               f" {(done.stderr or done.stdout).strip()[-2000:]}")
        return done

    def start(self, label: str, *command: str, env: dict[str, str] | None = None) -> int:
        """Leaves a command running; its output goes to LABEL.log in `dir`. Returns its process id in the guest."""
        line = _assignments(env) + "setsid " + shlex.join(command)
        return int(self.script(f"{line} >>{self.dir}/{label}.log 2>&1 </dev/null & echo $!").stdout)

    def shut_down(self) -> None:
        """Ends it in good order, which leaves the kernel's log in `dir`/client.dmesg."""
        assert self.process
        job = self.dir / "jobs" / f"{self.jobs}.sh"
        if self.process.alive() and job.parent.exists():
            job.write_text("kill -TERM $$\n", encoding="utf-8")
            wait.until("the guest to end", lambda: not self.process.alive(), 20)

    def xfrm_statistics(self) -> dict[str, int]:
        """/proc/net/xfrm_stat: what the kernel's IPsec has refused, by reason."""
        lines = self.run("cat", "/proc/net/xfrm_stat").stdout.splitlines()
        return {name: int(value) for name, value in map(str.split, lines)}


def _assignments(env: dict[str, str] | None) -> str:
    return "".join(f"{key}={shlex.quote(value)} " for key, value in (env or {}).items())


class GuestCharon(Charon):
    """charon-systemd in the guest. A Unix socket cannot be in the shared directory."""

    start_seconds = Charon.start_seconds * SLOWNESS

    @property
    def uri(self) -> str:
        return "unix:///run/charon.vici"

    def load(self) -> str:
        """Takes what is in swanctl.conf now; connections that are no longer there are forgotten."""
        return self.swanctl("--load-all")

    def _load(self) -> bool:
        return "loaded connection" in self.load()
