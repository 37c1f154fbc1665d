"""The real worker with one step that never returns: it kills the whole worker there (kill -9)."""

import os
import signal
from collections.abc import Callable
from typing import Any

from app.services import settlement
from app.services.witness import WitnessJournal
from workers.celery_app import app
from workers.claimed import ClaimedLedger

__all__ = ["app"]

POINT = os.environ.pop("TEST_DIE_AT")


def die() -> None:
    """End parent and child at once, as the kernel would."""
    for victim in (os.getppid(), os.getpid()):
        os.kill(victim, signal.SIGKILL)


def dying_after(step: Callable[..., Any]) -> Callable[..., Any]:
    def stepped(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        die()

    return stepped


def dying_before(_step: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: die()


if POINT == "claimed":
    ClaimedLedger.__enter__ = dying_before(ClaimedLedger.__enter__)  # type: ignore[method-assign]
elif POINT == "before touch":
    ClaimedLedger.start = dying_before(ClaimedLedger.start)  # type: ignore[method-assign]
elif POINT == "inside the touch":
    settlement.start_units = dying_after(settlement.start_units)
elif POINT == "before the journal":
    WitnessJournal.record = dying_before(WitnessJournal.record)  # type: ignore[method-assign]
elif POINT == "after touch":
    ClaimedLedger.start = dying_after(ClaimedLedger.start)  # type: ignore[method-assign]
elif POINT == "before post":
    ClaimedLedger.post = dying_before(ClaimedLedger.post)  # type: ignore[method-assign]
elif POINT == "inside the post":
    settlement.post = dying_after(settlement.post)
elif POINT == "after post":
    ClaimedLedger.post = dying_after(ClaimedLedger.post)  # type: ignore[method-assign]
else:
    raise ValueError(POINT)
