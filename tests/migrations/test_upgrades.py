"""A ledger that an earlier version has left is the same to the bit under this one, and goes on.

The recordings in tests/data/ledgers were made by the code of their schema, with a row in every
table that there was. Each is brought to the schema before the newest, and then to the newest.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args
from uuid import UUID

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import select

from app import verifier
from app.db import migrate
from app.db.models import Principal
from app.db.session import SessionMaker, make_engine, make_session_maker, snapshot
from app.domain.ledger import EntryKind
from app.services import export, verification
from app.services.access import Caller
from app.services.budgets import Budgets
from app.services.changes import ChangeRequest, Changes
from tests.migrations.recorded import AMOUNTS, Recording, all_rows, put, recordings
from tests.world import keyed

RECORDINGS = recordings()
# of the tables that are not append-only a migration may fill in what it has just added
NEVER_TOUCHED = ("entries", "prices", "checkpoints", "audit_events", "results")


def newest_and_the_one_before() -> tuple[str, str]:
    scripts = ScriptDirectory(migrate._folder())
    (head,) = scripts.get_revisions("head")
    assert head is not None
    assert isinstance(head.down_revision, str)
    return head.revision, head.down_revision


@contextmanager
def sessions(url: str) -> Iterator[SessionMaker]:
    engine = make_engine(url)
    try:
        yield make_session_maker(engine)
    finally:
        engine.dispose()


def caller(make_session: SessionMaker, role: str) -> Caller:
    with snapshot(make_session) as session:
        people = session.scalars(select(Principal).order_by(Principal.name))
        found = next(each for each in people if role in each.roles)
        return Caller(found.id, found.name, frozenset(found.roles), "key", False, frozenset())


def assert_kept(before: dict[str, list[dict[str, str]]], url: str) -> None:
    """Every row is there with what it said, and no other in a table that there was."""
    after = all_rows(url)
    for table, rows in before.items():
        columns = rows[0].keys() if rows else ()
        kept = [{name: row[name] for name in columns} for row in after[table]]
        in_order = [sorted(map(json.dumps, each)) for each in (rows, kept)]
        assert in_order[0] == in_order[1], table


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_ledger_of_an_earlier_schema_keeps_every_entry_and_balance_and_goes_on(
    name: str, kind: str, empty_database_url: Callable[[str], str]
) -> None:
    recording, url = RECORDINGS[name], empty_database_url(kind)
    newest, before = newest_and_the_one_before()
    put(url, recording)
    recorded = all_rows(url)
    if recording["schema"] == newest:
        migrate.downgrade(url, before)
    else:
        migrate.upgrade(url, before)
    at_the_one_before = all_rows(url)
    migrate.upgrade(url)
    assert migrate.differences(url) == []
    assert_kept(at_the_one_before, url)
    assert_kept({table: recorded[table] for table in NEVER_TOUCHED}, url)
    with sessions(url) as make_session:
        assert_balances(make_session, recording)
        bundle = b"".join(export.lines(make_session))
        report = verifier.verify(io.BytesIO(bundle), bytes.fromhex(recording["key"]))
        assert report.fault is None
        officer = caller(make_session, "compliance_officer")
        root = UUID(next(iter(recording["told"])))
        Changes(make_session).make(
            officer,
            root,
            ChangeRequest(action="freeze", reason="after the upgrade"),
            if_version=Budgets(make_session).get(officer, root)["version"],
            keyed=keyed(officer, "changes", {"action": "freeze"}),
        )
        assert_balances(make_session, recording)


def assert_balances(make_session: SessionMaker, recording: Recording) -> None:
    """Every chain replays to what its budget holds, and is told as the code of its time told it."""
    with snapshot(make_session) as session:
        started = verification.started_ids(session)
        faults = [verification.verify(session, each).fault for each in started]
    assert len(started) == len(recording["tables"]["budgets"]["rows"])
    assert [each for each in faults if each is not None] == []
    auditor = caller(make_session, "auditor")
    for budget_id, told in recording["told"].items():
        now = Budgets(make_session).get(auditor, UUID(budget_id))
        assert {name: now[name] for name in AMOUNTS} == told, budget_id


def test_the_recordings_hold_a_row_of_every_table_and_nearly_all_kinds_of_entries() -> None:
    for name, recording in RECORDINGS.items():
        assert recording["schema"] == name
        empty = [table for table, held in recording["tables"].items() if not held["rows"]]
        assert empty == [], name
        entries = recording["tables"]["entries"]
        place = entries["columns"].index("kind")
        assert len({row[place] for row in entries["rows"]}) >= len(get_args(EntryKind)) - 3, name
