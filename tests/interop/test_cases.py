# SPDX-License-Identifier: Apache-2.0
"""The judges of test_linux_kernel.py, on output of Debian 12's `ip xfrm state`: they see what differs."""
import pytest

import wireshark
from cases import CASES, TRANSPORT, Case, parse_xfrm_states

KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
STATES = f"""\
src 192.0.2.10 dst 192.0.2.100
\tproto ah spi 0x00000004 reqid 0 mode transport
\treplay-window 0 flag align4
\tauth-trunc hmac(sha256) 0x{KEY} 128
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tsel src 0.0.0.0/0 dst 0.0.0.0/0 
src 192.0.2.10 dst 192.0.2.100
\tproto esp spi 0x00000003 reqid 1 mode tunnel
\treplay-window 0 
\taead rfc7539esp(chacha20,poly1305) 0x{KEY}01020304 128
\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tsel src 0.0.0.0/0 dst 0.0.0.0/0 
src 2001:db8::10 dst 2001:db8::100
\tproto esp spi 0x00000002 reqid 1 mode transport
\treplay-window 0 flag af-unspec esn
\tauth-trunc hmac(sha256) 0x{KEY} 128
\tenc cbc(aes) 0x{KEY[:32]}
\tanti-replay esn context:
\t seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0
\t replay_window 64, bitmap-length 2
\t 00000000 00000000 
\tsel src ::/0 dst ::/0 
src 192.0.2.10 dst 192.0.2.100
\tproto esp spi 0xc0000001 reqid 1 mode tunnel
\treplay-window 32 
\taead rfc4106(gcm(aes)) 0x{KEY[:40]} 96
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tsel src 0.0.0.0/0 dst 0.0.0.0/0 
src 192.0.2.100 dst 192.0.2.10
\tproto esp spi 0xc0000002 reqid 1 mode tunnel
\treplay-window 0 
\tsel src 192.0.2.100/32 dst 192.0.2.10/32 
"""


def test_parses_what_the_kernel_shows():
    ah, chacha, cbc, gcm = parse_xfrm_states(STATES)
    assert ah.differs_from(Case("sha256", TRANSPORT, "ah")) == []
    assert chacha.differs_from(Case("chacha20poly1305", udp=True)) == []
    assert cbc.differs_from(Case("aes128-sha256", TRANSPORT, esn=True, outer=6, inner=6)) == []
    assert (gcm.source, gcm.destination, gcm.spi) == ("192.0.2.10", "192.0.2.100", 0xc0000001)


@pytest.mark.parametrize("wanted, complaint", [
    (Case("aes128-sha256", TRANSPORT, esn=True, udp=True, outer=6), "udp is False"),
    (Case("aes128-sha256", TRANSPORT, outer=6), "esn is True"),
    (Case("aes128-sha256", esn=True, outer=6), "mode is transport"),
    (Case("aes256-sha256", TRANSPORT, esn=True, outer=6), "algorithms is"),
    (Case("sha256", TRANSPORT, "ah", esn=True, outer=6), "protocol is esp"),
    (Case("aes128-sha256", TRANSPORT, esn=True), "IP version is 6"),
], ids=str)
def test_sees_what_differs(wanted, complaint):
    [difference, *_] = parse_xfrm_states(STATES)[2].differs_from(wanted)
    assert difference.startswith(complaint)


def test_shortened_icv_is_another_algorithm():
    assert parse_xfrm_states(STATES)[3].differs_from(Case("aes128gcm16")) != []


def test_wireshark_gets_the_keys_in_its_own_words():
    _, _, cbc, gcm = parse_xfrm_states(STATES)
    assert wireshark.esp_sa_line(gcm) == (f'"IPv4","192.0.2.10","192.0.2.100","0xc0000001",'
                                          f'"AES-GCM with 12 octet ICV [RFC4106]","0x{KEY[:40]}","NULL",""')
    assert wireshark.esp_sa_line(cbc) == (f'"IPv6","2001:db8::10","2001:db8::100","0x00000002","AES-CBC [RFC3602]",'
                                          f'"0x{KEY[:32]}","HMAC-SHA-256-128 [RFC4868]","0x{KEY}"')


def test_cases_have_names_of_their_own():
    assert len({case.id for case in CASES}) == len(CASES)
