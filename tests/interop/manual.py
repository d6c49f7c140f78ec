# SPDX-License-Identifier: Apache-2.0
"""AH over ESP by manual SAs: what IKEv2 cannot negotiate. The same keys for `ip xfrm` in the guest and `testudo sa load`.

    sas = ManualSas(TUNNEL, 4)
    guest.script(sas.xfrm())
    owner.write(path, sas.toml())
"""
import os
from dataclasses import dataclass, field

from cases import TRANSPORT
from kernel_cluster import CLIENTS, DVIPAS


@dataclass(frozen=True)
class Keys:
    """Of one direction. SPIs: the receiver's for AH, one more for ESP."""

    spi: int
    ah: str = field(default_factory=lambda: os.urandom(32).hex())
    encryption: str = field(default_factory=lambda: os.urandom(16).hex())
    integrity: str = field(default_factory=lambda: os.urandom(32).hex())


@dataclass(frozen=True)
class ManualSas:
    """Between the guest and the DVIPA of one family, with both headers in both directions."""

    mode: str
    family: int = 4
    to_dvipa: Keys = field(default_factory=lambda: Keys(0x2001))
    to_client: Keys = field(default_factory=lambda: Keys(0x1001))

    @property
    def id(self) -> str:
        return f"ah-esp-{self.mode}-v{self.family}"

    def _ways(self) -> list[tuple[str, str, Keys, str]]:
        client, dvipa = CLIENTS[self.family], DVIPAS[self.family]
        return [(client, dvipa, self.to_dvipa, "out"), (dvipa, client, self.to_client, "in")]

    def xfrm(self) -> str:
        """For the guest. An AH header of IPv4 is a multiple of four bytes (RFC 4302 section 2.2): align4."""
        align = " flag align4" if self.family == 4 else ""
        lines = []
        for source, destination, keys, direction in self._ways():
            ends = f"src {source} dst {destination}"
            lines.append(f"ip xfrm state add {ends} proto esp spi {keys.spi + 1} reqid 7 mode {self.mode} replay-window 32"
                         f" enc 'cbc(aes)' 0x{keys.encryption} auth-trunc 'hmac(sha256)' 0x{keys.integrity} 128")
            lines.append(f"ip xfrm state add {ends} proto ah spi {keys.spi} reqid 7 mode {TRANSPORT} replay-window 32{align}"
                         f" auth-trunc 'hmac(sha256)' 0x{keys.ah} 128")
            # Templates in the order in which headers are put on. TCP alone: neighbours are found in the clear.
            lines.append(f"ip xfrm policy add {ends} proto tcp dir {direction}"
                         f" tmpl {ends} proto esp reqid 7 mode {self.mode}"
                         f" tmpl {ends} proto ah reqid 7 mode {TRANSPORT}")
        return "set -e\n" + "\n".join(lines)

    def toml(self) -> str:
        text = ""
        for direction, keys in (("in", self.to_dvipa), ("out", self.to_client)):
            text += f"""\
[[sa]]
tunnel = "guest"
dvipa = "{DVIPAS[self.family]}"
peer = "{CLIENTS[self.family]}"
direction = "{direction}"
mode = "{self.mode}"
[sa.ah]
spi = {keys.spi:#x}
integrity = "HMAC-SHA256-128"
integrity-key = "{keys.ah}"
[sa.esp]
spi = {keys.spi + 1:#x}
encryption = "AES-CBC-128"
encryption-key = "{keys.encryption}"
integrity = "HMAC-SHA256-128"
integrity-key = "{keys.integrity}"

"""
        return text + f"""\
[[filter]]
dvipa = "{DVIPAS[self.family]}"
action = "protect"
tunnel = "guest"
remote = "{CLIENTS[self.family]}"
"""
