# SPDX-License-Identifier: Apache-2.0
"""HTTP from the client with curl, each request a new connection."""
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lab import wait
from lab.host import LabHost

# What /name answers, and curl about it. A request that failed has no name before its code.
_ANSWER = re.compile(r"(\w*)\n?\|(\d{3})\|([\d.]+)\|\n")
_CURL = ("curl", "-sS", "--noproxy", "*", "-H", "Connection: close")


def url_host(address: str) -> str:
    """An address as it stands in a URL: IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True)
class Answers:
    served_by: Counter     # target → requests that it answered
    failed: int
    connect_seconds: list[float]
    errors: str

    @property
    def total(self) -> int:
        return sum(self.served_by.values())


def get_names(client: LabHost, address: str, requests: int, connect_timeout: float = 5.0) -> Answers:
    """`requests` times /name, one after the other."""
    done = client.run(*_CURL, "--connect-timeout", str(connect_timeout), "-w", "|%{http_code}|%{time_connect}|\n",
                      f"http://{url_host(address)}/name?[1-{requests}]", check=False,
                      timeout=10 + requests * connect_timeout)
    served, seconds = Counter(), []
    for name, code, connect in _ANSWER.findall(done.stdout):
        if code == "200":
            served[name] += 1
            seconds.append(float(connect))
    return Answers(served, requests - sum(served.values()), seconds, done.stderr.strip()[-300:])


@dataclass
class Download:
    """A download under way: the body goes to `path`, the headers beside it."""

    process: subprocess.Popen
    path: Path

    @classmethod
    def start(cls, client: LabHost, url: str, path: Path) -> "Download":
        headers = path.with_suffix(".headers")
        path.write_bytes(b"")
        headers.unlink(missing_ok=True)
        return cls(client.popen(*_CURL, "--connect-timeout", "10", "-D", str(headers), "-o", str(path), url,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE), path)

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    def served_by(self) -> str:
        """Which target answers; waits for the headers."""
        def header() -> str:
            text = self.path.with_suffix(".headers").read_text(encoding="ascii")
            return next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("X-Served-By"))
        return wait.until(f"the headers of {self.path.name}", header)

    def running(self) -> bool:
        return self.process.poll() is None

    def finish(self, seconds: float) -> str:
        """Waits for the end. Returns what curl complained about, empty when all went well."""
        try:
            _, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.cancel()
            return f"not finished after {seconds:g} s, {self.bytes} bytes"
        return "" if self.process.returncode == 0 else f"curl status {self.process.returncode}: {errors.strip()}"

    def cancel(self) -> None:
        self.process.kill()
        self.process.communicate()
