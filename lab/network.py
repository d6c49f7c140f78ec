# SPDX-License-Identifier: Apache-2.0
"""Builds a topology out of network namespaces, bridges and veth pairs, and removes it.

               fabric
      ┌─────────────────────┐
      │  bridge lan         │      One veth pair per host and segment. The end in the host has the segment's
      │   ├ lan-client ─────┼── lan (in client)      name, the end in the fabric is SEGMENT-HOST.
      │   └ lan-owner  ─────┼── lan (in owner)
      └─────────────────────┘
"""
import subprocess
from concurrent.futures import ThreadPoolExecutor

from lab.state import LabState
from lab.topology import Host, Segment, Topology


def build(topology: Topology, state: LabState) -> None:
    namespaces = [topology.fabric] + [topology.namespace(host.name) for host in topology.hosts]
    for namespace in namespaces:
        state.remember("namespaces", namespace)
    _batch(None, [f"netns add {namespace}" for namespace in namespaces])
    with6 = {topology.namespace(host.name) for host in topology.hosts if host.addresses6}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda namespace: _settings6(namespace, namespace in with6), namespaces))
    _batch(topology.fabric, _fabric_commands(topology))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _set_up_host(topology, host), topology.hosts))


def remove_namespace(namespace: str) -> None:
    subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def namespaces() -> list[str]:
    """Names of all network namespaces of this machine."""
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line]


def _fabric_commands(topology: Topology) -> list[str]:
    commands = ["link set lo up"]
    for segment in topology.segments:
        commands.append(f"link add {segment.name} mtu {segment.mtu} type bridge forward_delay 0 mcast_snooping 0")
        commands.append(f"link set {segment.name} up")
        for host in topology.hosts:
            if segment.name in host.addresses:
                commands += _plug(topology, segment, host)
    return commands


def _plug(topology: Topology, segment: Segment, host: Host) -> list[str]:
    port = f"{segment.name}-{host.name}"
    return [
        f"link add {port} mtu {segment.mtu} type veth"
        f" peer name {segment.name} mtu {segment.mtu} netns {topology.namespace(host.name)}",
        f"link set {port} master {segment.name} up",
    ]


def _set_up_host(topology: Topology, host: Host) -> None:
    namespace = topology.namespace(host.name)
    commands = ["link set lo up"]
    for name, address in host.addresses.items():
        commands.append(f"addr add {address}/{topology.segment(name).prefix_length} dev {name}")
        if name in host.addresses6:
            commands.append(f"addr add {host.addresses6[name]}/{topology.segment(name).prefix_length6} dev {name} nodad")
        commands.append(f"link set {name} up")
    _batch(namespace, commands)
    for name in host.wire_size:
        _offloads_off(namespace, name)
        _offloads_off(topology.fabric, f"{name}-{host.name}")
    if host.sysctls:
        settings = [f"{key}={value}" for key, value in host.sysctls.items()]
        _run(["ip", "netns", "exec", namespace, "sysctl", "-q", "-w", *settings])


def _offloads_off(namespace: str, interface: str) -> None:
    """Frames cross this end as packets with finished checksums. tx off takes TSO and UDP segmentation with it."""
    _run(["ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tx", "off", "tso", "off", "gso", "off",
          "gro", "off", "tx-udp-segmentation", "off"])


def _settings6(namespace: str, enabled: bool) -> None:
    """No IPv6 where there are no addresses for it, and in any case no router solicitations in captures."""
    settings = {"accept_ra": 0, "router_solicitations": 0, "accept_dad": 0, "disable_ipv6": 0 if enabled else 1}
    _run(["ip", "netns", "exec", namespace, "sysctl", "-q", "-w",
          *(f"net.ipv6.conf.{which}.{key}={value}" for which in ("all", "default") for key, value in settings.items())])


def _batch(namespace: str | None, commands: list[str]) -> None:
    argv = ["ip", "-batch", "-"] if namespace is None else ["ip", "-n", namespace, "-batch", "-"]
    _run(argv, "\n".join(commands) + "\n")


def _run(argv: list[str], text: str | None = None) -> None:
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed: {done.stderr.strip() or done.stdout.strip()}")
