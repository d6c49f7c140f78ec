# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the main job, end to end, on this machine. Says what it does, ends with a table, removes everything.

Exit status 0 only if every claim was checked and is true. `build/demo.json` has the figures.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from lab import claims, quickstart
from lab.certificates import REPOSITORY
from lab.claims import Claim, Run
from lab.quickstart import DVIPA, Quickstart

NAME = "demo"
CLAIMS = range(1, 10)
REKEY_BYTES = 110_000_000


class Story:
    """The narration, with the time since the start before each line."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.claims: list[Claim] = []

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def tell(self, text: str) -> None:
        print(f"[{self.seconds:5.1f} s] {text}", flush=True)

    def add(self, claim: Claim) -> None:
        self.claims.append(claim)
        if not claim.ok:
            self.tell(f"claim {claim.id} does NOT hold: {json.dumps(claim.figures)}")


def play(story: Story, cluster: Quickstart) -> None:
    run = Run.begin(cluster)
    story.tell(f"the client's stock strongSwan negotiates with {DVIPA}, and asks for a page at once")
    story.add(claims.negotiated(cluster))

    story.tell("60 HTTP requests through that one tunnel, each a new connection")
    requests = claims.sixty_requests(run)
    story.add(claims.distributed(requests))
    story.add(claims.offloaded(requests, cluster))

    story.tell("three downloads of 100 MB at once from three targets, with three rekeys in their midst")
    downloads = claims.downloads_with_rekeys(run)
    story.tell(f"300 MB in {downloads.seconds:.1f} s")

    story.tell("plain HTTP to the second DVIPA, and clear text to the first one, which its filter forbids")
    story.add(claims.plain_distribution(cluster))

    story.tell("packets seen on the link are sent once more, at once and when their connections have ended")
    slow = claims.SlowDownloads.start(cluster)
    frames, during = claims.replay_now(run)
    slow.finish()
    story.add(claims.replays_refused(during, claims.replay(cluster, frames)))

    story.tell("nginx stops on t2 in the middle of a download, and starts again")
    story.add(claims.server_stops_and_starts(cluster))

    lost = run.capture.stop()
    packets = run.captured()
    story.tell(f"judging {len(packets)} captured packets ({lost} lost by the capture)")
    story.add(claims.direct_replies(packets, cluster))
    story.add(claims.fresh_sequence_numbers(packets, downloads))
    story.add(claims.seamless_rekeys(packets, downloads))


def table(done: list[Claim]) -> str:
    lines = ["", " #  holds  claim", "--  -----  " + "-" * 100]
    lines += [f"{claim.id:>2}  {'yes' if claim.ok else 'NO':<5}  {claim.says}" for claim in done]
    return "\n".join(lines)


def finish(story: Story, path: Path) -> bool:
    """Writes the file and the table; a claim that was never reached counts as false."""
    done = {claim.id: claim for claim in story.claims}
    for number in CLAIMS:
        done.setdefault(number, Claim(number, False, "not checked: the demo ended before"))
    in_order = [done[number] for number in sorted(done)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"claims": [
        {"id": claim.id, "ok": claim.ok, "says": claim.says, "figures": claim.figures} for claim in in_order]},
        indent=2) + "\n", encoding="utf-8")
    print(table(in_order))
    holding = sum(claim.ok for claim in in_order)
    print(f"\n{holding} of {len(in_order)} claims hold, {story.seconds:.0f} s; figures: {path}")
    return holding == len(in_order)


def _interrupted(number, _frame) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build" / "demo.json")
    parser.add_argument("--keep-logs", type=Path, help="copy the lab's files there before they are removed")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("demo: needs root: it makes network namespaces", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    quickstart.down(NAME)  # left by a demo that was killed
    arguments.json.unlink(missing_ok=True)
    story = Story()
    try:
        story.tell("building the cluster: a client, an owner, a backup, three targets, etcd")
        cluster = Quickstart.up(NAME, REKEY_BYTES, keep_on_failure=True)
        story.tell("every member is in, every target is ready")
        play(story, cluster)
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        _show_logs()
    finally:
        _clean_up(arguments.keep_logs)
    return 0 if finish(story, arguments.json) else 1


def _clean_up(keep_logs: Path | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
    source = quickstart.LabState(NAME).path / "hosts"
    if keep_logs and source.is_dir():
        shutil.copytree(source, keep_logs, dirs_exist_ok=True, ignore=lambda folder, names: [
            name for name in names if (Path(folder) / name).is_socket()])
    quickstart.down(NAME)


def _show_logs() -> None:
    """The end of every node's log: what went wrong is usually there."""
    for log in sorted((quickstart.LabState(NAME).path / "hosts").glob("*/node.log")):
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        print(f"--- {log.parent.name}", *tail, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
