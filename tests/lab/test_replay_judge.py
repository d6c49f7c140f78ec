# SPDX-License-Identifier: Apache-2.0
"""The judge of claim 5: hand-made streams with known verdicts."""
import random

import pytest

from lab.replay_judge import Verdict, judge, judge_each

NAMES = "numbers window packets duplicates refused reordered deepest"
TABLE = [
    # what                  numbers                          W   pkts dup ref reo deep
    ("nothing",             [],                              32, (0, 0, 0, 0, 0)),
    ("in order",            list(range(1, 101)),             32, (100, 0, 0, 0, 0)),
    ("gaps are free",       [1, 1000, 5000],                 32, (3, 0, 0, 0, 0)),
    ("a swap",              [1, 3, 2, 4],                    32, (4, 0, 0, 1, 1)),
    ("a duplicate",         [1, 2, 2, 3],                    32, (4, 1, 1, 1, 0)),
    ("window's last place", [1, 2, 34, 3],                   32, (4, 0, 0, 1, 31)),
    ("one too old",         [1, 2, 35, 3],                   32, (4, 0, 1, 1, 32)),
    ("old duplicate",       [1, 2, 100, 1],                  32, (4, 1, 1, 1, 99)),
    ("wider window",        [1, 2, 35, 3],                   64, (4, 0, 0, 1, 32)),
    ("refused twice",       [100, 1, 1],                     32, (3, 1, 2, 2, 99)),
]


@pytest.mark.parametrize("what, numbers, window, expected", TABLE, ids=[row[0] for row in TABLE])
def test_table(what, numbers, window, expected):
    assert judge(numbers, window) == Verdict(*expected)


def test_blocks_of_numbers_to_two_senders_are_refused():
    """The scheme that leases replace: two hosts send from blocks of 64, packet by packet in turn."""
    stream = [number for pair in zip(range(1, 65), range(65, 129)) for number in pair]
    verdict = judge(stream, 32)
    assert verdict.duplicates == 0
    assert verdict.refused == 63  # all of the lower block but the very first


def test_streams_are_judged_per_spi():
    verdicts = judge_each([(7, 1), (9, 1), (7, 2), (9, 1)], 32)
    assert verdicts[7].refused == 0
    assert verdicts[9].duplicates == 1


def test_agrees_with_a_bitmap_receiver():
    """The same as RFC 4303's appendix would have it, with a shift register."""
    rng = random.Random(4303)
    for _ in range(200):
        numbers = [max(1, index + rng.randint(-40, 40)) for index in range(1, 200)]
        assert judge(numbers, 32).refused == _shift_register(numbers, 32)


def _shift_register(numbers, window):
    newest, bitmap, refused = 0, 0, 0
    for number in numbers:
        if number > newest:
            bitmap = (bitmap << (number - newest) | 1) & ((1 << window) - 1)
            newest = number
        elif newest - number >= window or bitmap >> (newest - number) & 1:
            refused += 1
        else:
            bitmap |= 1 << (newest - number)
    return refused
