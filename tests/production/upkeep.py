"""Bringing the production topology up, and looking at its ledger from beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import URL

from app.db.session import make_engine, make_session_maker
from app.services.access import Caller
from app.services.principals import bootstrap_admin
from app.services.witness import WitnessJournal
from app.services.writer import AdmissionWriter
from tests.production.story import Cast
from tests.production.topology import Topology, topology
from tests.world import World


@contextmanager
def running(
    server: URL, folder: Path, *beside: str, workers: int, **settings: str
) -> Iterator[tuple[Topology, str]]:
    """Everything up, in the order of the compose file; with the first administrator's key."""
    with topology(server, folder, **settings) as services:
        services.migrate()
        services.run("key")
        apis = [services.start("api") for _ in range(2)]
        for name in ("dispatch", *["worker"] * workers, *beside):
            services.start(name)
        engine = make_engine(services.owner_url)
        admin_key = bootstrap_admin(make_session_maker(engine))
        engine.dispose()
        assert admin_key is not None
        for api in apis:
            services.take_in(api)
        yield services, admin_key


@contextmanager
def looked_at(services: Topology, story: Cast) -> Iterator[World]:
    """The ledger as its owner sees it, for what the tests of crashes ask of one."""
    engine = make_engine(services.owner_url)
    make_session = make_session_maker(engine)
    auditor = Caller(uuid4(), "auditor", frozenset({"auditor"}), "key", False, frozenset())
    yield World(
        make_session,
        services.home,
        {"auditor": auditor},
        project_id=uuid4(),
        dataset_id=UUID(story.dataset_id),
        writer=AdmissionWriter(make_session),
        journal=WitnessJournal(services.witness),
    )
    engine.dispose()
