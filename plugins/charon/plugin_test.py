#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The plugin in a real charon, against a stock charon, in network namespaces of their own.

    client: stock strongSwan ── UDP 500, 4500 ── bridge_node ── Unix socket ── charon with the plugin: server

usage: plugin_test.py PLUGIN.so BRIDGE_NODE      needs root; removes what it made, whatever happens
"""
import hashlib
import json
import os
import re
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# pylint: disable=wrong-import-position
from lab import certificates, config, network, pair, quickstart, wait
from lab.charon import Charon
from lab.host import LabHost
from lab.quickstart import CLIENT_ADDRESS, DVIPA
from lab.state import LabState

NAME, NAME6 = "charon-plugin", "charon-plugin6"
PLUGIN = BRIDGE_NODE = ""
GOOD, WEAK = "aes128gcm16", "camellia128-sha256"  # charon takes both, Testudo only the first
DVIPA6, CLIENT_ADDRESS6 = "2001:db8::100", "2001:db8::10"


def with_weak_child(swanctl: str, dvipa: str) -> str:
    """Adds a child `weak` behind the client's own, which stays the first choice."""
    own = f"esp_proposals = {GOOD}\n      }}"
    return swanctl.replace(own, f"{own}\n      weak {{\n        remote_ts = {dvipa}\n        esp_proposals = {WEAK}\n      }}")


class Lab:
    def __init__(self, name: str = NAME, dvipa: str = DVIPA):
        quickstart.down(name)
        self.dvipa = dvipa
        self.state = LabState(name)
        self.state.create()
        description = pair.topology(name)
        network.build(description, self.state)
        self.client, self.server = (LabHost(host.name, description.namespace(host.name), host.addresses, self.state)
                                    for host in description.hosts)
        for host, address in ((self.client, CLIENT_ADDRESS6), (self.server, DVIPA6)):
            host.run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.lan.disable_ipv6=0")
            host.run("ip", "-6", "address", "replace", f"{address}/64", "dev", "lan", "nodad")
        keys = self.state.path / "ike-certificates"
        certificates.make_ike(keys, {"dvipa": f"IP:{dvipa}", "client": "DNS:client.example"})
        self.client_charon, self.server_charon = Charon(self.client), Charon(self.server)
        self.client_charon.configure("kernel-libipsec kernel-netlink socket-default vici", config.CLIENT_PLUGINS,
                                     with_weak_child(config.client_swanctl(dvipa), dvipa), keys / "client.pem", keys / "ca.pem", key_log=True)
        self.server_charon.configure("kernel-testudo! kernel-netlink vici",
                                     f"    kernel-testudo {{\n      socket = {self.socket}\n    }}",
                                     config.owner_swanctl(dvipa, 0).replace(f"esp_proposals = {GOOD}", f"esp_proposals = {GOOD}, {WEAK}"), keys / "dvipa.pem", keys / "ca.pem")
        self.client_process = self.client_charon.start()
        self.node = self.charon = None

    @property
    def socket(self) -> Path:
        return self.server.dir / "charon.sock"

    def start_node(self) -> None:
        self.node = self.server.start("node", BRIDGE_NODE, str(self.socket), self.dvipa)

    def start_charon(self) -> None:
        self.charon = self.server_charon.start(Path(PLUGIN))

    def events(self, kind: str = "") -> list[dict]:
        log = self.server.dir / "node.log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in found if not kind or event["event"] == kind]

    def since(self, mark: int, kind: str = "") -> list[dict]:
        return [event for event in self.events()[mark:] if not kind or event["event"] == kind]

    def initiate(self) -> None:
        def established() -> bool:
            return "completed" in self.client_charon.swanctl("--initiate", "--child", "web", "--timeout", "8")
        wait.until("the CHILD_SA to be negotiated", established, 20, step=0.3)

    def client_sas(self) -> str:
        return self.client_charon.swanctl("--list-sas")

    def client_keys(self) -> set[str]:
        """SHA-256 of every key of a CHILD_SA in the client's log, as bridge_node says them."""
        log = self.client_charon.log.read_text(encoding="utf-8", errors="replace")
        found = set()
        for title in re.finditer(r"encryption (?:initiator|responder) key => (\d+) bytes[^\n]*\n", log):
            size, rows = int(title[1]), log[title.end():].splitlines()
            text = "".join(re.search(r"\d+: ((?:[0-9A-F]{2} )+)", row)[1] for row in rows[:(size + 15) // 16])
            found.add(hashlib.sha256(bytes.fromhex(text)[:size]).hexdigest())
        return found


class PluginTest(unittest.TestCase):
    """One lab, tests in the order of their names: each finds one CHILD_SA established, or makes it."""

    lab: Lab

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(quickstart.down, NAME)
        cls.lab = Lab()
        cls.lab.start_charon()  # first without a node: it must wait for it
        cls.lab.start_node()
        wait.until("charon to connect", lambda: cls.lab.events("connected"))

    def setUp(self):
        if "INSTALLED" not in self.lab.client_sas():
            self.lab.initiate()
        self.mark = len(self.lab.events())

    def wait_for(self, kind: str, count: int = 1, seconds: float = 10) -> list[dict]:
        return wait.until(f"{count} of {kind} in {self.lab.server.dir}/node.log",
                          lambda: len(self.lab.since(self.mark, kind)) >= count and self.lab.since(self.mark, kind),
                          seconds)

    def test_1_sas_and_policies_arrive_as_negotiated(self):
        added = self.lab.events("add_sa")[-2:]
        self.assertEqual({event["inbound"] for event in added}, {True, False})
        spis = set(re.findall(r"^ +(?:in|out) +([0-9a-f]{8})", self.lab.client_sas(), re.MULTILINE))
        self.assertEqual({f"{event['spi']:08x}" for event in added}, spis)
        for event in added:
            self.assertEqual(event["suite"], "AES-GCM-128")
            self.assertIn(event["key_sha256"], self.lab.client_keys())
            self.assertEqual(event["tunnel"], "clients{1}")
            self.assertEqual(event["local"], DVIPA)
            self.assertTrue(event["encapsulation"])
            self.assertEqual(event["window"], 32)
        self.assertNotEqual(added[0]["key_sha256"], added[1]["key_sha256"])
        self.assertTrue(any(event["life"] > event["rekey"] > 0 for event in added))
        policies = self.lab.events("add_policy")
        self.assertEqual({(event["outbound"], event["tunnel"]) for event in policies},
                         {(True, "clients{1}"), (False, "clients{1}")})

    def test_2_usage_is_asked_of_the_node(self):
        listed = self.lab.server_charon.swanctl("--list-sas")
        self.assertRegex(listed, r"in +[0-9a-f]{8}, +4321 bytes, +21 packets, +[012]s ago")

    def test_21_a_nat_gives_the_client_another_port(self):
        """Both SAs follow, as the same SAs: nothing is negotiated, nothing deleted. And back again."""
        self.client_port(61000)
        self.lab.client_charon.swanctl("--rekey", "--ike", "dvipa")
        moved = self.wait_for("update_sa", 2)
        self.assertEqual({event["source"] for event in moved} | {event["destination"] for event in moved},
                         {f"{CLIENT_ADDRESS}:61000", f"{DVIPA}:4500"})
        self.assertEqual(self.lab.since(self.mark, "add_sa") + self.lab.since(self.mark, "delete_sa"), [])
        self.client_port(None)
        self.lab.client_charon.swanctl("--rekey", "--ike", "dvipa")
        self.wait_for("update_sa", 4)
        self.assertIn("INSTALLED", self.lab.client_sas())
        self.assertTrue(all(event["done"] for event in self.lab.since(self.mark, "update_sa")))

    def client_port(self, port: int | None) -> None:
        """A NAT on the client's host has it send from this port instead of 4500; None: no NAT."""
        self.lab.client.run("nft", "delete table ip plugin_nat", check=False)
        if port is None:
            return
        for rule in ("add table ip plugin_nat",
                     "add chain ip plugin_nat out { type filter hook output priority -300; }",
                     "add chain ip plugin_nat in { type filter hook prerouting priority -300; }",
                     f"add rule ip plugin_nat out udp sport 4500 udp sport set {port}",
                     f"add rule ip plugin_nat in udp dport {port} udp dport set 4500"):
            self.lab.client.run("nft", rule)

    def test_3_rekey_from_the_client(self):
        self.assertIn("completed", self.lab.client_charon.swanctl("--rekey", "--child", "web"))
        self.rekeyed()

    def test_4_rekey_by_soft_expiry(self):
        self.lab.node.signal(signal.SIGUSR1)
        self.assertTrue(self.wait_for("told")[0]["expire"])
        self.rekeyed()

    def rekeyed(self):
        added = self.wait_for("add_sa", 2)
        self.wait_for("delete_sa", 2)
        self.assertEqual({event["tunnel"] for event in added}, {"clients{1}"})
        for event in added:
            self.assertIn(event["key_sha256"], self.lab.client_keys())
        # The policies are those of the former CHILD_SA, and stay.
        self.assertFalse(any(event["changed"] for event in self.lab.since(self.mark, "delete_policy")))
        wait.until("one CHILD_SA to be left", lambda: self.lab.client_sas().count("INSTALLED") == 1)

    def test_5_hard_expiry_replaces_the_sa(self):
        self.lab.node.signal(signal.SIGUSR2)
        self.wait_for("add_sa", 2)
        self.wait_for("delete_sa", 2)
        wait.until("one CHILD_SA to be left", lambda: self.lab.client_sas().count("INSTALLED") == 1)

    def test_6_node_killed_and_restarted(self):
        """charon gives up what the lost node held, and negotiates anew: nobody initiates here."""
        self.lab.node.signal(signal.SIGKILL)
        wait.until("the node to be gone", lambda: not self.lab.node.alive())
        self.lab.start_node()
        self.assertFalse(self.wait_for("connected")[0]["restarted"])
        added = self.wait_for("add_sa", 2, 20)
        for event in added:
            self.assertIn(event["key_sha256"], self.lab.client_keys())

    def test_7_charon_killed_and_restarted(self):
        self.lab.charon.signal(signal.SIGKILL)
        self.wait_for("disconnected")
        self.lab.start_charon()
        self.assertTrue(self.wait_for("connected")[0]["restarted"])
        self.assertEqual(self.lab.since(self.mark, "flush_sas") + self.lab.since(self.mark, "delete_sa"), [])
        self.lab.client_charon.swanctl("--terminate", "--ike", "dvipa", "--force", "--timeout", "1", check=False)
        self.lab.initiate()
        self.assertEqual({event["tunnel"] for event in self.wait_for("add_sa", 2)}, {"clients{1}@1"})

    def test_8_charon_stopped_in_order_deletes_its_sas(self):
        self.lab.charon.stop()
        self.assertFalse(self.lab.charon.alive())
        deleted = self.lab.since(self.mark, "delete_sa")
        self.assertEqual(len([event for event in deleted if event["installed"]]), 2)
        self.assertEqual(self.lab.since(self.mark, "delete_policy")[-1]["left"], 0)
        self.lab.start_charon()

    def test_90_a_refusal_says_what_is_supported(self):
        done = self.lab.client_charon.swanctl("--initiate", "--child", "weak", "--timeout", "5", check=False)
        self.assertNotIn("completed successfully", done)
        self.assertIn("node refused to install an SA: ESP proposal CAMELLIA_CBC(23) with a key of 128 bits,"
                      " HMAC_SHA2_256_128(12) with 256 bits: not supported. Supported: esp_proposals of aes128gcm16",
                      self.charon_log())

    def test_90_b_what_charon_may_propose_is_told_at_once_and_after_each_change(self):
        """Nobody has negotiated anything: the node knows from the configuration alone."""
        self.assertIn("connection clients, child web: ESP proposal with CAMELLIA_CBC(23) with 128 bits: the engine has no",
                      self.lab.events("objection")[0]["text"])
        self.assertIn("node refused to carry out the configuration: connection clients, child web", self.charon_log())
        swanctl = self.lab.server_charon.dir / "swanctl.conf"
        swanctl.write_text(swanctl.read_text(encoding="utf-8").replace(f", {WEAK}", ""), encoding="utf-8")
        self.lab.server_charon.swanctl("--load-conns")
        told = self.wait_for("configuration")[-1]
        self.assertEqual((told["children"], told["objections"]), (1, 0))

    def test_91_a_node_that_hangs_holds_charon_up_for_a_bounded_time(self):
        self.lab.node.signal(signal.SIGSTOP)
        try:
            self.lab.server_charon.swanctl("--rekey", "--child", "web", check=False)
            wait.until("charon to give up", lambda: "did not answer within 3000 ms" in self.charon_log(), 10)
        finally:
            self.lab.node.signal(signal.SIGCONT)
        self.mark = len(self.lab.events())
        wait.until("charon to work again", lambda: self.lab.server_charon.swanctl("--rekey", "--child", "web"))
        self.wait_for("add_sa", 2)

    def test_92_no_key_is_in_a_log(self):
        log = self.lab.client_charon.log.read_text(encoding="utf-8", errors="replace")
        size = re.search(r"encryption initiator key => (\d+) bytes[^\n]*\n", log)
        key = "".join(re.search(r"\d+: ((?:[0-9A-F]{2} )+)", log[size.end():].splitlines()[0])[1].split())
        self.assertEqual(len(key), 32)
        ours = self.charon_log() + (self.lab.server.dir / "node.log").read_text(encoding="utf-8")
        self.assertNotIn(key, ours.upper().replace(" ", ""))

    def charon_log(self) -> str:
        return self.lab.server_charon.log.read_text(encoding="utf-8", errors="replace")


class Ipv6Test(unittest.TestCase):
    """An IPv6 DVIPA: negotiated, rekeyed by expiry, deleted."""

    lab: Lab

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(quickstart.down, NAME6)
        cls.lab = Lab(NAME6, DVIPA6)
        cls.lab.start_node()
        cls.lab.start_charon()
        wait.until("charon to connect", lambda: cls.lab.events("connected"))

    def test_negotiated_and_rekeyed(self):
        self.lab.initiate()
        added = self.lab.events("add_sa")
        self.assertEqual({(event["local"], event["remote"]) for event in added}, {(DVIPA6, CLIENT_ADDRESS6)})
        for event in added:
            self.assertIn(event["key_sha256"], self.lab.client_keys())
        self.assertEqual({event["outbound"] for event in self.lab.events("add_policy")}, {True, False})
        mark = len(self.lab.events())
        self.lab.node.signal(signal.SIGUSR1)
        wait.until("two new SAs", lambda: len(self.lab.since(mark, "add_sa")) == 2)
        wait.until("the old ones to be deleted", lambda: len(self.lab.since(mark, "delete_sa")) == 2)
        self.lab.client_charon.swanctl("--terminate", "--ike", "dvipa")
        wait.until("all to be deleted", lambda: len(self.lab.since(mark, "delete_sa")) == 4)


if __name__ == "__main__":
    if len(sys.argv) < 3 or os.geteuid() != 0:
        sys.exit("usage: plugin_test.py PLUGIN.so BRIDGE_NODE     as root")
    PLUGIN, BRIDGE_NODE = (str(Path(argument).resolve()) for argument in sys.argv[1:3])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, failfast=True)
