# SPDX-License-Identifier: Apache-2.0
"""Rows of the freshness simulation (sim/freshness): the telling ones of its some six hundred cases."""

OTHERS = ("blocks of 64", "blocks of 1024", "request per packet", "request per burst")


def pick(cases, **wanted):
    """Cases whose fields are as wanted; a list or tuple: one of these."""
    def fits(case):
        return all(case.get(name) in value if isinstance(value, (list, tuple)) else case.get(name) == value
                   for name, value in wanted.items())
    return [case for case in cases if fits(case)]


def refused_ppm(case):
    return 1e6 * case["refused"] / max(1, case["received"])


def worst_ppm(cases):
    return max(map(refused_ppm, cases))


def distance(case):
    if case["xcf_us"][1] - case["xcf_us"][0] < 10:
        return "equal delays"
    return "each message 10–50 µs" if case["xcf_spread_us"] >= 40 else "hosts 10 to 50 µs away"


def overloaded(cases):
    """Of several targets that were offered more than shared mode can carry."""
    return [c for c in cases if c["scheme"] == "leases" and c["targets"] > 1 and c["rate_offered"] > c["bound"]
            and not c["owner_sends"]]


def refusal_rows(cases, row):
    main = pick(cases, group="main")
    covered = [c for c in pick(cases, group="bounded") if c["guard_us"] >= c["path_jitter_us"]]
    made = [row(f"leases, jitter up to 20 µs, guard as long, {len(covered)} cases: refused", worst_ppm(covered),
                "ppm", goal=0, most=True)]
    leases = pick(main, scheme="leases")
    unexplained = sum(c["refused"] - c["refused_by_jitter"] for c in leases)
    made.append(row(f"leases, exponential jitter, {len(leases)} cases: refused, though not later than the guard",
                    unexplained, "packets", goal=0, most=True))
    for window in (32, 128):
        for targets in (4, 16):
            same = pick(main, window=window, targets=targets)
            value = worst_ppm(pick(same, scheme="leases", guard_us=20))
            for peer in ("blocks of 64", "request per packet"):
                made.append(row(f"leases, guard 20 µs, window {window}, {targets} targets: refused, worst case", value,
                                "ppm", peer, worst_ppm(pick(same, scheme=peer))))
    return made


def rate_rows(cases, row):
    made = []
    groups = [("", pick(cases, group="main", window=window), window) for window in (32, 64)]
    groups += [(", hosts 10 to 50 µs away", [c for c in pick(cases, group="distance", window=window)
                                             if distance(c) == "hosts 10 to 50 µs away"], window) for window in (32, 64)]
    for what, chosen, window in groups:
        worst = min(overloaded(chosen), key=lambda c: c["rate"] / c["bound"])
        made.append(row(f"shared mode, window {window}, more offered than can be carried{what}: worst case",
                        worst["rate"] / 1e6, "Mpps", "window / (round trip + guard)", worst["bound"] / 1e6,
                        worst["rate"] / worst["bound"], 0.8))
    return made


def wait_rows(cases, row):
    main = pick(cases, group="main")
    alone = pick(main, scheme="leases", targets=1)
    made = [row("one target, all rates: wait for numbers after the first lease, p99", max(c["wait_p99_us"] for c in alone),
                "µs", goal=0, most=True)]
    for targets in (4, 16):
        same = pick(main, window=128, targets=targets, rate_offered=0.5e6, burst=44)
        (leases,), (peer,) = pick(same, scheme="leases", guard_us=20), pick(same, scheme="request per packet")
        name = f"leases, window 128, {targets} targets, 0.5 Mpps, bursts of 44"
        for field, what, unit in (("wait_p50_us", "wait for numbers, p50", "µs"), ("wait_p99_us", "wait for numbers, p99", "µs"),
                                  ("messages_per_packet", "messages", "per packet")):
            made.append(row(f"{name}: {what}", leases[field], unit, peer["scheme"], peer[field]))
    return made


def rows(cases, row):
    return refusal_rows(cases, row) + rate_rows(cases, row) + wait_rows(cases, row)
