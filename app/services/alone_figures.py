"""What work would have come to alone, composed by PLD beside the requests and kept.

Composing takes about half a second a shape, so no request waits for it: what is not known yet is
asked for here and said to be under way. The figure admits nothing (R11, L9).
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final

from app.domain.accounting.pld import pld_epsilon
from app.domain.mechanisms.parsing import Part

log = logging.getLogger(__name__)

KEPT_MOST: Final = 4096
WAITING_MOST: Final = 64

Asked = tuple[tuple[Part, ...], str, Decimal]


class AloneFigures:
    """PLD figures of parts, by one thread of its own."""

    def __init__(self) -> None:
        """Nothing is known yet, and no thread runs before something is asked."""
        self._kept: OrderedDict[Asked, str | None] = OrderedDict()
        self._waiting: set[Asked] = set()
        self._lock = Lock()
        self._queue: SimpleQueue[Asked] = SimpleQueue()
        self._thread: Thread | None = None

    def of(self, parts: Sequence[Part], relation: str, delta: Decimal) -> tuple[str | None, bool]:
        """The epsilon at a delta, and whether it is known; None and known where PLD takes none.

        What is not known is composed next, unless too much waits already: ask again.
        """
        key = (tuple(parts), relation, delta)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key], True
            if key in self._waiting or len(self._waiting) >= WAITING_MOST:
                return None, False
            self._waiting.add(key)
            self._queue.put(key)
            if self._thread is None:
                # a daemon: a process that is told to stop does not wait for figures
                self._thread = Thread(target=self._run, name="alone-figures", daemon=True)
                self._thread.start()
        return None, False

    def _run(self) -> None:
        while True:
            self._compose(self._queue.get())

    def _compose(self, key: Asked) -> None:
        try:
            found = pld_epsilon(*key)
        except Exception as failed:
            # arithmetic on public parameters: the same again would fail the same way
            log.warning("alone.not_composed error=%s", type(failed).__name__)
            found = None
        with self._lock:
            self._waiting.discard(key)
            self._kept[key] = found
            if len(self._kept) > KEPT_MOST:
                self._kept.popitem(last=False)


FIGURES: Final = AloneFigures()
