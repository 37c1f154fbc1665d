"""Names beside ids, for whoever reads a list; a step that takes no lock."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Principal


def people(session: Session, ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """The names of people by id."""
    wanted = {each for each in ids if each is not None}
    rows = session.execute(select(Principal.id, Principal.name).where(Principal.id.in_(wanted)))
    return {row.id: row.name for row in rows}


def budgets(session: Session, ids: Iterable[UUID | None]) -> dict[UUID, tuple[str, str]]:
    """The names of budgets and of their datasets, by the budget's id."""
    wanted = {each for each in ids if each is not None}
    rows = session.execute(
        select(Budget.id, Budget.name, DatasetRow.name.label("dataset"))
        .join(DatasetRow, DatasetRow.id == Budget.dataset_id)
        .where(Budget.id.in_(wanted))
    )
    return {row.id: (row.name, row.dataset) for row in rows}


def datasets(session: Session, ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """The names of datasets by id."""
    wanted = {each for each in ids if each is not None}
    rows = session.execute(select(DatasetRow.id, DatasetRow.name).where(DatasetRow.id.in_(wanted)))
    return {row.id: row.name for row in rows}
