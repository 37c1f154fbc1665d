"""What the database has forgotten is posted by two people, and then the root may thaw (R22).

The charge is worked out here from the evidence, at `max_units` of what the witness saw begin, and
is what the second person approves, entry by entry. Nobody can ask for less. What the witness cannot
price (a lost head without a touch, a journal that is damaged) is not charged by this: people who
know more put it on record as opening entries first, and say so in their reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Approval, Budget, DatasetRow, Discrepancy, PriceRow, Reservation
from app.db.pages import PAGE_MOST, page_of
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, snapshot
from app.domain.accounting.prices import Price, charge_parts, price
from app.domain.datasets import dataset_from_json
from app.domain.errors import LedgerBehind, NotFound
from app.domain.mechanisms.parsing import parse_mechanism
from app.services import access, opening, plans, policies, proposals
from app.services.access import Caller
from app.services.budgets import lock_as_read, readable
from app.services.idempotency import Keyed, decide_once
from app.services.pricing import UNITS_MOST

# a scope, and what is charged to it: [{"mechanism", "price", "units"}]
Charges = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """The evidence that is settled, by digest, and why the asker believes that this is all."""

    reason: str
    evidence_sha256: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Discrepancies:
    """Use cases on what was forgotten."""

    make_session: SessionMaker
    pending_most: int = proposals.PENDING_MOST

    def list(
        self, caller: Caller, after: UUID | None = None, limit: int = PAGE_MOST
    ) -> list[dict[str, Any]]:
        """Discrepancies, oldest first, with their evidence; the page after `after`.

        Raises:
            NotFound: no discrepancy `after`.
        """
        access.require_role(
            caller, "compliance_officer", "auditor", "admin", action="read discrepancies"
        )
        place = [Discrepancy.found_at, Discrepancy.id]
        with snapshot(self.make_session) as session:
            last = None
            if after is not None:
                row = session.get(Discrepancy, after)
                if row is None:
                    raise NotFound(kind="discrepancy", id=str(after))
                last = (row.found_at, row.id)
            statement = page_of(select(Discrepancy), place, last, limit)
            return [_json(row) for row in session.scalars(statement)]

    def ask(
        self,
        caller: Caller,
        budget_id: UUID,
        request: RecoveryRequest,
        *,
        if_version: int,
        keyed: Keyed,
    ) -> dict[str, Any]:
        """Let the entries that put a discrepancy right wait for a second person.

        Raises:
            NotFound: no such budget, or no unsettled discrepancy of it with this evidence.
            VersionMismatch: the budget has changed since the caller read it.
            MechanismNotPriced: the witness names a mechanism that has no price any more.
            TooManyPending: the caller has as much waiting as may wait.
        """
        access.require_role(caller, "compliance_officer", action="settle a discrepancy")
        with snapshot(self.make_session) as session:
            root = readable(session, caller, budget_id)
            charges = _charges(session, root, _open(session, root, request.evidence_sha256))
            prices = _priced(session, root, charges)

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            (root,) = lock_as_read(session, caller, budget_id, if_version=if_version)
            _open(session, root, request.evidence_sha256)
            for each in prices.values():
                if session.get(PriceRow, each.digest) is None:
                    session.add(
                        PriceRow(digest=each.digest, document=each.to_json(), created_at=now)
                    )
            change = {
                "action": "recovery",
                "budget_id": str(root.id),
                "budget_version": root.version,
                "evidence_sha256": request.evidence_sha256,
                "charges": charges,
                "reason": request.reason,
            }
            asked = proposals.ask(
                session,
                root,
                change,
                requested_by=caller.principal_id,
                now=now,
                expires_at=request.expires_at,
                most=self.pending_most,
            )
            return {**asked, "effect": _effect(session, charges, prices)}

        return decide_once(self.make_session, keyed, decide)


def scope_ids(_session: Session, approval: Approval) -> list[UUID]:
    """The scopes that a recovery charges, to be locked in one go."""
    return [UUID(text) for text in approval.change["charges"]]


def apply_approved(session: Session, approval: Approval, *, now: datetime) -> None:
    """Charge what was forgotten, an entry in each scope, and call the discrepancy settled."""
    change = approval.change
    root_id = UUID(change["budget_id"])
    facts = {"evidence_sha256": change["evidence_sha256"], "scope": change["budget_id"]}
    for budget in budget_rows.lock(session, [root_id, *scope_ids(session, approval)]):
        if budget.opened_at is None:
            # the backup is older than the plan: frozen anew it would promise its slots twice
            if plans.waits(budget):
                plans.refuse(session, budget, LedgerBehind([change["evidence_sha256"]]), now=now)
            continue
        # the root says that it was put right even where nothing could be charged
        parts = change["charges"].get(str(budget.id), [])
        loss = charge_parts([(_price(session, part["price"]), part["units"]) for part in parts])
        opening.charge(session, budget, approval, loss, parts, facts, now=now)
    session.flush()
    row = session.scalars(
        select(Discrepancy)
        .where(
            Discrepancy.budget_id == root_id,
            Discrepancy.evidence_sha256 == change["evidence_sha256"],
            Discrepancy.approval_id.is_(None),
        )
        .with_for_update()
    ).one()
    row.approval_id = approval.id


def _open(session: Session, root: Budget, evidence_sha256: str) -> Discrepancy:
    statement = select(Discrepancy).where(
        Discrepancy.budget_id == root.id,
        Discrepancy.evidence_sha256 == evidence_sha256,
        Discrepancy.approval_id.is_(None),
    )
    row = session.scalars(statement).one_or_none()
    if row is None:
        raise NotFound("discrepancy", evidence_sha256)
    return row


def _charges(session: Session, root: Budget, row: Discrepancy) -> Charges:
    """What is owed to each scope of the root's tree: all that a lost touch could still have run.

    A touch is charged to every scope that it names and that the database still has, and to what
    lies above these; a plan among them that waits to be composed holds nothing, and ends. One of
    which nothing is left here is charged to the root of nobody else.
    """
    charges: Charges = {}
    for each in row.evidence["missing"]:
        if each["kind"] != "touch":
            continue
        stored = session.get(Reservation, UUID(each["reservation"]))
        # what the database still held was ended at its most when this was found
        known = {} if stored is None else dict(enumerate(stored.started_units))
        owed = each["max_units"] - known.get(each["part"], 0)
        if owed <= 0:
            continue
        part = {"mechanism": each["mechanism"], "price": each["price"], "units": owed}
        for scope_id in sorted(_scopes(session, root, each["budgets"])):
            _add(charges.setdefault(scope_id, []), part)
    return charges


def _add(parts: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    """One part for all that ran alike: an entry has few parts, and a lost day many touches."""
    for each in parts:
        is_alike = all(each[key] == part[key] for key in ("mechanism", "price"))
        if is_alike and each["units"] + part["units"] <= UNITS_MOST:
            each["units"] += part["units"]
            return
    parts.append(dict(part))


def _scopes(session: Session, root: Budget, named: Sequence[str]) -> set[str]:
    ids = {UUID(text) for text in named}
    statement = select(Budget).where(Budget.id.in_(ids), Budget.dataset_id == root.dataset_id)
    found = [budget for budget in session.scalars(statement) if budget.kind != "window"]
    # a window holds no loss of its own: its periods do (R9)
    above = (
        each
        for budget in found
        for each in budget_rows.path_of(session, budget)
        if each.kind != "window"
    )
    return {str(each.id) for each in above}


def _priced(session: Session, root: Budget, charges: Charges) -> dict[str, Price]:
    """Prices by digest; one that the database has forgotten too is worked out again.

    `charges` then names the digests of these, should the code have moved on meanwhile.
    """
    dataset = session.get_one(DatasetRow, root.dataset_id)
    relation = dataset_from_json(dataset.document, id=str(dataset.id)).relation
    if relation is None:
        raise RuntimeError(f"dataset {dataset.id} has a budget and no relation")
    prices: dict[str, Price] = {}
    for part in (part for parts in charges.values() for part in parts):
        stored = session.get(PriceRow, part["price"])
        found = prices.get(part["price"]) or (
            price(parse_mechanism(part["mechanism"]), relation)
            if stored is None
            else Price.from_json(stored.document)
        )
        part["price"] = found.digest
        prices[found.digest] = found
    return prices


def _price(session: Session, digest: str) -> Price:
    return Price.from_json(session.get_one(PriceRow, digest).document)


def _effect(session: Session, charges: Charges, prices: Mapping[str, Price]) -> dict[str, Any]:
    """What is charged to each scope, as it would show alone in an empty budget."""
    scopes = []
    for scope_id, parts in sorted(charges.items()):
        budget = session.get_one(Budget, UUID(scope_id))
        loss = charge_parts([(prices[part["price"]], part["units"]) for part in parts])
        alone = None
        if budget.plan_units is None:
            alone = policies.amount_json(policies.alone(policies.policy_of(budget), loss))
        scopes.append({"budget_id": scope_id, "charge_alone": alone})
    return {"scopes": scopes}


def _json(row: Discrepancy) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "budget_id": str(row.budget_id),
        "evidence": row.evidence,
        "evidence_sha256": row.evidence_sha256,
        "found_at": row.found_at.isoformat(),
        "approval_id": None if row.approval_id is None else str(row.approval_id),
    }
