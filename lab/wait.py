# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, never for a fixed time."""
import time
from typing import Callable, TypeVar

T = TypeVar("T")


class TimedOut(RuntimeError):
    pass


def until(what: str, condition: Callable[[], T], seconds: float = 10.0, step: float = 0.02) -> T:
    """Calls `condition` until it is true and returns what it returned. A condition that raises counts as false; its
    last error is part of the message when time is up."""
    deadline = time.monotonic() + seconds
    error: Exception | None = None
    while True:
        try:
            value = condition()
            if value:
                return value
            error = None
        except Exception as failure:  # pylint: disable=broad-except
            error = failure
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {seconds:g} s for {what}" + (f"; last error: {error}" if error else ""))
        time.sleep(step)
