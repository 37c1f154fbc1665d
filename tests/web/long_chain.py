"""Chains that are too long to be asked for one by one: the ledger's own steps, rows in bulk."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select

from app.db.models import Entry, Reservation
from app.db.repositories import budgets as budget_rows
from app.db.session import transaction
from app.domain.ledger import EntryDraft
from app.services import ledger as ledger_steps
from tests.api.world import World

ROWS_AT_ONCE = 2000
STEP = timedelta(milliseconds=10)


def lengthen(world: World, budget_id: str, entries: int) -> None:
    """Reserve and post like the first reservation of a budget, until it has so many entries."""
    services: Any = world.client.app.state.services  # type: ignore[attr-defined]
    with transaction(services.make_session) as session:
        (budget,) = budget_rows.lock(session, [UUID(budget_id)])
        statement = select(Reservation).join(Entry, Entry.reservation_id == Reservation.id)
        model = session.scalars(statement.where(Entry.budget_id == budget.id)).first()
        assert model is not None
        assert budget.last_entry_at is not None
        values = {column.key: getattr(model, column.key) for column in Reservation.__table__.c}
        units = [part["max_units"] for part in model.parts]
        parts = [
            {"mechanism": part["mechanism"], "price": part["price"], "units": part["max_units"]}
            for part in model.parts
        ]
        reservations: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        pairs, now = (entries - budget.last_seq) // 2, budget.last_entry_at
        for _ in range(pairs):
            held = EntryDraft(
                id=str(uuid4()),
                kind="reserved",
                charge=model.reserved,
                actor=str(model.principal_id),
                reservation=str(uuid4()),
                parts=parts,
            )
            posted = replace(held, id=str(uuid4()), kind="posted", resolves=held.id)
            reservations.append(
                {
                    **values,
                    "id": UUID(held.reservation),
                    "state": "posted",
                    "started_units": units,
                    "posted": model.reserved,
                    "lease_until": None,
                }
            )
            for draft in (held, posted):
                now += STEP
                rows.append(ledger_steps.chained(budget, draft, now=now))
            if len(rows) >= ROWS_AT_ONCE:
                _write(session, reservations, rows)
        _write(session, reservations, rows)
        budget.committed = sum([model.reserved] * pairs, budget.committed)


def _write(session: Any, reservations: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    if rows:
        session.execute(insert(Reservation), reservations)
        session.execute(insert(Entry), rows)
    reservations.clear()
    rows.clear()
