# SPDX-License-Identifier: Apache-2.0
"""A cluster whose client is not a namespace but a guest with a Linux kernel of its own.

     guest .10 ── tap ──┬── lan 192.0.2.0/24 ──┬────────┬─────────┐
      (QEMU)            │    2001:db8::/64   owner .1  t1 .11 … t4 .14
                                               │        │         │
                                         xcf 10.77.0.0/24 ────────┴── etcd .100

The DVIPAs, 192.0.2.100 and 2001:db8::100, are reached through IPsec only. Those of IPv6 there are when a case needs them.
"""
import hashlib
import os
import re
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from cases import CASES, Case, KernelSa, parse_xfrm_states
from guest import Guest, GuestCharon
from lab import certificates, config, wait
from lab.capture import Capture
from lab.host import LabHost
from lab.http import url_host
from lab.node import Node
from lab.quickstart import CLIENT_ADDRESS, DVIPA, ETCD_ADDRESS, Quickstart
from lab.topology import Host, Segment, Topology

FILE_BYTES = 5_000_000
# By IP version.
DVIPAS = {4: DVIPA, 6: "2001:db8::100"}
CLIENTS = {4: CLIENT_ADDRESS, 6: "2001:db8::10"}
FAMILIES = sorted({family for case in CASES for family in (case.outer, case.inner)})
_IKE = "aes128gcm16-prfsha256-x25519"
_CURL = "curl -sS --noproxy '*' -m 60"


@dataclass
class KernelCluster(Quickstart):
    members = {"owner": 1, "t1": 11, "t2": 12, "t3": 13, "t4": 14}
    targets = ("t1", "t2", "t3", "t4")
    dvipas = tuple(DVIPAS[family] for family in FAMILIES)

    guest: Guest | None = None
    file_sha256: str = ""
    dvipa: str = DVIPA     # that the present case's files are fetched from

    @classmethod
    def describe_topology(cls, name: str) -> Topology:
        hosts = [Host("etcd", {"xcf": ETCD_ADDRESS})]
        hosts += [Host(member, {"lan": f"192.0.2.{number}", "xcf": f"10.77.0.{number}"},
                       addresses6={"lan": f"2001:db8::{number}"} if 6 in FAMILIES else {})
                  for member, number in cls.members.items()]
        return Topology(name, [Segment("lan", "192.0.2.0/24", subnet6="2001:db8::/64"),
                               Segment("xcf", "10.77.0.0/24", mtu=9000)], hosts)

    @property
    def client_charon(self) -> GuestCharon:
        return GuestCharon(self.guest)

    @property
    def fabric(self) -> LabHost:
        return LabHost("fabric", self.describe_topology(self.state.name).fabric, {}, self.state)

    def down(self) -> None:
        if self.guest and self.guest.process:
            self.guest.process.stop()
        super().down()

    # ---- start ----

    def _write_node_configs(self) -> None:
        super()._write_node_configs()
        for node in self.nodes.values():
            with node.config.open("a", encoding="utf-8") as file:
                file.write(f'\n[debug]\nkey-log = "{self.key_log(node)}"\n')

    @staticmethod
    def key_log(node: Node) -> Path:
        return node.host.dir / "esp_sa"

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Longer than elsewhere: the guest takes one of the processors."""
        super().wait_ready(seconds)

    def _filters(self) -> str:
        return "\n".join(f'[[filter]]\ndvipa = "{dvipa}"\naction = "protect"\n' for dvipa in self.dvipas)

    def _definition_block(self, owner: bool) -> str:
        prefixes = {4: f"255.255.255.0 {DVIPAS[4]}", 6: f"{DVIPAS[6]}/64"}
        statements = [f"  VIPADEFINE MOVEABLE IMMEDIATE {prefixes[family]}\n"
                      f"  VIPADISTRIBUTE DEFINE {DVIPAS[family]} PORT 80 DESTIP ALL\n" for family in FAMILIES]
        return "VIPADYNAMIC\n" + "".join(statements) + "ENDVIPADYNAMIC\n"

    def _make_ike_certificates(self) -> None:
        certificates.make_ike(self.state.path / "ike-certificates", {
            "dvipa": ",".join(f"IP:{dvipa}" for dvipa in DVIPAS.values()), "client": "DNS:client.example"})

    def _make_files(self) -> None:
        content = os.urandom(FILE_BYTES)
        for directory in (self.state.tmpfs, self.state.host_dir("client")):
            directory.joinpath("5mb").write_bytes(content)
        self.file_sha256 = hashlib.sha256(content).hexdigest()

    def _start_charons(self, ike_certificates: Future, rekey_bytes: int, key_log: bool) -> None:
        self.guest = Guest.boot(self.state, self.fabric.namespace, "lan", [f"{CLIENTS[4]}/24", f"{CLIENTS[6]}/64"])
        ike_certificates.result()
        keys = self.state.path / "ike-certificates"
        self.owner_charon.configure("kernel-testudo! kernel-netlink vici", config.owner_plugins(self.nodes["owner"]),
                                    owner_swanctl(CASES[0]), keys / "dvipa.pem", keys / "ca.pem")
        self.start_owner_charon()
        self.client_charon.configure("kernel-netlink socket-default vici", "", client_swanctl(CASES[0]),
                                     keys / "client.pem", keys / "ca.pem", key_log)
        self.guest.run("modprobe", "aesni_intel")  # not loaded by itself; half the time of AES in C
        self.client_charon.start()

    # ---- one case after another ----

    def negotiate(self, case: Case) -> None:
        """Both ends get the case's configuration, nothing is left of the case before, and the SA pair is there."""
        self.disconnect()
        self.dvipa = DVIPAS[case.inner]
        for charon, text in ((self.owner_charon, owner_swanctl(case)), (self.client_charon, client_swanctl(case))):
            (charon.dir / "swanctl.conf").write_text(text, encoding="utf-8")
            charon.swanctl("--load-conns")
        self.client_charon.initiate("web")

    def disconnect(self) -> None:
        self.client_charon.swanctl("--terminate", "--ike", "dvipa", "--timeout", "5", check=False)
        wait.until("no SA to be left", lambda: not self.kernel_sas() and not self.nodes["owner"].query("sa")["sas"], 30)

    @property
    def url(self) -> str:
        return f"http://{url_host(self.dvipa)}"

    def kernel_sas(self) -> list[KernelSa]:
        return parse_xfrm_states(self.guest.run("ip", "xfrm", "state").stdout)

    def capture(self, name: str) -> Capture:
        """Whole packets on the guest's link."""
        return Capture(self.fabric, self.guest.tap, self.state.tmpfs / name, "udp port 4500 or esp or ah",
                       snap_bytes=2048)

    def download(self) -> str:
        """Fetches the file. Returns its checksum as the guest has received it."""
        done = self.guest.script(f"set -o pipefail; {_CURL} {self.url}/5mb | sha256sum", check=False)
        return done.stdout.split()[0] if done.returncode == 0 else f"failed: {done.stderr}"

    def download_at_once(self, count: int) -> list[str]:
        """Fetches the file over so many connections at the same time. Returns a checksum for each."""
        done = self.guest.script(f"for i in $(seq {count}); do ({_CURL} {self.url}/5mb | sha256sum >/tmp/at-once.$i) & done;"
                                 f" wait; cat /tmp/at-once.*; rm /tmp/at-once.*", seconds=120)
        return [line.split()[0] for line in done.stdout.splitlines()]

    def upload(self) -> str:
        """Sends the same file. Returns its checksum as a target has received it."""
        done = self.guest.script(f"[ -e /tmp/5mb ] || cp {self.guest.dir}/5mb /tmp/;"
                                 f" {_CURL} -D - -T /tmp/5mb {self.url}/upload/5mb", check=False)
        served_by = re.search(r"X-Served-By: (\w+)", done.stdout)
        if done.returncode != 0 or not served_by:
            return f"failed: {done.stdout} {done.stderr}"
        uploaded = self.nginx[served_by[1]].uploaded("5mb")
        content = uploaded.read_bytes()
        uploaded.unlink()
        return hashlib.sha256(content).hexdigest()

    def download_slowly(self, meanwhile: list[Callable[[], object]]) -> str:
        """Fetches the file in about ten seconds, calls `meanwhile` one after the other, and returns the checksum."""
        self.guest.script(f"rm -f /tmp/slow.*; ({_CURL} --limit-rate 500k {self.url}/5mb >/tmp/slow.body"
                          " 2>/tmp/slow.err; echo $? >/tmp/slow.status) &")
        for action in meanwhile:
            action()
        running = self.guest.run("test", "-e", "/tmp/slow.status", check=False).returncode != 0
        done = self.guest.script("until [ -s /tmp/slow.status ]; do sleep 0.2; done; cat /tmp/slow.status /tmp/slow.err;"
                                 " sha256sum </tmp/slow.body")
        status, checksum = done.stdout.splitlines()[0], done.stdout.splitlines()[-1].split()[0]
        return checksum if running and status == "0" else f"failed: running: {running}, {done.stdout}"


def owner_swanctl(case: Case) -> str:
    return f"""\
connections {{
  clients {{
    version = 2
    local_addrs = {DVIPAS[case.outer]}
    proposals = {_IKE}
    encap = {"yes" if case.udp else "no"}
    mobike = no
    local {{
      auth = pubkey
      certs = dvipa.pem
      id = {DVIPAS[case.outer]}
    }}
    remote {{
      auth = pubkey
    }}
    children {{
      web {{
        local_ts = {DVIPAS[case.inner]}
        remote_ts = {CLIENTS[case.inner]}
        mode = {case.mode}
        {case.proposals}
      }}
    }}
  }}
}}
"""


def client_swanctl(case: Case) -> str:
    return f"""\
connections {{
  dvipa {{
    version = 2
    local_addrs = {CLIENTS[case.outer]}
    remote_addrs = {DVIPAS[case.outer]}
    proposals = {_IKE}
    mobike = no
    local {{
      auth = pubkey
      certs = client.pem
      id = client.example
    }}
    remote {{
      auth = pubkey
      id = {DVIPAS[case.outer]}
    }}
    children {{
      web {{
        local_ts = {CLIENTS[case.inner]}
        remote_ts = {DVIPAS[case.inner]}
        mode = {case.mode}
        {case.proposals}
      }}
    }}
  }}
}}
"""
