# SPDX-License-Identifier: Apache-2.0
"""What must be true of the quickstart cluster, claim by claim. The demo prints them, the end-to-end tests assert them.

Wherever possible the evidence does not come from what the claim is about: a capture on the client's link, what curl
received, what the stock strongSwan at the other end says; counters only for what happens inside.
"""
import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lab import inject, observe, wait
from lab.capture import Capture, CaptureReader, EspPacket, address, mac_text
from lab.http import Answers, Download, get_names
from lab.observe import Tally
from lab.quickstart import BIG_FILE_BYTES, DVIPA, PLAIN_DVIPA, SLOW_FILE_BYTES, TARGETS, Quickstart
from lab.replay_judge import NOTHING, judge_each

RECEIVER_WINDOW = 32
REFUSED_PER_PACKET_MAX = 1e-5
PREEMPTED_PER_PACKET_MAX = 0.01


@dataclass(frozen=True)
class Claim:
    id: int
    ok: bool
    says: str
    figures: dict = field(default_factory=dict)


@dataclass
class Run:
    """One pass over a cluster, with a capture on the client's link for the claims that are judged by it."""

    cluster: Quickstart
    capture: Capture
    reader: CaptureReader
    packets: list[EspPacket] = field(default_factory=list)

    @classmethod
    def begin(cls, cluster: Quickstart) -> "Run":
        capture = Capture(cluster.client, "lan", cluster.state.tmpfs / "client.pcap").start()
        return cls(cluster, capture, CaptureReader(capture.path))

    def captured(self) -> list[EspPacket]:
        """What was on the client's link so far."""
        self.packets += self.reader.more()
        return self.packets


def from_dvipa(packets: list[EspPacket]) -> list[EspPacket]:
    dvipa = address(DVIPA)
    return [packet for packet in packets if packet.source == dvipa]


def to_dvipa(packets: list[EspPacket]) -> list[EspPacket]:
    dvipa = address(DVIPA)
    return [packet for packet in packets if packet.destination == dvipa]


# ---- 1: one negotiation, shadows everywhere, no lost first packet ----

def negotiated(cluster: Quickstart) -> Claim:
    cluster.client_charon.initiate("web")
    syns_again = _syns_sent_again(cluster)
    first = get_names(cluster.client, DVIPA, 1)
    syns_again = _syns_sent_again(cluster) - syns_again
    listed = cluster.client_charon.swanctl("--list-sas")
    negotiated_spis = _spis_of_client(listed)
    holders = ("owner", "backup", *TARGETS)

    def missing() -> dict[str, list[str]]:
        return {name: sorted(f"{spi:08x}" for spi in lacking) for name in holders
                if (lacking := negotiated_spis - observe.spis(cluster.nodes[name], DVIPA))}

    try:
        wait.until("every shadow cache to hold the SA", lambda: not missing(), 2.0)
    except wait.TimedOut:
        pass
    arrived = first.total == 1 and syns_again == 0
    ok = len(negotiated_spis) == 2 and "IKEv2" in listed and not missing() and arrived
    return Claim(1, ok, "the client negotiates IKEv2 with the DVIPA; owner, backup and three shadow caches hold the one"
                        " CHILD_SA; its first packet arrives",
                 {"child_sas": len(negotiated_spis) / 2, "spis": sorted(f"{spi:08x}" for spi in negotiated_spis),
                  "holders": [name for name in holders if name not in missing()], "missing": missing(),
                  "first_syn_sent_again": syns_again,
                  "first_connect_ms": round(first.connect_seconds[0] * 1e3, 2) if first.total else first.errors})


def _syns_sent_again(cluster: Quickstart) -> int:
    """By the client's kernel, since its namespace was made. A SYN that is lost comes again after a second."""
    lines = cluster.client.run("cat", "/proc/net/netstat").stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("TcpExt:"))
    return int(dict(zip(names, values))["TCPSynRetrans"])


def _spis_of_client(listed: str) -> set[int]:
    """Of `swanctl --list-sas`: lines that begin with `in` or `out`, of CHILD_SAs that are not being deleted."""
    found, live = set(), False
    for line in listed.splitlines():
        words = line.replace(",", " ").split()
        if "reqid" in words:
            live = "INSTALLED" in words or "REKEYED" in words
        elif words and words[0] in ("in", "out") and live:
            found.add(int(words[1], 16))
    return found


# ---- 2, 3, 4: sixty requests ----

@dataclass(frozen=True)
class Requests:
    answers: Answers
    tally: Tally            # what the nodes counted meanwhile
    packets: list[EspPacket]


def sixty_requests(run: Run, count: int = 60) -> Requests:
    """Requests, one connection each, and nothing else meanwhile."""
    nodes = run.cluster.nodes
    skip = len(run.captured())
    before = Tally.take(nodes)
    answers = get_names(run.cluster.client, DVIPA, count)
    packets: list[EspPacket] = []

    def accounted() -> bool:
        # The last FIN may still be under way when curl ends.
        nonlocal packets
        packets = run.captured()[skip:]
        return not _unaccounted(Tally.take(nodes) - before, packets, run.cluster)

    try:
        wait.until("the counters to account for every packet", accounted, 2.0)
    except wait.TimedOut:
        pass
    return Requests(answers, Tally.take(nodes) - before, packets)


def distributed(requests: Requests) -> Claim:
    served = {target: requests.answers.served_by[target] for target in TARGETS}
    spis_in, spis_out = ({packet.spi for packet in side}
                         for side in (to_dvipa(requests.packets), from_dvipa(requests.packets)))
    ok = requests.answers.failed == 0 and min(served.values()) >= 12 and len(spis_in) == len(spis_out) == 1
    return Claim(2, ok, f"{requests.answers.total} requests, each a new connection, are spread over three targets and"
                        " ride on one CHILD_SA pair",
                 {"requests": requests.answers.total + requests.answers.failed, "failed": requests.answers.failed,
                  "served_by": served, "spis_on_the_link": len(spis_in) + len(spis_out),
                  "errors": requests.answers.errors})


def offloaded(requests: Requests, cluster: Quickstart) -> Claim:
    tally = requests.tally
    owner = {counter: tally.of("owner", counter) for counter in (
        "inbound.peeked", "inbound.authenticated", "inbound.decrypted", "inbound.forwarded", "target.decrypted",
        "target.encrypted")}
    targets = {name: {side: tally.of(name, f"target.{side}") for side in ("decrypted", "encrypted")}
               for name in TARGETS}
    full_crypto = owner["inbound.decrypted"] + owner["target.decrypted"] + owner["target.encrypted"]
    connections = requests.answers.total
    unaccounted = _unaccounted(requests.tally, requests.packets, cluster)
    ok = (full_crypto == 0 and owner["inbound.authenticated"] == connections > 0
          and owner["inbound.forwarded"] == len(to_dvipa(requests.packets)) and not unaccounted)
    return Claim(3, ok, "the owner encrypts nothing, authenticates SYNs and only peeks at the rest; the targets'"
                        " counters account for every packet on the link",
                 {"connections": connections, "owner": owner, "targets": targets, "unaccounted": unaccounted})


def _unaccounted(tally: Tally, packets: list[EspPacket], cluster: Quickstart) -> dict[str, int]:
    """Where the targets' counters and the capture differ: counter minus packets on the link."""
    senders = Counter(cluster.macs.get(mac_text(packet.source_mac)) for packet in from_dvipa(packets))
    differences = {f"{target} encrypted": tally.of(target, "target.encrypted") - senders[target] for target in TARGETS}
    differences["decrypted"] = sum(tally.of(target, "target.decrypted") for target in TARGETS) - len(to_dvipa(packets))
    return {name: difference for name, difference in differences.items() if difference}


def direct_replies(packets: list[EspPacket], cluster: Quickstart) -> Claim:
    by_mac = Counter(packet.source_mac for packet in from_dvipa(packets))
    by_sender = {cluster.macs.get(mac_text(mac), mac_text(mac)): count for mac, count in by_mac.items()}
    return Claim(4, set(by_sender) == set(TARGETS), "replies go straight from target to client, not through the owner",
                 {"packets_by_sender": by_sender})


# ---- 5, 6: three downloads at once, rekeyed in their midst ----

@dataclass(frozen=True)
class Downloads:
    served_by: list[str]
    errors: list[str]
    right_sha256: list[bool]
    seconds: float
    rekeys: dict[str, bool]
    drops: dict
    client_losses: dict[str, int]


def downloads_with_rekeys(run: Run) -> Downloads:
    """Three 100 MB downloads from three targets. At 12 % the client rekeys, at 37 % the owner; after that the byte
    limit that `Quickstart.up` was given is reached."""
    cluster = run.cluster
    before = Tally.take(cluster.nodes)
    owner_log = cluster.owner_charon.log
    byte_rekeys = owner_log.read_text(encoding="utf-8").count(_REKEY_BY_LIMIT)
    started = time.monotonic()
    downloads = _three_targets(cluster)
    rekeys = {"by the client": _rekey_at(cluster.client_charon, downloads, 0.12),
              "by the owner": _rekey_at(cluster.owner_charon, downloads, 0.37)}
    served = [download.served_by() for download in downloads]
    errors = [error for download in downloads if (error := download.finish(90))]
    seconds = time.monotonic() - started
    rekeys["by the byte limit"] = owner_log.read_text(encoding="utf-8").count(_REKEY_BY_LIMIT) > byte_rekeys
    right = [_sha256(download.path) == cluster.big_file_sha256 for download in downloads]
    for download in downloads:
        download.path.unlink()
    return Downloads(served, errors, right, seconds, rekeys, (Tally.take(cluster.nodes) - before).all_drops(),
                     _client_losses(cluster))


_REKEY_BY_LIMIT = "creating rekey job for CHILD_SA"


def _three_targets(cluster: Quickstart) -> list[Download]:
    """Downloads from three different targets; one that repeats a target is given up for another try."""
    downloads: dict[str, Download] = {}
    for attempt in range(12):
        download = Download.start(cluster.client, f"http://{DVIPA}/100mb", cluster.state.tmpfs / f"download{attempt}")
        served = download.served_by()
        if served in downloads:
            download.cancel()
            download.path.unlink()
        else:
            downloads[served] = download
        if len(downloads) == len(TARGETS):
            break
    return list(downloads.values())


def _rekey_at(charon, downloads: list[Download], share: float) -> bool:
    total = share * BIG_FILE_BYTES * len(downloads)
    wait.until(f"{share:.0%} of the downloads",
               lambda: sum(download.bytes for download in downloads) >= total
               or not any(download.running() for download in downloads), 60)
    in_their_midst = any(download.running() for download in downloads)
    return in_their_midst and "rekey completed successfully" in charon.swanctl("--rekey", "--child", "web", check=False)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _client_losses(cluster: Quickstart) -> dict[str, int]:
    """Packets that the client's kernel could not hand to charon in time; TCP makes up for them."""
    lines = cluster.client.run("cat", "/proc/net/snmp").stdout.splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
    udp = dict(zip(names, map(int, values)))
    return {"udp_receive_buffer_full": udp["RcvbufErrors"]}


def fresh_sequence_numbers(packets: list[EspPacket], downloads: Downloads) -> Claim:
    verdict = sum(judge_each(((packet.spi, packet.sequence) for packet in from_dvipa(packets)),
                             RECEIVER_WINDOW).values(), NOTHING)
    allowed = int(verdict.packets * REFUSED_PER_PACKET_MAX)
    ok = (verdict.duplicates == 0 and verdict.refused <= allowed and all(downloads.right_sha256)
          and set(downloads.served_by) == set(TARGETS) and verdict.packets >= 200_000)
    return Claim(5, ok, "three targets send at once on one SA: no sequence number twice, none too old for a receiver"
                        f" with a window of {RECEIVER_WINDOW}",
                 {"packets": verdict.packets, "duplicates": verdict.duplicates, "refused_by_window": verdict.refused,
                  "refused_allowed": allowed, "reordered": verdict.reordered, "deepest": verdict.deepest,
                  "senders": downloads.served_by, "sha256_right": all(downloads.right_sha256)})


def seamless_rekeys(packets: list[EspPacket], downloads: Downloads) -> Claim:
    generations = len({packet.spi for packet in from_dvipa(packets)})
    drops = {name: dict(by_reason) for name, by_reason in downloads.drops.items()}
    # Not a rekey's doing: a target that gets no processor for longer than a lease never sends late what it numbered.
    preempted = sum(by_reason.pop("lease_expired", 0) for by_reason in drops.values())
    drops = {name: by_reason for name, by_reason in drops.items() if by_reason}
    ok = (not downloads.errors and len(downloads.right_sha256) == 3 and all(downloads.right_sha256)
          and all(downloads.rekeys.values()) and generations >= 4 and not drops
          and preempted <= PREEMPTED_PER_PACKET_MAX * len(packets))
    return Claim(6, ok, "rekeys by the client, by the owner and by the byte limit in the midst of the downloads lose"
                        " nothing",
                 {"rekeys": downloads.rekeys, "sa_generations": generations, "downloads": len(downloads.right_sha256),
                  "seconds": round(downloads.seconds, 2),
                  "mbit_per_s": round(8e-6 * 3 * BIG_FILE_BYTES / downloads.seconds), "errors": downloads.errors,
                  "drops": drops, "dropped_by_preempted_senders": preempted, "client": downloads.client_losses})


# ---- 7: without IPsec ----

def plain_distribution(cluster: Quickstart) -> Claim:
    before = Tally.take(cluster.nodes)
    answers = get_names(cluster.client, PLAIN_DVIPA, 15)
    attempts = 3
    established = inject.connect_in_the_clear(cluster.client, DVIPA, 80, attempts, seconds=0.4)
    try:
        wait.until("the drops to be counted",
                   lambda: (Tally.take(cluster.nodes) - before).dropped("clear_but_protected") >= attempts, 2.0)
    except wait.TimedOut:
        pass
    counted = (Tally.take(cluster.nodes) - before).dropped("clear_but_protected")
    served = {target: answers.served_by[target] for target in TARGETS}
    ok = answers.failed == 0 and min(served.values()) >= 3 and established == 0 and counted >= attempts
    return Claim(7, ok, "plain HTTP to the second DVIPA is spread the same way; clear traffic that must be protected is"
                        " dropped and counted",
                 {"served_by": served, "failed": answers.failed, "errors": answers.errors,
                  "clear_connections_tried": attempts, "clear_connections_established": established,
                  "dropped_clear_but_protected": counted})


# ---- 8 and 9: a server goes and comes; packets come again ----

@dataclass
class SlowDownloads:
    """One slow download from each target, under way."""

    downloads: dict[str, Download]

    @classmethod
    def start(cls, cluster: Quickstart) -> "SlowDownloads":
        downloads: dict[str, Download] = {}
        for attempt in range(12):
            path = cluster.state.tmpfs / f"slow{attempt}"
            download = Download.start(cluster.client, f"http://{DVIPA}/slow", path)
            served = download.served_by()
            if served in downloads:
                download.cancel()
            downloads.setdefault(served, download)
            if len(downloads) == len(TARGETS):
                break
        return cls(downloads)

    def finish(self) -> None:
        for download in self.downloads.values():
            download.finish(60)


def server_stops_and_starts(cluster: Quickstart, target: str = "t2") -> Claim:
    slow = _slow_from(cluster, target)
    cluster.nginx[target].quit()
    stopped = time.monotonic()
    received = slow.bytes
    was_running = slow.running() and 0 < received < SLOW_FILE_BYTES
    try:
        last_bad, late = _requests_since(cluster, target, stopped)
        errors = slow.finish(60)
        ended_normally = not errors and slow.bytes == SLOW_FILE_BYTES
        wait.until(f"nginx on {target} to end", lambda: not cluster.processes[f"{target}/nginx"].alive(), 10)
    finally:
        cluster.processes[f"{target}/nginx"] = cluster.nginx[target].start()
    started = time.monotonic()
    try:
        wait.until("the target to serve again", lambda: get_names(cluster.client, DVIPA, 3).served_by[target], 10)
        back: float | None = time.monotonic() - started
    except wait.TimedOut:
        back = None
    ok = last_bad <= 1.0 and late.failed == 0 and was_running and ended_normally and back is not None
    return Claim(8, ok, f"nginx stops on {target}: no new connection goes there within a second, the running one ends"
                        " normally; it starts and takes connections again",
                 {"last_connection_there_ms": round(last_bad * 1e3), "download_was_running": was_running,
                  "download_bytes_when_it_stopped": received, "download_bytes": slow.bytes,
                  "download_ended_normally": ended_normally, "errors": errors,
                  "back_after_ms": None if back is None else round(back * 1e3)})


def _requests_since(cluster: Quickstart, target: str, stopped: float) -> tuple[float, Answers]:
    """Requests until well after the first second: when the last one failed or went to `target`, in seconds since
    `stopped`, and the last answers."""
    last_bad = 0.0
    since = 0.0
    while since <= 1.4:
        since = time.monotonic() - stopped
        answers = get_names(cluster.client, DVIPA, 3)
        if answers.failed or answers.served_by[target]:
            last_bad = since
    return last_bad, answers


def _slow_from(cluster: Quickstart, target: str) -> Download:
    """A slow download from that target, just begun."""
    for _ in range(20):
        download = Download.start(cluster.client, f"http://{DVIPA}/slow", cluster.state.tmpfs / "slow-at-stop")
        if download.served_by() == target:
            wait.until("the first bytes of the slow download", lambda: download.bytes)
            return download
        download.cancel()
    raise RuntimeError(f"none of 20 connections went to {target}")


@dataclass(frozen=True)
class Replays:
    sent: int
    refused: int


def replay_now(run: Run, count: int = 12) -> tuple[list[bytes], Replays]:
    """Sends the newest inbound packets of the link once more. Returns them too."""
    whole = [packet for packet in to_dvipa(run.captured()[-5000:]) if len(packet.frame) == packet.wire_bytes]
    frames = [bytes(packet.frame) for packet in whole[-count:]]
    return frames, replay(run.cluster, frames)


def replay(cluster: Quickstart, frames: list[bytes]) -> Replays:
    before = Tally.take(cluster.nodes)
    inject.send_frames(cluster.client, "lan", frames)

    def refused() -> int:
        return (Tally.take(cluster.nodes) - before).dropped("replay", "replay_too_old")

    try:
        wait.until("the replays to be counted", lambda: refused() >= len(frames), 2.0)
    except wait.TimedOut:
        pass
    return Replays(len(frames), refused())


def replays_refused(during: Replays, after: Replays) -> Claim:
    ok = during.sent == during.refused > 0 and after.sent == after.refused > 0
    return Claim(9, ok, "captured packets sent again are refused and counted, while the connection lives and after"
                        " it has ended",
                 {"sent_again_at_once": during.sent, "refused_at_once": during.refused,
                  "sent_again_after_the_end": after.sent, "refused_after_the_end": after.refused})
