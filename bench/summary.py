# SPDX-License-Identifier: Apache-2.0
"""From the programs' JSON to rows {"name", "value", "unit", "peer", "peer_value", "ratio", "goal", "goal_is", "ok"}.

A time's ratio is peer / value: above 1, the engine is faster. goal_is says whether the goal is the least or the most
that the ratio (or, without a peer, the value) may be. Rows without a goal have None there and in "ok".
"""
import json
import pathlib
import statistics

import freshness

SUITES = ("gcm128", "cbc128-sha256", "chacha20-poly1305")
# (suite, direction, bytes) → least ratio. Suites that are not named have no goal.
AGAINST_DPDK = {("gcm128", "out", 1400): 1.03, ("gcm128", "in", 1400): 1.2,
                ("gcm128", "out", 64): 1.0, ("gcm128", "in", 64): 1.3}
AGAINST_DPDK |= {(suite, direction, size): 1.0 for suite in SUITES[1:]
                 for direction in ("out", "in") for size in (64, 1400)}
AGAINST_RAW = {("gcm128", "out", 1400): 0.85, ("gcm128", "in", 1400): 0.9}


def row(name, value, unit, peer=None, peer_value=None, ratio=None, goal=None, most=False):
    judged = value if ratio is None else ratio
    ok = None if goal is None else bool(judged <= goal if most else judged >= goal)
    return {"name": name, "value": round(value, 2), "unit": unit, "peer": peer,
            "peer_value": None if peer_value is None else round(peer_value, 2),
            "ratio": None if ratio is None else round(ratio, 3), "goal": goal,
            "goal_is": None if goal is None else ("most" if most else "least"), "ok": ok}


def medians(path: pathlib.Path) -> dict[str, float]:
    """Counter "ns" by benchmark, median over the repetitions."""
    values: dict[str, list[float]] = {}
    for one in json.loads(path.read_text())["benchmarks"]:
        if one.get("run_type") != "iteration":
            continue
        if one.get("error_occurred"):
            raise SystemExit(f"bench: error: {one['name']}: {one['error_message']}")
        if "ns" in one:
            values.setdefault(one["run_name"].removesuffix("/manual_time"), []).append(one["ns"])
    return {name: statistics.median(all_of_it) for name, all_of_it in values.items()}


def place(esp_row: dict) -> tuple:
    """GCM first, outbound before inbound, small before large."""
    suite, direction, size, _, sas, _ = esp_row["name"].split()
    return SUITES.index(suite), direction == "in", int(size), sas != "1"


def esp_rows(ns: dict[str, float]) -> list[dict]:
    rows = []
    for name, value in ns.items():
        contender, _, case = name.partition("/")
        if contender != "engine":
            continue
        suite, direction, size, sas = case.split("/")
        key, label = (suite, direction, int(size)), f"{suite} {direction} {size} B, {int(sas):,} SA"
        peers = {peer: ns[f"{peer}/{case}"] for peer in
                 ("dpdk-cpu", "dpdk-cpu-sad", "dpdk-device", "dpdk-device-sad") if f"{peer}/{case}" in ns}
        # With many SAs a receiver must look them up; with one it need not, and the peer need not either.
        fair = {k: v for k, v in peers.items() if k.endswith("-sad") or direction == "out" or sas == "1"}
        best = min(fair, key=fair.get)
        rows.append(row(label, value, "ns/packet", "librte_ipsec " + best.removeprefix("dpdk-"), fair[best],
                        fair[best] / value, AGAINST_DPDK.get(key)))
        if f"raw/{case}" in ns:
            raw = ns[f"raw/{case}"]
            rows.append(row(label, value, "ns/packet", "ipsec-mb alone", raw, raw / value, AGAINST_RAW.get(key)))
        others = {k: v for k, v in peers.items() if k not in fair}
        if others:
            best = min(others, key=others.get)
            rows.append(row(label, value, "ns/packet", f"librte_ipsec {best.removeprefix('dpdk-')}, no look-up",
                            others[best], others[best] / value))
    return sorted(rows, key=place)


def owner_rows(ns: dict[str, float]) -> list[dict]:
    """The forwarded packet against one that is processed in full, and against itself with few connections."""
    made = []
    for size in (64, 1400):
        full = {"the engine": ns[f"engine/any-sa/{size}/0"],
                "the owner": ns[f"owner-decrypts/any-sa/{size}/1000000"]}
        who = min(full, key=full.get)
        for spread in ("any-sa", "own-sa"):
            million, thousand = (ns[f"owner/{spread}/{size}/{n}"] for n in (1_000_000, 1_000))
            name = f"owner forwards {size} B, 1,000,000 connections" + (", each by its SA" if spread == "own-sa" else "")
            made.append(row(name, million, "ns/packet", f"decrypted by {who}", full[who], million / full[who],
                            0.5 if size == 1400 else None, most=True))
            made.append(row(name, million, "ns/packet", "1,000 connections", thousand, million / thousand, 2.0, most=True))
    return made


# The most bytes that one may take.
MEMORY = {"idle inbound SA": 512, "idle outbound SA": 512, "IPv4 connection": 64, "IPv6 connection": 96}


def memory_rows(path: pathlib.Path) -> list[dict]:
    used = json.loads(path.read_text())
    return [row(f"{name}, of a million", use["resident"], "bytes", goal=MEMORY.get(name), most=True)
            for name, use in used.items()]


def filter_rows(path: pathlib.Path) -> list[dict]:
    """Look-ups among many filters against look-ups among few, and against memory itself."""
    times: dict[str, list[float]] = {}
    for one in json.loads(path.read_text())["benchmarks"]:
        if one.get("run_type") == "iteration" and one["time_unit"] == "ns":
            times.setdefault(one["run_name"], []).append(one["real_time"])
    ns = {name: statistics.median(all_of_it) for name, all_of_it in times.items()}
    made = []
    for family in ("ipv4", "ipv6"):
        many, few = ns[f"packets_of_flows_{family}/100000"], ns[f"packets_of_flows_{family}/100"]
        made.append(row(f"filters, packet of a flow, 100,000 rules, {family.replace('ip', 'IP')}", many, "ns/packet",
                        "100 rules", few, many / few, 1.2, most=True))
    for kind, label in (("peers_ipv4", "peers over IPv4"), ("peers_ipv6", "peers over IPv6"), ("ranges", "ranges")):
        many, few = ns[f"{kind}/100000"], ns[f"{kind}/100"]
        name = f"filters, first packet of a flow, 100,000 rules, {label}"
        made.append(row(name, many, "ns/packet", "100 rules", few, many / few))
        memory = ns["one_memory_access/100000"]
        made.append(row(name, many, "ns/packet", "one access to as much memory", memory, many / memory))
    return made


# Million requests a second that one core answers.
SEQUENCER_LEAST = 1.0
SEQUENCER_CASES = {"alone_exclusive": "exclusive", "alone_shared": "shared by two",
                   "alone_shared_returns": "shared by two, returns in datagrams of their own"}


def sequencer_rows(ns: dict[str, float]) -> list[dict]:
    """Each request in a datagram of its own."""
    made = []
    for case, label in SEQUENCER_CASES.items():
        for sas in (1_000, 100_000):
            if f"{case}/{sas}" in ns:
                rate = 1e3 / ns[f"{case}/{sas}"]
                made.append(row(f"sequencer, {sas:,} SAs, {label}", rate, "M requests/s",
                                goal=SEQUENCER_LEAST if sas == 100_000 else None))
    return made


LEDGER_NS_MOST = 15


def ledger_rows(ns: dict[str, float]) -> list[dict]:
    made = []
    for window in (32, 128):
        for sas in (1, 1_000, 100_000):
            case = f"{window}/{sas}"
            name = f"replay ledger, {sas:,} SA, window {window}"
            made.append(row(name, ns[f"both/{case}"], "ns/packet", "of it forwarding", ns[f"forward/{case}"],
                            None, LEDGER_NS_MOST, most=True))
    return made


INSTALL_SECONDS_MOST = 2


def install_rows(path: pathlib.Path) -> list[dict]:
    """The owner's time for the caches, without what it does for its own, and one target's behind it."""
    made = []
    for how, use in json.loads(path.read_text()).items():
        name = f"{use['sas']:,} SAs into {use['targets']} shadow caches, {how}"
        owner = use["owner_seconds"] - use["alone_seconds"]
        made.append(row(name, owner + use["target_seconds"], "s", "of it the owner", owner,
                        goal=INSTALL_SECONDS_MOST, most=True))
        if use["alone_seconds"]:
            made.append(row(f"{use['sas']:,} SAs into the owner's own cache", use["alone_seconds"], "s"))
        made.append(row(f"{name}: to each cache", use["bytes_per_sa"], "bytes/SA"))
        made.append(row(f"{name}: memory of each cache", use["target_resident"] / use["sas"], "bytes/SA"))
        made.append(row(f"{name}: memory of the owner", use["owner_resident"] / use["sas"], "bytes/SA"))
    return made


SA_INSTALL_MS_MOST = 5


def sa_install_rows(path: pathlib.Path) -> list[dict]:
    times = json.loads(path.read_text())
    name = f"an SA of charon's into {times['members']} shadow caches, between processes"
    return [row(f"{name}, {share}", times[share], "ms", "a byte there and back over TCP", times["round_trip"][share],
                goal=SA_INSTALL_MS_MOST if share == "p99" else None, most=True) for share in ("p50", "p99")]


def lease_rtt_rows(path: pathlib.Path) -> list[dict]:
    made = []
    for how, times in json.loads(path.read_text()).items():
        for share in ("p50", "p99"):
            made.append(row(f"lease over UDP, both ends {how}, {share}", times[f"{share}_us"], "us"))
    return made


# By program, from its JSON.
ROWS = {
    "esp": lambda path: esp_rows(medians(path)),
    "owner": lambda path: owner_rows(medians(path)),
    "memory": memory_rows,
    "sequence_bench": lambda path: sequencer_rows(medians(path)),
    "ledger": lambda path: ledger_rows(medians(path)),
    "install": install_rows,
    "sa_install": sa_install_rows,
    "lease_rtt": lease_rtt_rows,
    "policy_bench": filter_rows,
    "freshness": lambda path: freshness.rows(json.loads(path.read_text())["cases"], row),
}


def rows(directory: pathlib.Path, names: list[str]) -> list[dict]:
    made = []
    for name in names:
        if name in ROWS:
            made += ROWS[name](directory / f"{name}.json")
    return made


def cell(number) -> str:
    return "" if number is None else f"{number:.2f}" if abs(number) < 10 else f"{number:,.0f}"


def lines(rows: list[dict]) -> list[list[str]]:
    made = []
    for r in rows:
        goal = "" if r["goal"] is None else ("≥ " if r["goal_is"] == "least" else "≤ ") + f"{r['goal']:g}"
        ok = "" if r["ok"] is None else "yes" if r["ok"] else "no"
        made.append([r["name"], f"{cell(r['value'])} {r['unit']}", r["peer"] or "", cell(r["peer_value"]),
                     cell(r["ratio"]), goal, ok])
    return made


HEAD = ["", "value", "peer", "of the peer", "ratio", "goal", "met"]


def table(rows: list[dict]) -> str:
    cells = [HEAD, *lines(rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    left = {0, 2}
    return "\n".join("  ".join(text.ljust(w) if i in left else text.rjust(w)
                               for i, (text, w) in enumerate(zip(line, widths))).rstrip() for line in cells)
