# SPDX-License-Identifier: Apache-2.0
"""The configuration files of the quickstart cluster, as an operator would write them."""
from lab.etcd import Etcd
from lab.node import Node

# Everything to the DVIPA goes into the tunnel except what carries the mark: charon's own packets, which go to the same
# address. Only needed because kernel-libipsec is a user-space IPsec; a kernel's own would know its packets.
CLIENT_PLUGINS = """\
    kernel-libipsec {
      allow_peer_ts = yes
    }
    kernel-netlink {
      fwmark = !0x42
    }
    socket-default {
      fwmark = 0x42
    }"""


def owner_plugins(node: Node) -> str:
    return f"""\
    kernel-testudo {{
      socket = {node.charon_socket}
    }}"""


def client_swanctl(dvipa: str, suffix: str = "") -> str:
    """`suffix`: of the connection's and the child's name, for a file with several."""
    return f"""\
connections {{
  dvipa{suffix} {{
    version = 2
    remote_addrs = {dvipa}
    proposals = aes128gcm16-prfsha256-x25519
    local {{
      auth = pubkey
      certs = client.pem
      id = client.example
    }}
    remote {{
      auth = pubkey
      id = {dvipa}
    }}
    children {{
      web{suffix} {{
        remote_ts = {dvipa}
        esp_proposals = aes128gcm16
      }}
    }}
  }}
}}
"""


def owner_swanctl(dvipa: str, rekey_bytes: int, suffix: str = "") -> str:
    limits = f"rekey_bytes = {rekey_bytes}\n        life_bytes = {2 * rekey_bytes}\n        rand_bytes = 0" \
        if rekey_bytes else "# no limit in bytes"
    return f"""\
connections {{
  clients{suffix} {{
    version = 2
    local_addrs = {dvipa}
    proposals = aes128gcm16-prfsha256-x25519
    encap = yes
    mobike = no
    local {{
      auth = pubkey
      certs = dvipa.pem
      id = {dvipa}
    }}
    remote {{
      auth = pubkey
    }}
    children {{
      web{suffix} {{
        local_ts = {dvipa}
        esp_proposals = aes128gcm16
        {limits}
      }}
    }}
  }}
}}
"""


def definition_block(owner: bool) -> str:
    addresses = "192.0.2.100 192.0.2.101"
    first = f"  VIPADEFINE MOVEABLE IMMEDIATE 255.255.255.0 {addresses}" if owner else f"  VIPABACKUP 100 {addresses}"
    return f"""\
VIPADYNAMIC
{first}
  VIPADISTRIBUTE DEFINE 192.0.2.100 PORT 80 DESTIP 10.77.0.11 10.77.0.12 10.77.0.13
  VIPADISTRIBUTE DEFINE 192.0.2.101 PORT 80 DESTIP 10.77.0.11 10.77.0.12 10.77.0.13
ENDVIPADYNAMIC
"""


# Static filters, which an owner and its backups have in common. charon adds its own while an SA lives.
FILTERS = """\
[[filter]]
dvipa = "192.0.2.100"
action = "protect"

[[filter]]
dvipa = "192.0.2.101"
action = "permit"
protocol = "tcp"
ports = [80]
"""


def node_toml(node: Node, name: str, xcf_address: str, etcd: Etcd, filters: str | None) -> str:
    """`filters`: of a node that may own DVIPAs: it has a definition block and a charon."""
    keys = etcd.certificates
    return f"""\
[node]
name = "{name}"
cluster = "lab"

[interfaces]
network = "lan"
xcf = "xcf"

[xcf]
address = "{xcf_address}"

[tls]
ca = "{keys}/ca.crt"
certificate = "{keys}/{name}.crt"
key = "{keys}/{name}.key"

[facility]
endpoints = ["{etcd.endpoint}"]

[control]
socket = "{node.control_socket}"
""" + (_ike(node) + _definition(node, filters) if filters is not None else "")


def _ike(node: Node) -> str:
    return f"""
[ike]
socket = "{node.charon_socket}"
"""


def _definition(node: Node, filters: str) -> str:
    return f"""
[definition]
file = "{node.definitions}"

{filters}"""
