"""What is counted in the database, since it happens in processes that nobody scrapes."""

from typing import Final, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.models import Tally

TallyName = Literal["duplicate_deliveries", "lease_expiries"]
# each has a row from the migration that named it
DUPLICATE_DELIVERIES: Final[TallyName] = "duplicate_deliveries"
LEASE_EXPIRIES: Final[TallyName] = "lease_expiries"


def add(session: Session, name: TallyName) -> None:
    """One more; the last step of a transaction, so that nobody is waited for with the row held."""
    statement = update(Tally).where(Tally.name == name).values(total=Tally.total + 1)
    session.execute(statement, execution_options={"synchronize_session": False})


def totals(session: Session) -> dict[str, int]:
    """All of them."""
    return {row.name: row.total for row in session.execute(select(Tally.name, Tally.total))}
