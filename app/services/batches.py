"""One transaction that decides many requests: what it read at its start, and what it has to write.

Its scopes are locked once and their balances are read once, under the lock; every request of the
batch is then decided in order of arrival against what the ones before it have left (L1). Rows are
written in bulk at the end, so a batch costs a fixed number of round trips however long it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast
from uuid import UUID

from sqlalchemy import Table, insert, inspect, select, tuple_
from sqlalchemy.orm import Session

from app.db.models import (
    AuditEvent,
    Budget,
    DatasetRow,
    Entry,
    IdempotencyKey,
    Job,
    OutboxMessage,
    PriceRow,
    Reservation,
)
from app.db.models.base import Base
from app.db.repositories import budgets as budget_rows
from app.db.session import database_now
from app.domain.privacy import Loss
from app.services import idempotency, notifications, windows
from app.services.idempotency import Decided, Keyed

# one row that somebody else holds for long must not stop every admission of the process
LOCK_TIMEOUT = "5s"
# parents before children, for the foreign keys
WRITTEN: Final[tuple[type[Base], ...]] = (
    PriceRow,
    Reservation,
    Job,
    Entry,
    OutboxMessage,
    IdempotencyKey,
    AuditEvent,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it waits for the writer: priced, and needing nothing but the lock.

    budget_ids: the scopes that it will be decided against; none for a refusal that is remembered.
    decide: gives the answer's document, or raises before it has written anything.
    """

    keyed: Keyed
    budget_ids: tuple[UUID, ...]
    decide: Callable[["Batch"], dict[str, Any]]


class Batch:
    """The open transaction of some requests; see `Batch.over`."""

    def __init__(self, session: Session, now: datetime, known_prices: frozenset[str]) -> None:
        """An empty batch that holds no lock; requests are served by `over`."""
        self.session = session
        self.now = now
        self.has_written = False
        self._budgets: dict[UUID, Budget] = {}
        self._windows: dict[UUID, list[Budget]] = {}
        self._held_before: dict[UUID, Loss] = {}
        self._datasets: list[DatasetRow] = []
        self._decided: dict[tuple[UUID, str, str], Decided] = {}
        self._rows: dict[type[Base], list[dict[str, Any]]] = {model: [] for model in WRITTEN}
        self._periods: dict[UUID, Budget] = {}
        self._refused: set[UUID] = set()
        self._known_prices = known_prices
        self.prices: set[str] = set()
        # the count of changes that look-ups rest on, as it was when the scopes were locked
        self.changes: int | None = None

    @classmethod
    def over(
        cls,
        session: Session,
        asked: Sequence[Asked],
        known_prices: Iterable[str] = (),
        *,
        lock_timeout: str | None = None,
    ) -> "Batch":
        """Read the keys of all requests at once and lock the union of their scopes, in id order.

        known_prices: digests of prices that are stored for sure.
        lock_timeout: for how long a row that somebody else holds is waited for; LOCK_TIMEOUT
            where None.
        """
        now = database_now(session, lock_timeout=lock_timeout or LOCK_TIMEOUT)
        batch = cls(session, now, frozenset(known_prices))
        batch._look_up_keys([each.keyed for each in asked])
        batch._lock({budget_id for each in asked for budget_id in each.budget_ids})
        return batch

    def path(self, budget_ids: Iterable[UUID]) -> list[Budget]:
        """Locked scopes, then the locked windows that limit them, each in id order."""
        ids = set(budget_ids)
        scopes = [self._budgets[budget_id] for budget_id in sorted(ids)]
        limiting = {
            window.id: window
            for budget_id in ids
            for window in self._windows.get(budget_id, ())
            if window.id not in ids
        }
        return scopes + [limiting[window_id] for window_id in sorted(limiting)]

    def replay(self, keyed: Keyed) -> dict[str, Any] | None:
        """The first answer under this key, also where that was given earlier in this batch (R16).

        Raises:
            IdempotencyKeyReused, ReplayedRefusal: see `idempotency.replay`.
        """
        decided = self._decided.get(_key(keyed))
        return None if decided is None else idempotency.answer_of(decided, keyed)

    def remember(
        self,
        keyed: Keyed,
        document: Mapping[str, Any],
        *,
        outcome: Literal["done", "refused"] = "done",
    ) -> None:
        """Store an answer under its key, in this transaction."""
        row = idempotency.row_of(keyed, document, now=self.now, outcome=outcome)
        self._decided[_key(keyed)] = Decided(keyed.body_sha256, outcome, row["document"])
        self.add(IdempotencyKey, row)
        if outcome == "refused":
            self._refused.add(keyed.principal_id)

    def add(self, model: type[Base], *rows: dict[str, Any]) -> None:
        """Rows to be written at the end. From here on the request can only succeed."""
        self.has_written = True
        self._rows[model].extend(rows)

    def period(self, window: Budget) -> Budget:
        """The period of a locked window in which a unit may start now; the same for the batch.

        One that is still to be opened is a draft until something is charged to it.

        Raises:
            ScopeClosed: the window is not open, or its first day has not come.
        """
        if window.id not in self._periods:
            period = windows.period_due(self.session, window, now=self.now)
            self._periods[window.id] = period
        return self._periods[window.id]

    def charge(self, budget: Budget) -> None:
        """Get a locked scope ready for the first charge of this batch: open a drafted period.

        From here on the request can only succeed, or the whole batch is decided again.
        """
        self.has_written = True
        if budget.last_seq == 0 and budget.parent_id is not None:
            window = self._budgets[budget.parent_id]
            windows.open_period(self.session, window, budget, now=self.now)
        self._held_before.setdefault(budget.id, budget.committed + budget.reserved)
        self._budgets.setdefault(budget.id, budget)

    def add_price(self, digest: str, document: Callable[[], dict[str, Any]]) -> None:
        """A price that the database may not have yet; the same price is written once."""
        if digest not in self.prices and digest not in self._known_prices:
            self.prices.add(digest)
            row = {"digest": digest, "document": document(), "created_at": self.now}
            self.add(PriceRow, row)

    def write(self) -> None:
        """Write what has gathered so far: for a question that the database alone can answer."""
        self._drop_known_prices()
        self.session.flush()
        for model, rows in self._rows.items():
            if rows:
                self.session.execute(insert(cast(Table, model.__table__)), rows)
                rows.clear()

    def end(self) -> None:
        """Write the rest; tell of thresholds that were passed and of refusals in a burst."""
        for budget_id, before in self._held_before.items():
            notifications.notice_thresholds(
                self.session, self._budgets[budget_id], now=self.now, before=before
            )
        self.write()
        for principal_id in self._refused:
            notifications.notice_refusals(self.session, principal_id, now=self.now)

    def _look_up_keys(self, keyed: Sequence[Keyed]) -> None:
        wanted = sorted({_key(each) for each in keyed})
        columns = (IdempotencyKey.principal_id, IdempotencyKey.route, IdempotencyKey.key)
        found = select(
            *columns, IdempotencyKey.body_sha256, IdempotencyKey.outcome, IdempotencyKey.document
        ).where(tuple_(*columns).in_(wanted))
        for *key, body_sha256, outcome, document in self.session.execute(found):
            self._decided[key[0], key[1], key[2]] = Decided(body_sha256, outcome, document)

    def _lock(self, budget_ids: set[UUID]) -> None:
        if not budget_ids:
            return
        locked = budget_rows.lock_with_windows(self.session, budget_ids)
        # held, or the session would forget them and ask for each again
        self._datasets = [dataset for _, dataset, _ in locked]
        for budget, _, changes in locked:
            self.changes = changes
            self._budgets[budget.id] = budget
            if budget.kind == "window" and budget.parent_id is not None:
                self._windows.setdefault(budget.parent_id, []).append(budget)

    def _drop_known_prices(self) -> None:
        """Leave out the prices that are stored already; they are never rewritten (R1)."""
        rows = self._rows[PriceRow]
        wanted = [row["digest"] for row in rows]
        if wanted:
            known = set(
                self.session.scalars(select(PriceRow.digest).where(PriceRow.digest.in_(wanted)))
            )
            rows[:] = [row for row in rows if row["digest"] not in known]


def _key(keyed: Keyed) -> tuple[UUID, str, str]:
    return keyed.principal_id, keyed.route, keyed.key


def values_of(row: Base) -> dict[str, Any]:
    """A row that no session holds, as the values of its columns; what was not set is null."""
    state = inspect(row)
    return {column.key: state.dict.get(column.key) for column in state.mapper.column_attrs}
