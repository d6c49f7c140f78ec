# SPDX-License-Identifier: Apache-2.0
"""What the kernel and the cluster are to agree on, one line a case, and how the kernel shows it when they have."""
import re
from dataclasses import dataclass

TUNNEL, TRANSPORT = "tunnel", "transport"


@dataclass(frozen=True)
class Case:
    """One SA pair between guest and DVIPA: `proposal` is an `esp_proposals` or `ah_proposals` without its ESN part."""

    proposal: str
    mode: str = TUNNEL
    protocol: str = "esp"
    esn: bool = False
    udp: bool = False     # ESP in UDP (RFC 3948)
    outer: int = 4        # IP version
    inner: int = 4

    @property
    def id(self) -> str:
        families = f"{self.inner}in{self.outer}" if self.mode == TUNNEL else f"v{self.outer}"
        options = ("-esn" if self.esn else "") + ("-udp" if self.udp else "")
        return f"{self.protocol}-{self.mode}-{families}-{self.proposal}{options}"

    @property
    def algorithms(self) -> tuple:
        return tuple(sorted(_ALGORITHMS[part] for part in self.proposal.split("-")))

    @property
    def proposals(self) -> str:
        """As swanctl.conf has it. Without `-esn`, charon proposes 32-bit sequence numbers only."""
        return f"{self.protocol}_proposals = {self.proposal}" + ("-esn" if self.esn else "")


# The matrix: {ESP, AH} × {transport, tunnel} × {IPv4, IPv6; in tunnels 4-in-4, 6-in-4, 4-in-6, 6-in-6} × {ESN, not} × {UDP
# encapsulation, not; ESP only} × suites. Not every product: each value of each column, and each pair that goes different
# ways through the code. AH with ESP is not here, as IKEv2 cannot negotiate it.
CASES = [
    Case("aes128gcm16"),
    Case("aes128gcm16", esn=True),
    Case("aes128gcm16", udp=True),
    Case("aes256gcm16", esn=True, udp=True),
    Case("aes128-sha256"),
    Case("aes256-sha256", esn=True),
    Case("aes128-sha256", udp=True),
    Case("chacha20poly1305"),
    Case("chacha20poly1305", esn=True, udp=True),
    # Families.
    Case("aes128gcm16", inner=6),
    Case("aes128-sha256", inner=6, udp=True),
    Case("aes128gcm16", outer=6),
    Case("aes256-sha256", outer=6, esn=True),
    Case("aes128gcm16", outer=6, inner=6),
    Case("chacha20poly1305", outer=6, inner=6, esn=True),
    Case("aes128gcm16", outer=6, inner=6, udp=True),
    # Transport mode.
    Case("aes128gcm16", TRANSPORT),
    Case("aes128-sha256", TRANSPORT, esn=True),
    Case("aes128gcm16", TRANSPORT, udp=True),
    Case("aes128gcm16", TRANSPORT, outer=6, inner=6),
    Case("aes128-sha256", TRANSPORT, outer=6, inner=6, esn=True),
    # AH.
    Case("sha256", protocol="ah"),
    Case("sha256", protocol="ah", inner=6, esn=True),
    Case("sha256", protocol="ah", outer=6),
    Case("sha512", protocol="ah", outer=6, inner=6),
    Case("sha256", TRANSPORT, "ah"),
    Case("sha256", TRANSPORT, "ah", esn=True, outer=6, inner=6),
    # Suites that are rarer.
    Case("aes192gcm8"),
    Case("aes256gcm12"),
    Case("aes128gmac"),
    Case("aes128ccm16"),
    Case("aes256ccm8", esn=True),
    Case("aes192ctr-sha384"),
    Case("aes128-aesxcbc"),
    Case("aes256-aescmac"),
    Case("null-sha256"),
    Case("aes128-sha1"),
]

# Part of a proposal → what `ip xfrm state` calls it: line, name, key bits (with the salt that follows the key), ICV bits.
_ALGORITHMS = {
    "aes128": ("enc", "cbc(aes)", 128, 0),
    "aes256": ("enc", "cbc(aes)", 256, 0),
    "aes192ctr": ("enc", "rfc3686(ctr(aes))", 224, 0),
    "null": ("enc", "ecb(cipher_null)", 0, 0),
    "aes128gcm16": ("aead", "rfc4106(gcm(aes))", 160, 128),
    "aes192gcm8": ("aead", "rfc4106(gcm(aes))", 224, 64),
    "aes256gcm12": ("aead", "rfc4106(gcm(aes))", 288, 96),
    "aes256gcm16": ("aead", "rfc4106(gcm(aes))", 288, 128),
    "aes128gmac": ("aead", "rfc4543(gcm(aes))", 160, 128),
    "aes128ccm16": ("aead", "rfc4309(ccm(aes))", 152, 128),
    "aes256ccm8": ("aead", "rfc4309(ccm(aes))", 280, 64),
    "chacha20poly1305": ("aead", "rfc7539esp(chacha20,poly1305)", 288, 128),
    "sha1": ("auth-trunc", "hmac(sha1)", 160, 96),
    "sha256": ("auth-trunc", "hmac(sha256)", 256, 128),
    "sha384": ("auth-trunc", "hmac(sha384)", 384, 192),
    "sha512": ("auth-trunc", "hmac(sha512)", 512, 256),
    "aesxcbc": ("auth-trunc", "xcbc(aes)", 128, 96),
    "aescmac": ("auth-trunc", "cmac(aes)", 128, 96),
}


@dataclass(frozen=True)
class KernelSa:
    """One SA as `ip xfrm state` shows it."""

    source: str
    destination: str
    protocol: str
    spi: int
    mode: str
    algorithms: tuple          # (line, name, key bits, ICV bits)
    keys: dict[str, bytes]     # by line: enc, aead, auth-trunc
    esn: bool
    udp: bool
    replay_window: int         # packets

    @property
    def ip_version(self) -> int:
        return 6 if ":" in self.destination else 4

    def differs_from(self, case: Case) -> list[str]:
        """What is not as the case wants it."""
        wanted = {"protocol": case.protocol, "mode": case.mode, "algorithms": case.algorithms,
                  "esn": case.esn, "udp": case.udp, "IP version": case.outer}
        found = {name: getattr(self, name.lower().replace(" ", "_")) for name in wanted}
        return [f"{name} is {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name]]


def parse_xfrm_states(text: str) -> list[KernelSa]:
    """SAs in the output of `ip xfrm state`; larval ones, which have no key yet, are left out."""
    states = [_parse(block) for block in re.split(r"^(?=src )", text, flags=re.M) if block.strip()]
    return [state for state in states if state.keys]


def _parse(block: str) -> KernelSa:
    source, destination = re.match(r"src (\S+) dst (\S+)", block).groups()
    protocol, spi, mode = re.search(r"proto (\w+) spi (0x[0-9a-f]+) reqid \S+ mode (\w+)", block).groups()
    flags = re.search(r"replay-window (?P<window>\d+)(?: seq \S+)?(?: flag(?P<flags>.*))?", block)
    algorithms, keys = [], {}
    for line, name, key, icv in re.findall(r"^\t(enc|aead|auth|auth-trunc) (\S+) (?:0x)?([0-9a-f]*)(?: (\d+))?", block, re.M):
        keys[line] = bytes.fromhex(key)
        algorithms.append((line, name, 4 * len(key), int(icv or 0)))
    return KernelSa(source, destination, protocol, int(spi, 16), mode, tuple(sorted(algorithms)), keys,
                    "esn" in (flags["flags"] or "") if flags else False, "encap type espinudp" in block,
                    int(flags["window"]) if flags else 0)
