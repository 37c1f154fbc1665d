"""What somebody who owns the database can do to it: the fences of R21 put aside."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.models import Base


def unfence(session: Session, table: str) -> None:
    """Take the triggers of a table away, for the tampering that is to be found without them."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    named = text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    for name in session.scalars(named, {"table": Base.metadata.tables[table].name}).all():
        session.execute(text(f"DROP TRIGGER {name}"))
