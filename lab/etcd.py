# SPDX-License-Identifier: Apache-2.0
"""Debian's etcd with one member, TLS both ways, data in memory."""
from dataclasses import dataclass
from pathlib import Path

from lab import wait
from lab.host import LabHost
from lab.process import Process

TLS = True


@dataclass(frozen=True)
class Etcd:
    host: LabHost
    address: str
    certificates: Path

    @property
    def endpoint(self) -> str:
        return f"{'https' if TLS else 'http'}://{self.address}:2379"

    def start(self) -> Process:
        process = self.host.start(
            "etcd", "/usr/bin/etcd", "--name", "lab", "--data-dir", str(self.host.state.tmpfs / "etcd"),
            "--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint,
            "--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
            "--initial-cluster", "lab=http://127.0.0.1:2380",
            # A single member elects itself: the shorter the election timeout, the sooner it starts.
            "--heartbeat-interval", "20", "--election-timeout", "200",
            *(("--cert-file", str(self.certificates / "etcd.crt"), "--key-file", str(self.certificates / "etcd.key"),
               "--trusted-ca-file", str(self.certificates / "ca.crt"), "--client-cert-auth") if TLS else ()),
            "--logger", "zap", "--log-level", "warn")
        wait.until("etcd to answer", self._healthy)
        return process

    def _healthy(self) -> bool:
        found = self.host.run(
            "curl", "-sS", "-m", "2", "--cacert", str(self.certificates / "ca.crt"),
            "--cert", str(self.certificates / "etcd.crt"), "--key", str(self.certificates / "etcd.key"),
            f"{self.endpoint}/health")
        return '"health":"true"' in found.stdout
