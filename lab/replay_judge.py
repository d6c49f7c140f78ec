# SPDX-License-Identifier: Apache-2.0
"""What a receiver would make of a stream of sequence numbers: duplicates, and refusals by a replay window.

    verdict = judge([1, 2, 4, 3, 3], window=32)
    assert (verdict.packets, verdict.duplicates, verdict.refused) == (5, 1, 1)

The window is RFC 4303, section 3.4.3: the newest number seen, and which of the `window` numbers up to and including it
have been seen. A number below it is refused unseen, a number seen in it is refused as a replay.
"""
from dataclasses import dataclass
from typing import Iterable


@dataclass(frozen=True)
class Verdict:
    packets: int
    duplicates: int   # numbers that occurred before, however long ago
    refused: int      # refused by the window: too old, or a duplicate inside it
    reordered: int    # behind the newest at arrival, whether refused or not
    deepest: int      # how far behind the newest the most belated one was

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(self.packets + other.packets, self.duplicates + other.duplicates,
                       self.refused + other.refused, self.reordered + other.reordered,
                       max(self.deepest, other.deepest))


NOTHING = Verdict(0, 0, 0, 0, 0)


def judge(sequence_numbers: Iterable[int], window: int) -> Verdict:
    """One SA's numbers in the order of arrival."""
    seen: set[int] = set()
    newest = packets = duplicates = refused = reordered = deepest = 0
    for number in sequence_numbers:
        packets += 1
        behind = newest - number
        is_duplicate = number in seen
        if is_duplicate:
            duplicates += 1
        seen.add(number)
        if behind < 0:
            newest = number
            continue
        reordered += 1
        deepest = max(deepest, behind)
        if is_duplicate or behind >= window:
            refused += 1
    return Verdict(packets, duplicates, refused, reordered, deepest)


def judge_each(pairs: Iterable[tuple[int, int]], window: int) -> dict[int, Verdict]:
    """(SPI, sequence number) pairs in the order of arrival, judged per SPI."""
    streams: dict[int, list[int]] = {}
    for spi, number in pairs:
        streams.setdefault(spi, []).append(number)
    return {spi: judge(numbers, window) for spi, numbers in streams.items()}
