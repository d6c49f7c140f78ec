# SPDX-License-Identifier: Apache-2.0
"""What the nodes say about themselves: the one place that knows the JSON of docs/commands.md."""
from dataclasses import dataclass
from typing import Iterable

from lab.node import Node


@dataclass(frozen=True)
class Tally:
    """All counters of several nodes at one moment; `later - earlier` is what happened in between.

        before = Tally.take(cluster.nodes)
        ...
        during = Tally.take(cluster.nodes) - before
        during.of("t1", "target.encrypted"), during.dropped("replay", "replay_too_old")
    """

    counters: dict[str, dict[str, int]]   # node → "inbound.peeked" and so on
    drops: dict[str, dict[str, int]]      # node → reason

    @classmethod
    def take(cls, nodes: dict[str, Node]) -> "Tally":
        answers = {name: node.query("counters") for name, node in nodes.items()}
        return cls({name: {f"{stage}.{counter}": value for stage in ("inbound", "target")
                           for counter, value in answer[stage].items()} for name, answer in answers.items()},
                   {name: answer["drops"] for name, answer in answers.items()})

    def __sub__(self, earlier: "Tally") -> "Tally":
        return Tally(_minus(self.counters, earlier.counters), _minus(self.drops, earlier.drops))

    def of(self, node: str, counter: str) -> int:
        return self.counters[node][counter]

    def dropped(self, *reasons: str) -> int:
        """How many packets were dropped for one of `reasons`, on whatever node."""
        return sum(by_reason.get(reason, 0) for by_reason in self.drops.values() for reason in reasons)

    def all_drops(self) -> dict[str, dict[str, int]]:
        """Node → reason → count, without zeros."""
        found = {name: {reason: count for reason, count in by_reason.items() if count}
                 for name, by_reason in self.drops.items()}
        return {name: by_reason for name, by_reason in found.items() if by_reason}


def _minus(later: dict, earlier: dict) -> dict:
    return {name: {key: value - earlier.get(name, {}).get(key, 0) for key, value in values.items()}
            for name, values in later.items()}


def spis(node: Node, dvipa: str) -> set[int]:
    """SPIs of the SAs that a node holds for a DVIPA, owned or shadowed."""
    return {int(sa["spi"], 16) for sa in node.query("sa")["sas"] if sa["dvipa"] == dvipa}


def unready(status: dict, members: Iterable[str], targets: Iterable[str], dvipas: Iterable[str],
            port: int) -> list[str]:
    """What the owner's status still lacks: links to members, targets ready on a port of each DVIPA, charon."""
    linked = {member["name"] for member in status["members"] if member["link"] in ("self", "up")}
    lacking = [f"no link to {name}" for name in members if name not in linked]
    by_address = {dvipa["address"]: dvipa for dvipa in status["dvipas"]}
    for address in dvipas:
        ready = by_address.get(address, {}).get("targets_ready", {}).get(str(port), [])
        lacking += [f"{name} is not ready for {address}:{port}" for name in targets if name not in ready]
    if not status["ike"]["connected"]:
        lacking.append("charon is not there")
    return lacking
