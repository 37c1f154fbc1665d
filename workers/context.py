"""What one worker process holds: settings, engine, session maker, a name. Made after the fork."""

import os
import socket
from dataclasses import dataclass
from functools import cache

from app.db.session import SessionMaker, assert_durable, make_engine, make_session_maker
from app.services.recovery import Recovery
from app.services.witness import WitnessJournal
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """One process's means."""

    settings: Settings
    make_session: SessionMaker
    owner: str
    journal: WitnessJournal


@cache
def context() -> Context:
    """The context of this process; a connection must never be shared across a fork."""
    settings = Settings.from_environment(os.environ)
    engine = make_engine(settings.database_url)
    assert_durable(engine)
    make_session = make_session_maker(engine)
    if not settings.embedded:
        # the journals of this machine, which no API process elsewhere can read (R22)
        Recovery(make_session, settings.witness_dir, None).compare()
    return Context(
        settings=settings,
        make_session=make_session,
        owner=f"{socket.gethostname()}:{os.getpid()}",
        journal=WitnessJournal(settings.witness_dir),
    )
