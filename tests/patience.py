"""Waiting in tests: for a thing to hold, never for a time to pass.

A loaded machine stalls for seconds (one fsync can), so a test that sleeps and then looks is a test
that fails by chance. The bounds here end a test that hangs; they are no claim about speed.
"""

import time
from collections.abc import Callable

PATIENCE_S = 60.0


def wait_until(
    holds: Callable[[], bool], *, what: str | Callable[[], str], within_s: float = PATIENCE_S
) -> None:
    """Look again and again until something holds; `what` is told if it never does."""
    over = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > over:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {within_s} s: {told}")
        time.sleep(0.02)
