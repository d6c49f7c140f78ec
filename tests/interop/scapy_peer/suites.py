# SPDX-License-Identifier: Apache-2.0
"""The engine's suites as scapy's IPsec layer knows them.

scapy has no short GCM tags, no GMAC, no XCBC, and leaves extended sequence numbers out of an ESP packet's HMAC. These are
added here from python3-cryptography's primitives, by the RFCs' words and without a look at the engine.
"""
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scapy.layers.ipsec import (AH, AUTH_ALGOS, CRYPT_ALGOS, ESP, AuthAlgo, CryptAlgo, IPSecIntegrityError, _ESPPlain,
                                zero_mutable_fields)
from scapy.compat import raw

SALT = bytes.fromhex("a1b2c3d4")


def esp_aad(esp, esn_en, esn):
    """RFC 4106 section 5."""
    return struct.pack("!LLL", esp.spi, esn, esp.seq) if esn_en else struct.pack("!LL", esp.spi, esp.seq)


def plain_of(esp, iv, text, icv):
    """Takes an ESP packet's text apart; scapy does the same after its own ciphers."""
    padding_length, next_header = text[-2], text[-1]
    end = len(text) - 2 - padding_length
    return _ESPPlain(spi=esp.spi, seq=esp.seq, iv=iv, data=text[:end], padding=text[end:-2], padlen=padding_length,
                     nh=next_header, icv=icv)


class ShortTagGcm(CryptAlgo):
    """AES-GCM with a tag of 8 or 12 bytes (RFC 4106 section 6)."""

    def encrypt(self, sa, esp, key, icv_size=None, esn_en=False, esn=0):
        worker = Cipher(algorithms.AES(key), modes.GCM(sa.crypt_salt + esp.iv)).encryptor()
        worker.authenticate_additional_data(esp_aad(esp, esn_en, esn))
        text = worker.update(esp.data_for_encryption()) + worker.finalize()
        return ESP(spi=esp.spi, seq=esp.seq, data=esp.iv + text + worker.tag[:icv_size])

    def decrypt(self, sa, esp, key, icv_size=None, esn_en=False, esn=0):
        iv, text, icv = esp.data[:8], esp.data[8:-icv_size], esp.data[-icv_size:]
        mode = modes.GCM(sa.crypt_salt + iv, icv, min_tag_length=icv_size)
        worker = Cipher(algorithms.AES(key), mode).decryptor()
        worker.authenticate_additional_data(esp_aad(esp, esn_en, esn))
        try:
            return plain_of(esp, iv, worker.update(text) + worker.finalize(), icv)
        except Exception as error:
            raise IPSecIntegrityError(error) from error


class NullGmac(CryptAlgo):
    """ENCR_NULL_AUTH_AES_GMAC (RFC 4543 section 3): nothing is encrypted; header, IV and text are authenticated."""

    @staticmethod
    def tag(sa, key, esp, iv, text, esn_en, esn):
        worker = Cipher(algorithms.AES(key), modes.GCM(sa.crypt_salt + iv)).encryptor()
        worker.authenticate_additional_data(esp_aad(esp, esn_en, esn) + iv + text)
        worker.finalize()
        return worker.tag

    def encrypt(self, sa, esp, key, icv_size=None, esn_en=False, esn=0):
        text = esp.data_for_encryption()
        return ESP(spi=esp.spi, seq=esp.seq, data=esp.iv + text + self.tag(sa, key, esp, esp.iv, text, esn_en, esn))

    def decrypt(self, sa, esp, key, icv_size=None, esn_en=False, esn=0):
        iv, text, icv = esp.data[:8], esp.data[8:-16], esp.data[-16:]
        if self.tag(sa, key, esp, iv, text, esn_en, esn) != icv:
            raise IPSecIntegrityError("GMAC")
        return plain_of(esp, iv, text, icv)


class EsnAuth(AuthAlgo):
    """With the high half of the sequence number behind an ESP packet's text (RFC 4303 section 2.2.1)."""

    def sign(self, pkt, key, esn_en=False, esn=0):
        mac = self.new_mac(key)
        if pkt.haslayer(AH):  # scapy would sign the ESP packet behind it
            mac.update(raw(zero_mutable_fields(pkt.copy(), sending=True)) + (struct.pack("!L", esn) if esn_en else b""))
            pkt[AH].icv = mac.finalize()[:self.icv_size]
            return pkt
        mac.update(raw(pkt[ESP]) + (struct.pack("!L", self.high) if self.high is not None else b""))
        pkt[ESP].data += mac.finalize()[:self.icv_size]
        return pkt

    def verify(self, pkt, key, esn_en=False, esn=0):
        if not isinstance(pkt, ESP):
            return super().verify(pkt, key, esn_en, esn)
        mac = self.new_mac(key)
        mac.update(raw(pkt)[:-self.icv_size] + (struct.pack("!L", self.high) if self.high is not None else b""))
        if mac.finalize()[:self.icv_size] != pkt.data[-self.icv_size:]:
            raise IPSecIntegrityError("ICV")

    high = None  # set for one packet of an SA with ESN


class XcbcMac:
    """AES-XCBC-MAC (RFC 3566 section 4): CBC-MAC whose last block is masked with a key of its own."""

    def __init__(self, key):
        def block(k, data):
            return Cipher(algorithms.AES(k), modes.ECB()).encryptor().update(data)
        self.encrypt = lambda data: block(block(key, b"\x01" * 16), data)
        self.k2, self.k3 = block(key, b"\x02" * 16), block(key, b"\x03" * 16)
        self.data = b""

    def update(self, data):
        self.data += data

    def finalize(self):
        def xor(a, b):
            return bytes(x ^ y for x, y in zip(a, b))
        blocks = [self.data[i:i + 16] for i in range(0, len(self.data), 16)] or [b""]
        state = bytes(16)
        for whole in blocks[:-1]:
            state = self.encrypt(xor(state, whole))
        last, mask = blocks[-1], self.k2
        if len(last) < 16:
            last, mask = (last + b"\x80").ljust(16, b"\0"), self.k3
        return self.encrypt(xor(xor(state, last), mask))


class XcbcAuth(EsnAuth):
    def new_mac(self, key):
        return XcbcMac(key)


class GmacAuth(AuthAlgo):
    """AES-GMAC in AH (RFC 4543): the ICV field holds an 8-byte IV and the tag, and counts as zero as a whole."""

    def _tag(self, pkt, key, iv, sending, esn_en, esn):
        clone = pkt.copy()
        clone = zero_mutable_fields(clone, sending=sending)  # zeroes the whole ICV field
        worker = Cipher(algorithms.AES(key[:-4]), modes.GCM(key[-4:] + iv)).encryptor()
        worker.authenticate_additional_data(raw(clone) + (struct.pack("!L", esn) if esn_en else b""))
        worker.finalize()
        return worker.tag

    def sign(self, pkt, key, esn_en=False, esn=0):
        iv = struct.pack("!Q", 0x0102030405060700 + pkt[AH].seq % 256)
        pkt[AH].icv = iv + self._tag(pkt, key, iv, True, esn_en, esn)
        return pkt

    def verify(self, pkt, key, esn_en=False, esn=0):
        icv = pkt[AH].icv
        pkt[AH].padding, pkt[AH].icv = icv[24:], icv[:24]
        if self._tag(pkt, key, icv[:8], False, esn_en, esn) != icv[8:24]:
            raise IPSecIntegrityError("GMAC")


def register():
    """Puts what scapy lacks among its algorithms."""
    gcm = dict(cipher=algorithms.AES, mode=modes.GCM, block_size=1, iv_size=8, icv_size=16, salt_size=4)
    CRYPT_ALGOS["AES-GCM-SHORT"] = ShortTagGcm("AES-GCM-SHORT", **gcm)
    CRYPT_ALGOS["NULL-GMAC"] = NullGmac("NULL-GMAC", **gcm)
    for name in ("HMAC-SHA1-96", "SHA2-256-128", "SHA2-384-192", "SHA2-512-256", "AES-CMAC-96"):
        known = AUTH_ALGOS[name]
        AUTH_ALGOS[name] = EsnAuth(name, known.mac, known.digestmod, known.icv_size, known.key_size)
    AUTH_ALGOS["AES-XCBC-96"] = XcbcAuth("AES-XCBC-96", cmac.CMAC, algorithms.AES, 12, (16,))
    AUTH_ALGOS["AES-GMAC"] = GmacAuth("AES-GMAC", cmac.CMAC, None, 24)


@dataclass(frozen=True)
class Suite:
    """One suite under the engine's name, and what SecurityAssociation() is told of it."""
    name: str
    crypt: str = ""
    auth: str = ""
    crypt_key: int = 0  # bytes, salt included
    auth_key: int = 0
    icv: int = 0  # of an AEAD, where it is not scapy's own

    @property
    def ah(self):
        return not self.crypt

    @property
    def key_size(self):
        return self.crypt_key + self.auth_key

    def arguments(self, key):
        given = {}
        if self.crypt:
            given.update(crypt_algo=self.crypt, crypt_key=key[:self.crypt_key] or None)
        if self.icv:
            given["crypt_icv_size"] = self.icv
        if self.auth:
            given.update(auth_algo=self.auth, auth_key=key[self.crypt_key:])
        return given


INTEGRITIES = {"HMAC-SHA1-96": ("HMAC-SHA1-96", 20), "HMAC-SHA256-128": ("SHA2-256-128", 32),
               "HMAC-SHA384-192": ("SHA2-384-192", 48), "HMAC-SHA512-256": ("SHA2-512-256", 64),
               "AES-XCBC-96": ("AES-XCBC-96", 16), "AES-CMAC-96": ("AES-CMAC-96", 16)}


def esp_suites():
    for bits in (128, 192, 256):
        key = bits // 8
        yield Suite(f"AES-GCM-{bits}", "AES-GCM", crypt_key=key + 4)
        for icv in (8, 12):
            yield Suite(f"AES-GCM-{bits}-ICV{icv}", "AES-GCM-SHORT", crypt_key=key + 4, icv=icv)
        yield Suite(f"NULL-AES-GMAC-{bits}", "NULL-GMAC", crypt_key=key + 4)
        for icv in (8, 12, 16):
            yield Suite(f"AES-CCM-{bits}" + (f"-ICV{icv}" if icv != 16 else ""), "AES-CCM", crypt_key=key + 3, icv=icv)
        for name, (auth, size) in INTEGRITIES.items():
            yield Suite(f"AES-CBC-{bits}+{name}", "AES-CBC", auth, key, size)
            yield Suite(f"AES-CTR-{bits}+{name}", "AES-CTR", auth, key + 4, size)
    yield Suite("CHACHA20-POLY1305", "CHACHA20-POLY1305", crypt_key=36)
    for name, (auth, size) in INTEGRITIES.items():
        yield Suite(f"NULL+{name}", "NULL", auth, 0, size)


def ah_suites():
    for name, (auth, size) in INTEGRITIES.items():
        yield Suite(name, "", auth, 0, size)
    for bits in (128, 192, 256):
        yield Suite(f"AES-GMAC-{bits}", "", "AES-GMAC", 0, bits // 8 + 4)
