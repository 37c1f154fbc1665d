"""Whether a process can take work, part by part; nothing of it names anything or anybody."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db.migrate import has_gone_on, is_at_head
from app.db.models import OutboxMessage
from app.db.session import SessionMaker, database_now, snapshot
from app.services import beats

# without one of these nothing is admitted; the others only keep admitted work waiting
NEEDED: Final = ("database", "schema", "admissions")
LAG_MOST: Final = timedelta(seconds=30)

Status = Literal["ready", "degraded", "unready"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """checks: each part, and whether it is there; only NEEDED ones keep from admitting."""

    checks: dict[str, bool]

    @property
    def status(self) -> Status:
        """In one word."""
        if not all(self.checks[name] for name in NEEDED):
            return "unready"
        return "ready" if all(self.checks.values()) else "degraded"


def look(make_session: SessionMaker, *, takes_admissions: bool) -> Readiness:
    """Ask every part; one that cannot be asked is not there."""
    checks = {
        "database": False,
        "schema": False,
        "admissions": takes_admissions,
        "relay": False,
        "workers": False,
    }
    try:
        with snapshot(make_session) as session:
            engine = session.get_bind()
            assert isinstance(engine, Engine)  # noqa: S101 - sessions are made over an engine
            checks["database"] = True
            # or all processes of a version would be unready before the first of the next is there
            checks["schema"] = is_at_head(engine) or has_gone_on(engine)
            if checks["schema"]:
                now = database_now(session)
                checks["relay"] = outbox_age(session, now=now) <= LAG_MOST
                checks["workers"] = bool(beats.alive(session, now=now))
    except SQLAlchemyError:
        # what was seen before the database went away says nothing any more
        checks |= dict.fromkeys(("database", "schema", "relay", "workers"), False)
    return Readiness(checks)


def outbox_age(session: Session, *, now: datetime) -> timedelta:
    """For how long the oldest message that is due has waited for the relay; nothing where none."""
    statement = select(func.min(OutboxMessage.due_at)).where(
        OutboxMessage.sent_at.is_(None), OutboxMessage.due_at <= now
    )
    oldest = session.scalar(statement)
    return timedelta() if oldest is None else now - oldest
