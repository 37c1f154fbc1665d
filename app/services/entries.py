"""Entries of one chain for a reader: in pages and as a file, all of them or those he asks for."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Principal
from app.db.repositories import entries as entry_rows
from app.db.repositories.entries import EntryFilter
from app.db.session import SessionMaker, snapshot
from app.domain.errors import InvalidParameter
from app.domain.privacy import Loss
from app.reporting.entry_table import header, line
from app.services import access, plans, policies
from app.services.access import Caller
from app.services.budgets import readable

ROWS_AT_ONCE: Final = 1000
CHARGES_KEPT: Final = 4096
ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
HASH_START: Final = re.compile(r"[0-9a-f]{6,64}", re.ASCII)

# an entry's document -> its charge as the epsilon it would take alone
Alone = Callable[[Mapping[str, Any]], dict[str, str] | None]


@dataclass(frozen=True, slots=True)
class EntryRequest:
    """Which entries are asked for; what is None asks for nothing.

    actor: an id, the name of a person, or what the service acts under.
    since, before: from a time on, and up to one that is left out.
    from_seq, to_seq: both of them are in it.
    search: the id of an entry or of what it names, or the first letters of a hash.
    """

    kind: str | None = None
    actor: str | None = None
    job: UUID | None = None
    since: datetime | None = None
    before: datetime | None = None
    from_seq: int | None = None
    to_seq: int | None = None
    search: str | None = None


EVERYTHING: Final = EntryRequest()


@dataclass(frozen=True, slots=True)
class Entries:
    """Use cases on the entries of a budget."""

    make_session: SessionMaker

    def list(
        self,
        caller: Caller,
        budget_id: UUID,
        after_seq: int | None,
        limit: int,
        *,
        asked: EntryRequest = EVERYTHING,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Entries in chain order or from its end, each with its canonical body and its hash.

        Raises:
            NotFound: no such budget, or none that this caller may know of.
            InvalidParameter: `search` is neither an id nor the beginning of a hash.
        """
        with snapshot(self.make_session) as session:
            budget = readable(session, caller, budget_id)
            rows = entry_rows.listed(
                session,
                budget.id,
                _filter(session, caller, asked),
                newest_first=newest_first,
                last=after_seq,
                limit=limit,
            )
            known = _names_for(session, caller)
            alone = _alone_in(budget)
            return [entry_json(row.seq, row.body, row.hash, alone, known) for row in rows]

    def table(
        self,
        caller: Caller,
        budget_id: UUID,
        *,
        asked: EntryRequest = EVERYTHING,
        newest_first: bool = False,
    ) -> Iterator[str]:
        """The same entries, all of them, as CSV in pieces of whole lines.

        Raises, before the first piece:
            NotFound, InvalidParameter: see `list`.
        """
        with snapshot(self.make_session) as session:
            budget = readable(session, caller, budget_id)
            kept, known = _filter(session, caller, asked), _names_for(session, caller)
            alone, unit = _alone_in(budget), _unit_of(session, budget)

        def pieces() -> Iterator[str]:
            yield header()
            with snapshot(self.make_session) as session:
                last = None
                while rows := entry_rows.listed(
                    session,
                    budget_id,
                    kept,
                    newest_first=newest_first,
                    last=last,
                    limit=ROWS_AT_ONCE,
                ):
                    read = (entry_json(row.seq, row.body, row.hash, alone, known) for row in rows)
                    yield "".join(line(each, unit) for each in read)
                    last = rows[-1].seq
                    session.expunge_all()

        return pieces()


def entry_json(
    seq: int, body: str, entry_hash: str, alone: Alone, known: Mapping[str, str]
) -> dict[str, Any]:
    """An entry for a reader: its own bytes, and its charge as the epsilon it would take alone.

    known: the names of people whom the reader may know by name, by id.
    """
    document: Mapping[str, Any] = json.loads(body)
    return {
        "seq": seq,
        "kind": document["kind"],
        "at": document["at"],
        "actor": document["actor"],
        "actor_name": known.get(document["actor"]),
        "job": document["job"],
        "reservation": document["reservation"],
        "resolves": document["resolves"],
        "parts": document["parts"],
        "charge_alone": alone(document),
        "hash": entry_hash,
        "prev": document["prev"],
        "body": body,
    }


def _alone_in(budget: Budget) -> Alone:
    """What a charge would consume of a budget by itself; None of a plan, of which no part does."""
    if plans.is_plan(budget):
        return lambda _document: None
    policy = policies.policy_of(budget)

    # jobs of one shape are charged alike, and a figure takes longer than reading a row
    @lru_cache(maxsize=CHARGES_KEPT)
    def alone(charge: Loss) -> dict[str, str]:
        return policies.amount_json(policies.alone(policy, charge))

    return lambda document: alone(Loss.from_json(document["charge"]))


def _names_for(session: Session, caller: Caller) -> Mapping[str, str]:
    """Officers and auditors know everybody by name; others themselves (R12)."""
    if caller.roles.isdisjoint(access.SEES_EVERY_BUDGET):
        return {str(caller.principal_id): caller.name}
    rows = session.execute(select(Principal.id, Principal.name))
    return {str(row.id): row.name for row in rows}


def _filter(session: Session, caller: Caller, asked: EntryRequest) -> EntryFilter:
    """What is asked for in the terms of rows: a name that the caller may know stands for its id."""
    actors = None
    if asked.actor is not None:
        known = _names_for(session, caller).items()
        actors = (asked.actor, *(person_id for person_id, name in known if name == asked.actor))
    named, hash_start = (None, None) if asked.search is None else _searched(asked.search)
    return EntryFilter(
        kind=asked.kind,
        actors=actors,
        job=asked.job,
        since=asked.since,
        before=asked.before,
        from_seq=asked.from_seq,
        to_seq=asked.to_seq,
        named=named,
        hash_start=hash_start,
    )


def _searched(text: str) -> tuple[UUID | None, str | None]:
    """An id, or how a hash begins."""
    asked = text.strip().lower()
    if ID.fullmatch(asked):
        return UUID(asked), None
    if HASH_START.fullmatch(asked):
        return None, asked
    reason = "an id is expected, or six or more letters that a hash begins with"
    raise InvalidParameter("/search", reason)


def _unit_of(session: Session, budget: Budget) -> str:
    """The unit of privacy that a charge is counted in (L8)."""
    dataset = session.get_one(DatasetRow, budget.dataset_id)
    return str(dataset.document["unit_of_privacy"]["kind"])
