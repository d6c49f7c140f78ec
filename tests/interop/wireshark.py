# SPDX-License-Identifier: Apache-2.0
"""tshark, given keys: what it makes of the ESP packets in a capture.

    packets = read(path, [esp_sa_line(state) for state in kernel_sas])
    packets = read(path, table=node.key_log)                 # a file of such lines, in Wireshark's configuration folder
    assert not [packet for packet in packets if packet.wrong]
"""
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cases import Case, KernelSa

# The kernel's names, with the ICV's bits where tshark has several, and tshark's. Those of 4.0 know neither extended sequence
# numbers (the ICV then looks wrong) nor ChaCha20-Poly1305, CCM and GMAC.
_SEALED = {("rfc4106(gcm(aes))", 8 * size): f"AES-GCM with {size} octet ICV [RFC4106]" for size in (8, 12, 16)}
_ENCRYPTED = {("cbc(aes)", 0): "AES-CBC [RFC3602]", ("rfc3686(ctr(aes))", 0): "AES-CTR [RFC3686]",
              ("ecb(cipher_null)", 0): "NULL"}
_AUTHENTICATED = {("hmac(sha1)", 96): "HMAC-SHA-1-96 [RFC2404]", ("hmac(sha256)", 128): "HMAC-SHA-256-128 [RFC4868]",
                  ("hmac(sha384)", 192): "HMAC-SHA-384-192 [RFC4868]", ("hmac(sha512)", 256): "HMAC-SHA-512-256 [RFC4868]"}
_NAMES = {"aead": _SEALED, "enc": _ENCRYPTED, "auth-trunc": _AUTHENTICATED}

_FIELDS = ("esp.spi", "esp.icv_good", "tcp.len", "tcp.checksum", "tcp.checksum.status", "_ws.malformed", "_ws.expert.severity")
_ERROR = 0x00800000  # of _ws.expert.severity


@dataclass(frozen=True)
class EspPacket:
    """An ESP packet as tshark has understood it."""

    number: int
    spi: int
    tcp_bytes: int          # payload of the TCP segment inside; -1 when there is none
    wrong: str              # what tshark complains about


def can_read(case: Case) -> bool:
    return case.protocol == "esp" and not case.esn and all(
        (name, icv) in _NAMES[line] for line, name, _, icv in case.algorithms)


def esp_sa_line(sa: KernelSa) -> str:
    """An entry of Wireshark's table of ESP SAs (preference `esp_sa`)."""
    found = {line: (_NAMES[line][name, icv], f"0x{sa.keys[line].hex()}") for line, name, _, icv in sa.algorithms}
    encryption = found.get("aead") or found["enc"]
    family = "IPv6" if ":" in sa.destination else "IPv4"
    return ",".join(f'"{value}"' for value in (family, sa.source, sa.destination, f"0x{sa.spi:08x}", *encryption,
                                               *found.get("auth-trunc", ("NULL", ""))))


def read(capture: Path, esp_sa_lines: list[str] | None = None, table: Path | None = None) -> list[EspPacket]:
    fields = [word for field in ("frame.number", *_FIELDS) for word in ("-e", field)]
    shown = _tshark(capture, esp_sa_lines or [], table, "-Y", "esp or _ws.malformed", "-T", "fields", *fields)
    packets = [_packet(line) for line in shown.splitlines()]
    # For who reads why a test has failed.
    for packet in [packet for packet in packets if packet.wrong][:1]:
        print(packet, _tshark(capture, esp_sa_lines or [], table, "-Y", f"frame.number == {packet.number}", "-V", "-x"))
    return packets


def _tshark(capture: Path, esp_sa_lines: list[str], table: Path | None, *arguments: str) -> str:
    preferences = ["esp.enable_encryption_decode:TRUE", "esp.enable_authentication_check:TRUE",
                   "tcp.check_checksum:TRUE", "tcp.desegment_tcp_streams:FALSE",
                   *[f"uat:esp_sa:{line}" for line in esp_sa_lines]]
    # What the file has at random would make HTTP's dissector give up now and then, and with it ESP's before it has shown all.
    command = ["tshark", "-n", "-r", str(capture), "-d", "tcp.port==80,data", *arguments]
    command += [word for preference in preferences for word in ("-o", preference)]
    with tempfile.TemporaryDirectory() as folder:
        if table:
            shutil.copy(table, Path(folder) / "esp_sa")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120,
                              env={**os.environ, "WIRESHARK_CONFIG_DIR": folder})
    if done.returncode != 0:
        raise RuntimeError(f"tshark: status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def _packet(line: str) -> EspPacket:
    number, spi, icv_good, tcp_len, checksum, status, malformed, severities = line.split("\t")
    error = malformed or any(int(severity, 0) >= _ERROR for severity in severities.split(",") if severity)
    wrong = []
    if icv_good != "1":
        wrong.append("ICV")
    if not tcp_len:
        wrong.append("does not decrypt to TCP")
    elif status != "1" and (error or checksum != "0xffff"):
        # Linux writes 0xffff where the sum is 0, which is the same; tshark then only warns.
        wrong.append(f"TCP checksum {checksum} (status {status})")
    if error:
        wrong.append("malformed")
    return EspPacket(int(number), int(spi or "0", 0), int(tcp_len or -1), ", ".join(wrong))
