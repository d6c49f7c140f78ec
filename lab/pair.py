# SPDX-License-Identifier: Apache-2.0
"""The demo's client against a stock strongSwan in the place of the cluster: no part of ours at all.

What fails here is not Testudo's fault, and what the client can do here is what it must be able to do with the cluster.
"""
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab import certificates, config, network, quickstart
from lab.charon import Charon
from lab.host import LabHost
from lab.nginx import Nginx
from lab.quickstart import CLIENT_ADDRESS, DVIPA
from lab.state import LabState
from lab.topology import Host, Segment, Topology

_PLUGINS = "kernel-libipsec kernel-netlink socket-default vici"


def topology(name: str) -> Topology:
    hosts = [Host("client", {"lan": CLIENT_ADDRESS}, wire_size=frozenset({"lan"})), Host("server", {"lan": DVIPA})]
    return Topology(name, [Segment("lan", "192.0.2.0/24")], hosts)


@dataclass
class Pair:
    state: LabState
    client: LabHost
    server: LabHost
    big_file_sha256: str = ""

    @classmethod
    def up(cls, name: str = "pair", rekey_bytes: int = 0) -> "Pair":
        state = LabState(name)
        description = topology(name)
        hosts = [LabHost(host.name, description.namespace(host.name), host.addresses, state)
                 for host in description.hosts]
        pair = cls(state, *hosts)
        state.create()
        try:
            network.build(description, state)
            pair._start(rekey_bytes)
        except BaseException:
            pair.down()
            raise
        return pair

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_) -> None:
        self.down()

    def down(self) -> None:
        quickstart.down(self.state.name)

    @property
    def client_charon(self) -> Charon:
        return Charon(self.client)

    @property
    def server_charon(self) -> Charon:
        return Charon(self.server)

    def _start(self, rekey_bytes: int) -> None:
        keys = self.state.path / "ike-certificates"
        certificates.make_ike(keys, {"dvipa": f"IP:{DVIPA}", "client": "DNS:client.example"})
        big = os.urandom(quickstart.BIG_FILE_BYTES)
        self.state.tmpfs.joinpath("100mb").write_bytes(big)
        self.state.tmpfs.joinpath("slow").write_bytes(big[:quickstart.SLOW_FILE_BYTES])
        self.big_file_sha256 = hashlib.sha256(big).hexdigest()
        self.client_charon.configure(_PLUGINS, config.CLIENT_PLUGINS, config.client_swanctl(DVIPA),
                                     keys / "client.pem", keys / "ca.pem", key_log=True)
        self.server_charon.configure(_PLUGINS, config.CLIENT_PLUGINS, config.owner_swanctl(DVIPA, rekey_bytes),
                                     keys / "dvipa.pem", keys / "ca.pem")
        with ThreadPoolExecutor() as pool:
            for future in [pool.submit(self.client_charon.start), pool.submit(self.server_charon.start),
                           pool.submit(Nginx(self.server, [DVIPA], self.state.tmpfs).start)]:
                future.result()
