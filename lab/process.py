# SPDX-License-Identifier: Apache-2.0
"""Long-running processes of a lab: started with a log, remembered on disk, ended by process id only.

A process is known by its id *and* its start time, so an id that the kernel has given to somebody else meanwhile is
never signalled.
"""
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.state import LabState


@dataclass(frozen=True)
class Process:
    label: str
    pid: int
    start_ticks: int
    log: str

    def alive(self) -> bool:
        _reap(self.pid)
        return start_ticks(self.pid) == self.start_ticks

    def signal(self, number: int) -> None:
        if self.alive():
            os.kill(self.pid, number)

    def stop(self, seconds: float = 5.0) -> None:
        """SIGTERM, and SIGKILL for what is still there after `seconds`."""
        stop_all([self], seconds)


def start(state: LabState, label: str, argv: list[str], log: Path, env: dict[str, str] | None = None) -> Process:
    """Starts argv in a session of its own: it outlives this Python process and a terminal's Ctrl-C."""
    with open(log, "ab") as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                 start_new_session=True, env={**os.environ, **(env or {})})
    process = Process(label, child.pid, start_ticks(child.pid) or 0, str(log))
    child.returncode = 0  # we look after it by id: keeps subprocess from warning about it
    state.remember("processes", asdict(process))
    return process


def remembered(state: LabState) -> list[Process]:
    return [Process(**entry) for entry in state.remembered("processes")]


def stop_all(processes: list[Process], seconds: float = 5.0) -> None:
    for process in processes:
        process.signal(signal.SIGCONT)
        process.signal(signal.SIGTERM)
    _wait_gone(processes, seconds)
    for process in processes:
        process.signal(signal.SIGKILL)
    _wait_gone(processes, 2.0)


def kill_namespace(namespace: str) -> None:
    """Ends what is left in a namespace of ours: workers and children of the processes that were remembered."""
    for _ in range(50):
        found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
        pids = [int(word) for word in found.stdout.split()]
        pids = [pid for pid in pids if pid != os.getpid()]
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def start_ticks(pid: int) -> int | None:
    """Clock ticks between boot and the start of pid (proc(5), field 22); None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _wait_gone(processes: list[Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(process.alive() for process in processes):
        time.sleep(0.01)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass  # started by another process, or reaped already
