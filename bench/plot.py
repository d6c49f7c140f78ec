#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of docs/performance.md from the last run, with their data beside them, into docs/images/.

usage: bench/plot.py [--data build/bench/freshness.json] [--out docs/images]
"""
import argparse
import csv
import json
import pathlib
import sys

import freshness

try:
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit("plot: error: there is no matplotlib; tools/setup.sh --bench installs python3-matplotlib")

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOURS = {"leases": "#0b6e4f", "blocks of 1024": "#b23a48", "blocks of 64": "#e07a5f",
           "request per packet": "#3d5a80", "request per burst": "#98a6bd"}
MARKERS = {"leases": "o", "blocks of 1024": "s", "blocks of 64": "v", "request per packet": "x", "request per burst": "+"}
COLUMNS = ("group", "scheme", "targets", "rate_offered", "burst", "window", "guard_us", "xcf_us", "xcf_spread_us",
           "owner_sends", "path_jitter", "offers_on", "bound", "rate", "received", "refused", "refused_by_jitter",
           "beyond_guard_share", "messages_per_packet", "numbers_per_packet", "wait_p50_us", "wait_p99_us", "offers",
           "offers_used")


def line(axes, cases, scheme, value, **style):
    cases = sorted(cases, key=lambda c: c["targets"])
    axes.plot([c["targets"] for c in cases], [value(c) for c in cases], color=COLOURS[scheme], marker=MARKERS[scheme],
              markersize=5, linewidth=1.4, **style)


def of_scheme(cases, scheme):
    return freshness.pick(cases, scheme=scheme, **({"guard_us": 20} if scheme == "leases" else {}))


def by_targets(axes, title):
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    axes.set_xlabel("targets that send")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)


def drops(cases):
    """Share refused, by window and number of targets."""
    figure, all_axes = plt.subplots(1, 4, figsize=(11, 3.3), sharey=True)
    for axes, window in zip(all_axes, (32, 64, 128, 1024)):
        same = freshness.pick(cases, group="main", rate_offered=0.5e6, burst=44, window=window)
        for scheme in COLOURS:
            line(axes, of_scheme(same, scheme), scheme, lambda c: c["refused"] / max(1, c["received"]), label=scheme)
        axes.set_yscale("symlog", linthresh=1e-6)
        axes.set_ylim(-2e-7, 2)
        axes.set_yticks([0, 1e-6, 1e-4, 1e-2, 1], ["0", "1 ppm", "0.01 %", "1 %", "100 %"])
        by_targets(axes, f"replay window {window}")
    all_axes[0].set_ylabel("packets that the peer refuses")
    all_axes[3].legend(fontsize=8, loc="center right")
    figure.suptitle("0.5 Mpps on one SA, bursts of 44 packets; leases: guard 20 µs; path: 20 µs + exponential jitter of 5 µs",
                    fontsize=10)
    return figure


def waits(cases):
    """What a packet waits for its number, p50 and p99."""
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 3.3), sharey=True)
    for axes, rate in zip(all_axes, (0.1e6, 0.5e6, 1e6)):
        same = freshness.pick(cases, group="main", rate_offered=rate, burst=44, window=128)
        for scheme in ("leases", "blocks of 64", "request per packet", "request per burst"):
            line(axes, of_scheme(same, scheme), scheme, lambda c: c["wait_p99_us"], label=f"{scheme}, p99")
            line(axes, of_scheme(same, scheme), scheme, lambda c: c["wait_p50_us"], linestyle=":")
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(-1, 3000)
        axes.set_yticks([0, 10, 100, 1000], ["0", "10", "100", "1000"])
        by_targets(axes, f"{rate / 1e6:g} Mpps on one SA")
    all_axes[0].set_ylabel("wait for a number, µs")
    all_axes[0].legend(fontsize=8, title="dotted: p50", title_fontsize=8)
    figure.suptitle("replay window 128, bursts of 44 packets; each message to or from the sequencer takes 10–50 µs", fontsize=10)
    return figure


def rates(cases):
    """Achieved rate against the bound of shared mode."""
    figure, axes = plt.subplots(figsize=(6.2, 4.2))
    chosen = freshness.overloaded(freshness.pick(cases, group=("main", "distance")))
    styles = {"equal delays": ("#3d5a80", "^"), "each message 10–50 µs": ("#0b6e4f", "o"),
              "hosts 10 to 50 µs away": ("#b23a48", "s")}
    for name, (colour, marker) in styles.items():
        those = [c for c in chosen if freshness.distance(c) == name]
        axes.plot([c["bound"] / 1e6 for c in those], [c["rate"] / 1e6 for c in those], marker, color=colour,
                  markersize=5, alpha=0.7, label=name)
    most = max(c["bound"] for c in chosen) / 1e6
    axes.plot([0, most], [0, most], color="black", linewidth=1, label="the bound")
    axes.plot([0, most], [0, 0.8 * most], color="black", linewidth=1, linestyle="--", label="0.8 of it")
    axes.set_xlabel("window / (mean round trip + guard), Mpps")
    axes.set_ylabel("achieved, Mpps")
    axes.set_title("shared mode, 2–16 targets that offer more than that", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def offers(cases):
    """What an answer waits for its number, with numbers offered unasked and without."""
    figure, all_axes = plt.subplots(1, 2, figsize=(8.5, 3.3), sharey=True)
    for axes, targets in zip(all_axes, (4, 16)):
        same = freshness.pick(cases, group="answers", targets=targets, burst=4, window=128)
        for on, colour, name in ((False, "#3d5a80", "asked for"), (True, "#0b6e4f", "offered")):
            those = sorted(freshness.pick(same, offers_on=on), key=lambda c: c["rate_offered"])
            rates_of = [c["rate_offered"] / 1e3 for c in those]
            axes.plot(rates_of, [c["wait_p99_us"] for c in those], "o-", color=colour, label=f"{name}, p99")
            axes.plot(rates_of, [c["wait_p50_us"] for c in those], "o:", color=colour, label=f"{name}, p50")
        axes.set_xscale("log")
        axes.set_xticks([20, 100, 300], ["20", "100", "300"])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("packets of answers on one SA, 1000/s")
        axes.set_title(f"{targets} targets", fontsize=10)
        axes.grid(alpha=0.3)
    all_axes[0].set_ylabel("wait for a number, µs")
    all_axes[0].legend(fontsize=8)
    figure.suptitle("answers of 4 packets, 20–100 µs after what they answer; replay window 128, guard 20 µs", fontsize=10)
    return figure


PICTURES = {"freshness-drops": drops, "freshness-waits": waits, "freshness-rates": rates, "freshness-offers": offers}


def write_data(cases, path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for case in cases:
            values = (case.get(name, "") for name in COLUMNS)
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "build/bench/freshness.json")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/images")
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"plot: error: {options.data} is missing; bench/run.py --only freshness makes it")
    cases = json.loads(options.data.read_text())["cases"]
    options.out.mkdir(parents=True, exist_ok=True)
    write_data(cases, options.out / "freshness.csv")
    for name, draw in PICTURES.items():
        figure = draw(cases)
        figure.tight_layout()
        figure.savefig(options.out / f"{name}.png", dpi=110)
        plt.close(figure)
    print(f"plot: {len(PICTURES)} pictures and freshness.csv are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
