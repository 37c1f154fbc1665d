"""A ledger written by hand, as whoever holds its key can write it: no filter is asked, no clock.

What it writes is in form, hashed and summed by its prices, so only the rules can find fault with
it. Each reservation is written in all budgets of its path, unless a test names others.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

from app import verifier
from app.domain.accounting.filters import make_policy
from app.domain.accounting.prices import price
from app.domain.ledger import time_text
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Limit, Loss
from tests.tampering import Bundle

Document = dict[str, Any]
START: Final = datetime(2027, 3, 10, 12, tzinfo=UTC)
_NAMES: Final = UUID(int=7)


def an_id(name: object) -> str:
    """The id of a name, always the same."""
    return str(uuid5(_NAMES, str(name)))


def policy(accountant: str = "pure/1", epsilon: str = "1", delta: str = "0") -> Document:
    """A policy as the first entry of a budget carries it."""
    return make_policy(accountant, Limit(Decimal(epsilon), Decimal(delta))).to_json()


class Forger:
    """Chains as they grow; budgets and reservations go by names."""

    def __init__(self, relation: str = "add_remove") -> None:
        self.bundle = Bundle(
            {"v": 1, "kind": verifier.BUNDLE_KIND, "made_at": time_text(START)}, [], {}, []
        )
        self.relation = relation
        self.count = 0

    def open(
        self,
        name: str,
        kind: str = "lifetime",
        *,
        below: str | None = None,
        dataset: str = "people",
        hours: float = 0,
        rules: Document | None = None,
        **facts: Any,
    ) -> None:
        """The first entry of a budget, by two people where that is what it takes."""
        said = {
            "policy": rules or policy(),
            "dataset": an_id(dataset),
            "kind": kind,
            "parent": None if below is None else an_id(below),
            **facts,
        }
        if kind in ("lifetime", "window"):
            said = {**self.approved(f"open {name}"), **said}
        self.write(name, "opened", hours=hours, facts=said)

    def refresh(self, window: str, name: str, starts: datetime, ends: datetime) -> None:
        """The next period of a window."""
        facts: Document = {
            "period": an_id(name),
            "starts_at": time_text(starts),
            "ends_at": time_text(ends),
        }
        rules = self.chain(window)[0]["facts"]["policy"]
        self.open(name, "period", below=window, rules=rules, **facts)
        self.write(window, "refreshed", facts=facts)

    def reserve(
        self,
        reservation: str,
        budgets: Sequence[str],
        mechanism: Mapping[str, Any],
        units: int = 1,
        *,
        hours: float = 1,
        **said: Any,
    ) -> None:
        """Hold the units in these budgets. said: `slot` of the part, `blocks` of the entry."""
        part = {**self.part(mechanism, units), **{k: v for k, v in said.items() if k == "slot"}}
        facts = {k: v for k, v in said.items() if k == "blocks"}
        for each in budgets:
            self.write(
                each, "reserved", hours=hours, parts=[part], reservation=reservation, facts=facts
            )

    def end(
        self, reservation: str, budgets: Sequence[str], units: int, *, hours: float = 2
    ) -> None:
        """Post so many of the units that are held, or void where that is none."""
        for each in budgets:
            held = next(
                body
                for body in reversed(self.chain(each))
                if body["reservation"] == an_id(reservation) and body["kind"] == "reserved"
            )
            self.write(
                each,
                "posted" if units else "voided",
                hours=hours,
                parts=[{**part, "units": units} for part in held["parts"]],
                reservation=reservation,
                resolves=held["id"],
                facts=held["facts"],
            )

    def part(self, mechanism: Mapping[str, Any], units: int) -> Document:
        """A part at its price, which is in the table from here on."""
        found = price(parse_mechanism(dict(mechanism)), self.relation).to_json()
        if found not in self.bundle.prices:
            self.bundle.prices.append(found)
        return {"mechanism": found["mechanism"], "price": found["digest"], "units": units}

    def approved(self, name: str) -> Document:
        """The facts of what two people have decided."""
        return {
            "approval": an_id(name),
            "change_sha256": "a" * 64,
            "requested_by": an_id("asker"),
            "decided_by": an_id("officer"),
        }

    def write(
        self,
        name: str,
        kind: str,
        *,
        hours: float = 1,
        parts: Sequence[Document] = (),
        reservation: str | None = None,
        resolves: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Document:
        """One more entry, so many hours after the start and never before the one before it."""
        chain = self.bundle.chains.setdefault(an_id(name), [])
        self.count += 1
        at = time_text(START + timedelta(hours=hours))
        body: Document = {
            "v": 1,
            "ledger": an_id(name),
            "seq": 0,
            "prev": "",
            "at": max(at, chain[-1]["at"]) if chain else at,
            "id": an_id(f"entry {self.count}"),
            "kind": kind,
            "actor": an_id("officer"),
            "reservation": None if reservation is None else an_id(reservation),
            "resolves": resolves,
            "job": None,
            "parts": [dict(part) for part in parts],
            "charge": Loss.zero().to_json(),
            "facts": dict(facts or {}),
        }
        if parts:
            self.bundle.charge(body)
        chain.append(body)
        return body

    def chain(self, name: str) -> list[Document]:
        """The entries of a budget."""
        return self.bundle.chains[an_id(name)]

    def fault(self) -> verifier.Fault | None:
        """What the verifier finds, signatures aside."""
        raw = self.bundle.write("hashed")
        return verifier.verify(io.BytesIO(raw), None).fault
