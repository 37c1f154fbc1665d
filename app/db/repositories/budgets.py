"""Budgets as rows: paths, locks, lists."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Standing

# a tree deeper than this is a mistake; the walk stops there rather than loop on a broken row
DEPTH_MAX = 64


def path_of(session: Session, leaf: Budget) -> list[Budget]:
    """The leaf and its ancestors, leaf first, the lifetime root last."""
    path = [leaf]
    while path[-1].parent_id is not None:
        if len(path) > DEPTH_MAX:
            raise RuntimeError(f"budget {leaf.id} has no root within {DEPTH_MAX} steps")
        parent = session.get(Budget, path[-1].parent_id)
        if parent is None:
            raise RuntimeError(f"budget {path[-1].id} has lost its parent")
        path.append(parent)
    return path


def lock(session: Session, budget_ids: Iterable[UUID]) -> list[Budget]:
    """Row locks in one order for everybody, with fresh values: no remainder is shared (L1).

    Periods come after all other budgets, each in id order: whoever needs a window's period finds it
    by the locked window, and so never waits for a row that comes before one it holds.
    On SQLite the write transaction is already exclusive (BEGIN IMMEDIATE).
    """
    wanted = sorted(set(budget_ids))
    statement = (
        select(Budget)
        .where(Budget.id.in_(wanted))
        .order_by(Budget.kind == "period", Budget.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    rows = list(session.scalars(statement))
    if len(rows) != len(wanted):
        raise RuntimeError("a budget of a locked path has vanished")
    return rows


def lock_with_windows(
    session: Session, budget_ids: Iterable[UUID]
) -> list[tuple[Budget, DatasetRow, int]]:
    """Row locks on some budgets and on the windows that limit them, in one statement (L1).

    In id order, as `lock` takes them. Each stands beside its dataset, for whoever asks whether that
    was retired, and beside the count of changes that look-ups rest on.
    """
    wanted = sorted(set(budget_ids))
    limits_one = (
        (Budget.kind == "window") & Budget.parent_id.in_(wanted) & Budget.opened_at.is_not(None)
    )
    statement = (
        select(Budget, DatasetRow, select(Standing.changes).scalar_subquery())
        .join(DatasetRow, DatasetRow.id == Budget.dataset_id)
        .where(or_(Budget.id.in_(wanted), limits_one))
        .order_by(Budget.kind == "period", Budget.id)
        .with_for_update(of=Budget)
        .execution_options(populate_existing=True)
    )
    rows = [(budget, dataset, changes) for budget, dataset, changes in session.execute(statement)]
    if not set(wanted).issubset(budget.id for budget, *_ in rows):
        raise RuntimeError("a budget of a locked path has vanished")
    return rows


def windows_of(session: Session, budget_ids: Iterable[UUID]) -> list[UUID]:
    """The windows that limit some budgets; closing or freezing one does not lift its limit."""
    statement = select(Budget.id).where(
        Budget.kind == "window",
        Budget.parent_id.in_(set(budget_ids)),
        Budget.opened_at.is_not(None),
    )
    return list(session.scalars(statement))


def latest_period(session: Session, window_id: UUID, *, lock: bool) -> Budget | None:
    """The period of a window that was opened last; locked only where the window is locked."""
    statement = (
        select(Budget)
        .where(Budget.kind == "period", Budget.parent_id == window_id)
        .order_by(Budget.starts_at.desc())
        .limit(1)
    )
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return session.scalars(statement).one_or_none()
