"""The count of changes that look-ups rest on; triggers keep it (migration 0007)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Standing


def changes(session: Session) -> int:
    """The count as this transaction sees it."""
    return session.scalars(select(Standing.changes)).one()
