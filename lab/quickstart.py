# SPDX-License-Identifier: Apache-2.0
"""The cluster of the demo: one client, one owner, one backup, three targets.

     client .10 ──┬── lan 192.0.2.0/24 ──┬──────────┬──────┬──────┬──────┐
                  │                    owner .1  backup .2  t1 .11 t2 .12 t3 .13
                  │                      │          │      │      │      │
                                     xcf 10.77.0.0/24 ─────┴──────┴──────┴── etcd .100

DVIPA 192.0.2.100 is reached through IPsec only, 192.0.2.101 in the clear only.
"""
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from lab import certificates, config, network, observe, process, wait
from lab.charon import Charon
from lab.etcd import Etcd
from lab.host import LabHost
from lab.nginx import Nginx
from lab.node import BUILD, Node, program
from lab.state import LabState, labs
from lab.topology import Host, Segment, Topology

DVIPA = "192.0.2.100"
PLAIN_DVIPA = "192.0.2.101"
MEMBERS = {"owner": 1, "backup": 2, "t1": 11, "t2": 12, "t3": 13}
TARGETS = ("t1", "t2", "t3")
CLIENT_ADDRESS = "192.0.2.10"
ETCD_ADDRESS = "10.77.0.100"
BIG_FILE_BYTES = 100_000_000
SLOW_FILE_BYTES = 5_000_000  # 4 s at nginx's rate limit


def topology(name: str) -> Topology:
    hosts = [Host("client", {"lan": CLIENT_ADDRESS}, wire_size=frozenset({"lan"})),
             Host("etcd", {"xcf": ETCD_ADDRESS})]
    hosts += [Host(member, {"lan": f"192.0.2.{number}", "xcf": f"10.77.0.{number}"})
              for member, number in MEMBERS.items()]
    return Topology(name, [Segment("lan", "192.0.2.0/24"), Segment("xcf", "10.77.0.0/24", mtu=9000)], hosts)


@dataclass
class Quickstart:
    """The running cluster. `up` returns when every member is in, every target is ready, and charon serves.

    A cluster of another shape is a subclass: the class variables, `describe_topology`, and the hooks below `_start`."""

    members: ClassVar[dict[str, int]] = MEMBERS
    targets: ClassVar[tuple[str, ...]] = TARGETS
    dvipas: ClassVar[tuple[str, ...]] = (DVIPA, PLAIN_DVIPA)
    protected: ClassVar[dict[str, str]] = {DVIPA: ""}  # through IPsec → suffix of its connection's and child's names

    state: LabState
    hosts: dict[str, LabHost]
    nodes: dict[str, Node] = field(default_factory=dict)
    nginx: dict[str, Nginx] = field(default_factory=dict)
    processes: dict[str, process.Process] = field(default_factory=dict)
    big_file_sha256: str = ""

    @classmethod
    def up(cls, name: str = "quickstart", rekey_bytes: int = 0, keep_on_failure: bool = False,
           key_log: bool = False) -> "Quickstart":
        """`rekey_bytes`: the owner's charon asks for a new CHILD_SA after so many bytes; 0 for never. `key_log`: the
        client's charon logs the keys of its CHILD_SAs."""
        state = LabState(name)
        if state.exists():
            raise RuntimeError(f"lab {name} is up already; `python3 -m lab down {name}` removes it")
        description = cls.describe_topology(name)
        hosts = {host.name: LabHost(host.name, description.namespace(host.name), host.addresses, state)
                 for host in description.hosts}
        cluster = cls(state, hosts)
        state.create()
        try:
            cluster._start(description, rekey_bytes, key_log)
        except BaseException:
            if not keep_on_failure:
                cluster.down()
            raise
        return cluster

    @classmethod
    def describe_topology(cls, name: str) -> Topology:
        return topology(name)

    def __enter__(self) -> "Quickstart":
        return self

    def __exit__(self, *_) -> None:
        self.down()

    def down(self) -> None:
        down(self.state.name)

    @property
    def client(self) -> LabHost:
        return self.hosts["client"]

    @property
    def client_charon(self) -> Charon:
        return Charon(self.client)

    @property
    def owners(self) -> list[str]:
        """Who may own the DVIPAs: each has a definition block and a charon."""
        return [name for name in ("owner", "backup") if name in self.members]

    @property
    def owner_charon(self) -> Charon:
        return Charon(self.hosts["owner"])

    @property
    def etcd(self) -> Etcd:
        return Etcd(self.hosts["etcd"], ETCD_ADDRESS, self.state.path / "cluster-certificates")

    @cached_property
    def macs(self) -> dict[str, str]:
        """MAC address on the network segment → host."""
        return {self.hosts[name].run("cat", "/sys/class/net/lan/address").stdout.strip(): name
                for name in ("client", *self.members)}

    # ---- start, in the order of what needs what; everything else at the same time ----

    def _start(self, description: Topology, rekey_bytes: int, key_log: bool) -> None:
        with ThreadPoolExecutor(max_workers=16) as pool:
            cluster_certificates = pool.submit(self._make_cluster_certificates)
            ike_certificates = pool.submit(self._make_ike_certificates)
            files = pool.submit(self._make_files)
            network.build(description, self.state)
            cluster_certificates.result()
            self._write_node_configs()
            charons = pool.submit(self._start_charons, ike_certificates, rekey_bytes, key_log)
            etcd = pool.submit(self.etcd.start)
            webs = [pool.submit(self._start_nginx, target, files) for target in self.targets]
            self.processes["etcd"] = etcd.result()
            for name in self.members:
                self.start_node(name)
            for future in [charons, *webs]:
                future.result()
        self.wait_ready()

    def start_node(self, name: str) -> None:
        self.nodes.setdefault(name, Node(self.hosts[name]))
        self.processes[f"{name}/node"] = self.nodes[name].start()

    def start_owner_charon(self, name: str = "owner") -> None:
        preload = BUILD / "plugins" / "charon" / "libstrongswan-kernel-testudo.so"
        self.processes[f"{name}/charon"] = Charon(self.hosts[name]).start(preload)

    def wait_ready(self, seconds: float = 15.0) -> None:
        def ready() -> bool:
            lacking = observe.unready(self.nodes["owner"].query("status"), self.members, self.targets, self.dvipas, 80)
            if lacking:
                raise RuntimeError("; ".join(lacking))
            return True

        wait.until("the cluster to be ready", ready, seconds)

    def _make_cluster_certificates(self) -> None:
        members = {name: f"10.77.0.{number}" for name, number in self.members.items()}
        certificates.make_cluster(self.etcd.certificates, "lab", {**members, "etcd": ETCD_ADDRESS})

    def _make_ike_certificates(self) -> None:
        certificates.make_ike(self.state.path / "ike-certificates",
                              {"dvipa": ",".join(f"IP:{dvipa}" for dvipa in self.protected),
                               "client": "DNS:client.example"})

    def _make_files(self) -> None:
        big = os.urandom(BIG_FILE_BYTES)
        self.state.tmpfs.joinpath("100mb").write_bytes(big)
        self.state.tmpfs.joinpath("slow").write_bytes(big[:SLOW_FILE_BYTES])
        self.big_file_sha256 = hashlib.sha256(big).hexdigest()

    def _write_node_configs(self) -> None:
        for name, number in self.members.items():
            node = self.nodes[name] = Node(self.hosts[name])
            may_own = name in self.owners
            node.config.write_text(config.node_toml(
                node, name, f"10.77.0.{number}", self.etcd, self._filters() if may_own else None), encoding="utf-8")
            if may_own:
                node.definitions.write_text(self._definition_block(name == "owner"), encoding="utf-8")

    def _filters(self) -> str:
        return config.FILTERS

    def _definition_block(self, owner: bool) -> str:
        return config.definition_block(owner)

    def _start_charons(self, ike_certificates: Future, rekey_bytes: int, key_log: bool) -> None:
        ike_certificates.result()
        keys = self.state.path / "ike-certificates"
        self.client_charon.configure("kernel-libipsec kernel-netlink socket-default vici", config.CLIENT_PLUGINS,
                                     self._client_swanctl(), keys / "client.pem", keys / "ca.pem", key_log)
        for name in self.owners:
            Charon(self.hosts[name]).configure("kernel-testudo! kernel-netlink vici",
                                               config.owner_plugins(self.nodes[name]),
                                               self._owner_swanctl(rekey_bytes), keys / "dvipa.pem", keys / "ca.pem")
        with ThreadPoolExecutor() as pool:
            started = [pool.submit(self.start_owner_charon, name) for name in self.owners]
            self.processes["client/charon"] = self.client_charon.start()
            for future in started:
                future.result()

    def _client_swanctl(self) -> str:
        return "".join(config.client_swanctl(dvipa, suffix) for dvipa, suffix in self.protected.items())

    def _owner_swanctl(self, rekey_bytes: int) -> str:
        return "".join(config.owner_swanctl(dvipa, rekey_bytes, suffix) for dvipa, suffix in self.protected.items())

    def _start_nginx(self, target: str, files: Future) -> None:
        files.result()
        self.nginx[target] = Nginx(self.hosts[target], list(self.dvipas), self.state.tmpfs)
        self.processes[f"{target}/nginx"] = self.nginx[target].start()

    def describe(self) -> dict:
        """What `python3 -m lab up quickstart` prints."""
        return {
            "name": self.state.name,
            "dvipa": DVIPA,
            "plain_dvipa": PLAIN_DVIPA,
            "hosts": {host.name: self._describe_host(host) for host in self.hosts.values()},
            "processes": {label: started.pid for label, started in self.processes.items()},
            "logs": str(self.state.path / "hosts"),
            "big_file_sha256": self.big_file_sha256,
            "program": program(),
        }

    def _describe_host(self, host: LabHost) -> dict:
        about = {"namespace": host.namespace, "addresses": host.addresses, "interfaces": list(host.addresses),
                 "logs": str(host.dir)}
        if host.name in self.nodes:
            node = self.nodes[host.name]
            about |= {"config": str(node.config), "control_socket": str(node.control_socket)}
        if host.name in ("client", *self.owners):
            about |= {"vici": Charon(host).uri, "swanctl_dir": str(Charon(host).dir)}
        return about


def down(name: str) -> bool:
    """Removes lab `name`, whoever built it and however far it came. False when there was none."""
    state = LabState(name)
    if not state.exists():
        return False
    process.stop_all(process.remembered(state))
    for namespace in state.remembered("namespaces"):
        process.kill_namespace(namespace)
        network.remove_namespace(namespace)
    state.destroy()
    return True


def down_all() -> list[str]:
    return [name for name in labs() if down(name)]
