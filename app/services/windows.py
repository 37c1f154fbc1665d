"""Windows: which period is in force, and how a run moves from one into the next (R9).

Each period is a scope below its window, with the window's policy and a chain of its own. A refresh
opens the next period and touches nothing else: not the lifetime root, not the period before it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetVersion, Reservation
from app.db.repositories import budgets as budget_rows
from app.domain.accounting.block_sums import BlockSums
from app.domain.accounting.prices import Price, charge_parts
from app.domain.errors import ScopeClosed
from app.domain.ledger import GENESIS_HASH, EntryDraft, time_text
from app.domain.privacy import Loss
from app.domain.windows import Span, window_from_json
from app.services import block_holdings
from app.services import ledger as ledger_steps
from app.services.holdings import Holding

CALENDAR = "calendar"
NOT_BEGUN = "not begun"
WINDOW_OVER = "window over"
WINDOW_FULL = "window full"


def period_in_force(session: Session, window: Budget, *, now: datetime) -> Budget:
    """The period of a locked window in which a unit may start now; opened if it is due.

    Raises:
        ScopeClosed: the window is not open, or its first day has not come.
    """
    period = period_due(session, window, now=now)
    if period.last_seq == 0:
        open_period(session, window, period, now=now)
    return period


def period_due(session: Session, window: Budget, *, now: datetime) -> Budget:
    """The period in force, or a draft of the one that is to be opened; nothing is written.

    A draft has no entry and no row yet. A request that it refuses leaves it so (R12).

    Raises:
        ScopeClosed: the window is not open, or its first day has not come.
    """
    require_open_window(window)
    latest = budget_rows.latest_period(session, window.id, lock=True)
    span = _span_at(window, latest, now)
    if span is None:
        raise ScopeClosed(scope_of(window), NOT_BEGUN)
    if latest is not None and _still_in_force(session, window, latest, span):
        return latest
    return _draft(session, window, span, now=now)


def open_period(session: Session, window: Budget, period: Budget, *, now: datetime) -> None:
    """Write a drafted period and begin its chain; an entry in the window's chain says so."""
    if period.starts_at is None or period.ends_at is None:
        raise RuntimeError(f"budget {period.id} is no period")
    session.add(period)
    session.flush()
    facts = {
        "period": str(period.id),
        "starts_at": time_text(period.starts_at),
        "ends_at": time_text(period.ends_at),
    }
    ledger_steps.open_chain(
        session, period, actor=window.created_by, now=now, facts={"window": str(window.id), **facts}
    )
    draft = EntryDraft(
        id=str(uuid4()), kind="refreshed", charge=Loss.zero(), actor=CALENDAR, facts=facts
    )
    ledger_steps.append(session, window, draft, now=now)


def seen_in_force(session: Session, window: Budget, *, now: datetime) -> Budget | None:
    """The period in force as a reader sees it: takes no lock and opens nothing.

    None where the next admission would open a fresh one, or the window has not begun.
    """
    latest = budget_rows.latest_period(session, window.id, lock=False)
    span = _span_at(window, latest, now)
    if latest is None or span is None or not _still_in_force(session, window, latest, span):
        return None
    return latest


def require_open_window(window: Budget) -> None:
    """Refuse a window that is frozen or closed: it is a limit that lets nothing start.

    Raises:
        ScopeClosed: with the window's state.
    """
    if window.state != "open":
        raise ScopeClosed(scope_of(window), window.state)


def move_over_boundary(
    session: Session,
    reservation: Reservation,
    locked: Sequence[Budget],
    prices: Sequence[Price],
    *,
    job_id: UUID | None,
    now: datetime,
) -> list[Budget]:
    """Bring a reservation into the periods that are in force now, all of them or none.

    What has started stays charged to the periods in which it started; the remainder is admitted
    anew in the next ones, in the same transaction. `locked` holds the reservation's scopes and the
    windows of its periods.

    Returns:
        The locked scopes that the reservation is held in from here on.

    Raises:
        ScopeClosed: a next period has no room for the remainder, or nobody vouches for what was
            started in the one before (R15); the run stops and settles.
    """
    windows = {budget.id: budget for budget in locked if budget.kind == "window"}
    scopes = [budget for budget in locked if budget.kind != "window"]
    moves: list[tuple[Budget | None, Budget]] = []
    entered = {old.parent_id: old for old in scopes if old.kind == "period"}
    for window in windows.values():
        old, new = entered.get(window.id), period_in_force(session, window, now=now)
        if old is None or new.id != old.id:
            moves.append((old, new))
    if not moves:
        return scopes
    for old, new in moves:
        if old is not None and reservation.is_outside and not reservation.is_runner:
            # nobody knows what it read before: it takes nothing out of the period by what it says
            raise ScopeClosed(scope_of(new), WINDOW_OVER)
    started = list(reservation.started_units)
    left = [part["max_units"] - n for part, n in zip(reservation.parts, started, strict=True)]
    remainder = charge_parts(list(zip(prices, left, strict=True)))
    for old, new in moves:
        ranges = block_holdings.ranges_in(reservation.inputs, new)
        if not Holding.of(new, ranges).admits(remainder):
            raise ScopeClosed(scope_of(new), WINDOW_FULL if old is None else WINDOW_OVER)
    for old, new in moves:
        if old is not None:
            ledger_steps.release(
                session,
                [old],
                reservation,
                kind="posted" if any(started) else "voided",
                prices=prices,
                units=started,
                actor=CALENDAR,
                job_id=job_id,
                now=now,
            )
        reservation.period_bases = {**reservation.period_bases, str(new.id): started}
        ledger_steps.hold(session, [new], reservation, loss=remainder, job_id=job_id, now=now)
    replaced = {old.id: new for old, new in moves if old is not None}
    scopes = [replaced.get(budget.id, budget) for budget in scopes]
    scopes += [new for old, new in moves if old is None]
    reservation.budget_ids = [str(budget.id) for budget in scopes]
    return scopes


def latest_lease(session: Session, budgets: Sequence[Budget], wanted: datetime) -> datetime:
    """How far a lease may go that no start will ever move: to the end of its periods.

    Such a job may have read at any time up to its commit, so it is charged in the period in which
    it could have, and lapses where that ends (R9, R15).
    """
    ends = [wanted]
    for period in budgets:
        if period.kind == "period" and period.parent_id is not None and period.ends_at is not None:
            window = session.get_one(Budget, period.parent_id)
            if window_from_json(window.window or {}).refresh_when == "always":
                ends.append(period.ends_at)
    return min(ends)


def scope_of(budget: Budget) -> dict[str, str]:
    """A scope as a refusal names it; a period by its window.

    A refused request takes the period that it opened back with it: only the window is there after.
    """
    if budget.kind == "period":
        return {"kind": "window", "budget_id": str(budget.parent_id), "name": budget.name}
    return {"kind": budget.kind, "budget_id": str(budget.id), "name": budget.name}


def _span_at(window: Budget, latest: Budget | None, now: datetime) -> Span | None:
    """The span that a moment lies in, never before the last entry's.

    A clock that steps back must not reopen what is over.
    """
    seen = [window.last_entry_at, None if latest is None else latest.last_entry_at]
    at = max([now, *(each for each in seen if each is not None)])
    return window_from_json(window.window or {}).span_at(at)


def _still_in_force(session: Session, window: Budget, latest: Budget, span: Span) -> bool:
    """Whether the last period goes on: its span does, or it waits for new data."""
    if latest.starts_at is not None and span.starts_at <= latest.starts_at:
        return True
    waits = window_from_json(window.window or {}).refresh_when == "new_data"
    return waits and not _has_new_data(session, latest)


def _draft(session: Session, window: Budget, span: Span, *, now: datetime) -> Budget:
    # an admission may have waited since it read the time, and data that came meanwhile is seen
    # here: it opens this period and not the one after it too
    data_at = session.scalar(
        select(func.max(DatasetVersion.created_at)).where(
            DatasetVersion.dataset_id == window.dataset_id
        )
    )
    return Budget(
        id=uuid4(),
        dataset_id=window.dataset_id,
        parent_id=window.id,
        kind="period",
        name=f"{window.name} from {span.starts_at.isoformat()}",
        state="open",
        version=1,
        policy=window.policy,
        milestones=[],
        holder_project_id=window.holder_project_id,
        reason=window.reason,
        expires_at=None,
        starts_at=span.starts_at,
        ends_at=span.ends_at,
        rate_limits={},
        committed=Loss.zero(),
        reserved=Loss.zero(),
        block_sums=None if window.block_sums is None else BlockSums.empty(),
        last_seq=0,
        head_hash=GENESIS_HASH,
        last_entry_at=None,
        created_by=window.created_by,
        created_at=now if data_at is None else max(now, data_at),
        opened_at=now,
    )


def _has_new_data(session: Session, period: Budget) -> bool:
    newer = select(DatasetVersion.version).where(
        DatasetVersion.dataset_id == period.dataset_id,
        DatasetVersion.created_at > period.created_at,
    )
    return bool(session.scalar(select(exists(newer))))
