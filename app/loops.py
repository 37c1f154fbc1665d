"""What works beside the routes: relay, sweeper and sender.

One tree runs them in its API process; elsewhere they are programs of their own, `dispatch` and
`send`, so that an API process which is replaced takes none of them along. Each is led by lease or
safe in several, so a second copy of either program only waits.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Protocol, cast

from app.db.migrate import is_at_head
from app.db.session import SessionMaker, assert_durable, make_engine, make_session_maker
from app.domain.webhooks import parse_networks
from app.services.mail import Encryption, MailServer
from app.services.relay import Relay
from app.services.sender import Sender
from app.services.sweep import Sweeper
from app.settings import Settings


class Loop(Protocol):
    """Works on a thread of its own from `start` until `stop`."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End after what is under way."""


Loops = Callable[[Settings, SessionMaker], Sequence[Loop]]


class SchemaIsAnother(Exception):
    """The database has not the schema of this version: nothing may be done with it."""


def dispatching(settings: Settings, make_session: SessionMaker) -> Sequence[Loop]:
    """What brings committed work to workers, and takes it back from those that went silent."""
    return (Relay(make_session, settings.broker_url), Sweeper(make_session, settings.home))


def sending(settings: Settings, make_session: SessionMaker) -> Sequence[Loop]:
    """What brings notices to webhooks and mailboxes."""
    sender = Sender(
        make_session,
        settings.webhook_key_file,
        networks=parse_networks(settings.webhook_networks),
        server=_mail_server(settings),
    )
    return (sender,)


@contextmanager
def running(loops: Sequence[Loop]) -> Iterator[None]:
    """Within the block they work; they are stopped in the order opposite to that of their start."""
    with ExitStack() as stack:
        for loop in loops:
            loop.start()
            stack.callback(loop.stop)
        yield


def run_until_told(settings: Settings, loops: Loops) -> None:
    """Run as a program: until SIGTERM or Ctrl-C, after which what is under way is ended.

    Raises:
        SchemaIsAnother: see there; whoever keeps this program alive tries again.
    """
    told = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    engine = make_engine(settings.database_url)
    try:
        assert_durable(engine)
        if not is_at_head(engine):
            raise SchemaIsAnother
        with running(loops(settings, make_session_maker(engine))):
            told.wait()
    finally:
        engine.dispose()
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _mail_server(settings: Settings) -> MailServer | None:
    if not settings.smtp_host:
        return None
    return MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_sender,
        encryption=cast(Encryption, settings.smtp_encryption),
        user=settings.smtp_user,
        password_file=settings.smtp_password_file,
        origin=settings.public_origin,
    )
