# SPDX-License-Identifier: Apache-2.0
"""What the nodes say about themselves: the one place that knows the JSON of docs/commands.md."""
from dataclasses import dataclass

from lab.node import Node


def counters(node: Node) -> dict[str, int]:
    return node.query("counters")["counters"]


def drops(node: Node) -> dict[str, int]:
    """Drops by reason, without those that are zero."""
    return {reason: count for reason, count in node.query("counters")["drops"].items() if count}


@dataclass(frozen=True)
class Tally:
    """All counters of several nodes at one moment; `later - earlier` is what happened in between."""

    counters: dict[str, dict[str, int]]
    drops: dict[str, dict[str, int]]

    @classmethod
    def take(cls, nodes: dict[str, Node]) -> "Tally":
        answers = {name: node.query("counters") for name, node in nodes.items()}
        return cls({name: answer["counters"] for name, answer in answers.items()},
                   {name: answer["drops"] for name, answer in answers.items()})

    def __sub__(self, earlier: "Tally") -> "Tally":
        return Tally(_minus(self.counters, earlier.counters), _minus(self.drops, earlier.drops))

    def of(self, node: str, counter: str) -> int:
        return self.counters[node][counter]

    def dropped(self, *reasons: str, nodes: tuple[str, ...] = ()) -> int:
        """How many packets were dropped for one of `reasons`, on `nodes` or anywhere."""
        return sum(count for name, by_reason in self.drops.items() if not nodes or name in nodes
                   for reason, count in by_reason.items() if reason in reasons)

    def all_drops(self) -> dict[str, dict[str, int]]:
        found = {name: {reason: count for reason, count in by_reason.items() if count}
                 for name, by_reason in self.drops.items()}
        return {name: by_reason for name, by_reason in found.items() if by_reason}


def _minus(later: dict, earlier: dict) -> dict:
    return {name: {key: value - earlier.get(name, {}).get(key, 0) for key, value in values.items()}
            for name, values in later.items()}


def inbound_sas(node: Node, dvipa: str) -> list[dict]:
    return [sa for sa in node.query("sa")["sas"] if sa["dvipa"] == dvipa and sa["direction"] == "inbound"]


def spis(node: Node, dvipa: str) -> set[int]:
    """SPIs of the SAs that a node holds for a DVIPA, owned or shadowed."""
    return {int(sa["spi"], 16) for sa in node.query("sa")["sas"] if sa["dvipa"] == dvipa}
