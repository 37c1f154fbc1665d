"""The watch of an API process: it compares, signs and replays, for as long as the process runs.

Every process keeps one, and each duty is safe in several at once. Who finds that another process
has signed lately waits for his next turn.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from app.db.session import SessionMaker, database_now, snapshot
from app.services import witness
from app.services.checkpoints import Checkpoints, RootChainRefused
from app.services.recovery import Recovery
from app.services.report_signing import sign_built
from app.services.signing import KeyRefused
from app.services.verification import Verifier

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
TIDY_EVERY_S: Final = 3600.0
DAY_S: Final = 24 * 3600.0


class Watch:
    """Compares at the start, then signs every `checkpoint_s` and replays what has moved.

    keep_days: for how long what a later checkpoint stands for is kept outside the database.
    """

    def __init__(
        self,
        make_session: SessionMaker,
        folder: Path,
        checkpoints: Checkpoints | None,
        *,
        checkpoint_s: float,
        keep_days: float,
    ) -> None:
        self._make_session = make_session
        self._folder = folder
        self._checkpoints = checkpoints
        self._checkpoint_s = checkpoint_s
        self._keep_s = keep_days * DAY_S
        self._recovery = Recovery(make_session, folder, checkpoints)
        self._verifier = Verifier(make_session)
        self._due_s = time.monotonic() + checkpoint_s
        self._tidy_s = time.monotonic() + TIDY_EVERY_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> Self:
        """Compare the database with its witness, and only then begin (R22).

        Raises:
            LedgerForgotten: the database has no ledger and the witness knows of one.
            KeyRefused: the key file cannot be used.
        """
        found = self._recovery.compare()
        log.info("watch.compared found=%s", found)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, with a last checkpoint of where all ledgers stand."""
        self._stopping.set()
        self._thread.join()
        self._tried("checkpoint", self._checkpoint)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            if time.monotonic() >= self._due_s:
                self._due_s = time.monotonic() + self._checkpoint_s
                if self._tried("look", self._is_due):
                    self._tried("checkpoint", self._checkpoint)
            self._tried("sign_reports", self._sign_reports)
            self._tried("verify", self._verifier.step)
            if time.monotonic() >= self._tidy_s:
                self._tidy_s = time.monotonic() + TIDY_EVERY_S
                self._tried("tidy", self._tidy)

    def _is_due(self) -> bool:
        newest = None if self._checkpoints is None else self._checkpoints.newest()
        if newest is None:
            return self._checkpoints is not None
        with snapshot(self._make_session) as session:
            age_s = (database_now(session) - newest.at).total_seconds()
        return age_s >= 0.9 * self._checkpoint_s

    def _checkpoint(self) -> int:
        if self._checkpoints is None:
            return 0
        try:
            made = self._checkpoints.make()
        except RootChainRefused as refused:
            # the database may have been put back under our feet
            log.critical("checkpoint.refused reason=%s", refused)
            self._recovery.compare(everything=True)
            return 0
        if made.faults:
            log.error("checkpoint.faults budgets=%s", sorted(map(str, made.faults)))
            self._recovery.compare()
        return 1

    def _sign_reports(self) -> int:
        return sign_built(self._make_session, self._checkpoints)

    def _tidy(self) -> int:
        # what is older than any backup, and older than a checkpoint that stands in the database
        newest = None if self._checkpoints is None else self._checkpoints.newest()
        if newest is None or self._checkpoints is None:
            return 0
        before_s = min(time.time() - self._keep_s, newest.at.timestamp())
        return witness.drop_old(self._folder, before_s=before_s) + self._checkpoints.drop_old(
            before_s=before_s
        )

    def _tried(self, duty: str, do: Callable[[], int]) -> bool:
        """One duty must not end the watch; it is tried again at its next turn."""
        try:
            return bool(do())
        except KeyRefused as refused:
            log.critical("watch.refused duty=%s reason=%s", duty, refused)
        except Exception:
            log.exception("watch.failed duty=%s", duty)
        return False
