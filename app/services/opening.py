"""Opening entries: what was spent on the same people before the service kept its books (L3).

Two people put the mechanism and its evidence on record; the charge then stands in the budget and in
all budgets above it, as committed. Windows and their periods are left alone: nothing was started in
them. What was spent was spent, so no limit can refuse the charge. A scope whose balance then does
not pass its filter is frozen in the same transaction, and thaws only where a raise, by two people
again, lets the balance pass: until then nothing is charged to it, and L1, which speaks of scopes
that jobs are charged to, still holds. Leaving the spend out would have made the figure look better
and be false.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import Approval, Budget, DatasetRow, DatasetVersion, PriceRow
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, snapshot
from app.domain.accounting.blocks import fits_a_block
from app.domain.accounting.prices import Price, price
from app.domain.datasets import dataset_from_json
from app.domain.decimals import parse_decimal
from app.domain.documents import read_integer
from app.domain.errors import InvalidParameter, ScopeClosed
from app.domain.ledger import EntryDraft
from app.domain.mechanisms.parsing import Mechanism, parse_mechanism
from app.domain.partitions import Ranges, TimeBlocks
from app.domain.privacy import Loss
from app.services import (
    access,
    block_holdings,
    notifications,
    plans,
    policies,
    proposals,
    windows,
)
from app.services import ledger as ledger_steps
from app.services.access import Caller
from app.services.budgets import lock_as_read, readable
from app.services.idempotency import Keyed, decide_once
from app.services.pricing import UNITS_MOST
from app.services.states import write_state

OVER_LIMIT = "what was spent before passes the limit"


@dataclass(frozen=True, slots=True)
class OpeningRequest:
    """Spend from before: units of a mechanism, or a plain epsilon and delta.

    mechanism: as in a reservation; its price is that of the dataset's unit and relation (L8).
    evidence_sha256: names the document that shows what was run.
    expires_at: until when it may be decided.
    """

    reason: str
    evidence_sha256: str
    mechanism: Mapping[str, Any] | None = None
    units: int | None = None
    epsilon: str | None = None
    delta: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Openings:
    """Use cases on opening entries."""

    make_session: SessionMaker
    pending_most: int = proposals.PENDING_MOST

    def ask(
        self,
        caller: Caller,
        budget_id: UUID,
        request: OpeningRequest,
        *,
        if_version: int,
        keyed: Keyed,
    ) -> dict[str, Any]:
        """Let an opening entry wait for a second person.

        Raises:
            NotFound: no such budget, or none that this caller may know of.
            VersionMismatch: the budget has changed since the caller read it.
            ScopeClosed: the budget is a proposal.
            InvalidParameter: it is a window, or the spend is malformed.
            MechanismNotPriced, RefusedByName: as for a reservation.
            TooManyPending: the caller has as much waiting as may wait.
        """
        access.require_role(caller, "compliance_officer", action="put earlier spend on record")
        mechanism, units = _spend(request)
        with snapshot(self.make_session) as session:
            row = session.get_one(DatasetRow, readable(session, caller, budget_id).dataset_id)
            dataset = dataset_from_json(row.document, id=str(row.id))
        if dataset.relation is None:
            raise RuntimeError(f"dataset {row.id} has a budget and no relation")
        # outside every lock: pricing can be slow
        priced = price(mechanism, dataset.relation)
        if dataset.blocks is not None and not fits_a_block(priced.charge(units)):
            raise InvalidParameter("/units", "a loss beyond all that a block can have on record")

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            (budget,) = lock_as_read(session, caller, budget_id, if_version=if_version)
            if budget.kind not in ("lifetime", "allocation"):
                raise InvalidParameter("/budget_id", "earlier spend started in no window")
            if plans.is_plan(budget):
                raise InvalidParameter("/budget_id", f"{plans.FROZEN}; put it on one above")
            if budget.state == "proposed":
                raise ScopeClosed(windows.scope_of(budget), budget.state)
            if session.get(PriceRow, priced.digest) is None:
                session.add(
                    PriceRow(digest=priced.digest, document=priced.to_json(), created_at=now)
                )
            change = {
                "action": "opening",
                "budget_id": str(budget.id),
                "budget_version": budget.version,
                "mechanism": mechanism.to_json(),
                "price": priced.digest,
                "units": units,
                "evidence_sha256": request.evidence_sha256,
                "reason": request.reason,
            }
            asked = proposals.ask(
                session,
                budget,
                change,
                requested_by=caller.principal_id,
                now=now,
                expires_at=request.expires_at,
                most=self.pending_most,
            )
            return {**asked, "effect": _effect(session, budget, priced, units, now=now)}

        return decide_once(self.make_session, keyed, decide, stored=(ScopeClosed,))


def path_ids(session: Session, approval: Approval) -> list[UUID]:
    """The scopes that an opening entry charges, to be locked in one go."""
    budget = session.get_one(Budget, approval.budget_id)
    return [each.id for each in budget_rows.path_of(session, budget)]


def apply_approved(session: Session, approval: Approval, *, now: datetime) -> None:
    """Charge approved earlier spend to its budget and all above it; freeze what it overruns."""
    change, loss = approval.change, _loss(session, approval)
    facts = {"evidence_sha256": change["evidence_sha256"], "scope": change["budget_id"]}
    parts = [{"mechanism": change["mechanism"], "price": change["price"], "units": change["units"]}]
    for budget in budget_rows.lock(session, path_ids(session, approval)):
        charge(session, budget, approval, loss, parts, facts, now=now)


def charge_of(
    session: Session, approval: Approval, budget: Budget, *, now: datetime
) -> tuple[Loss, Ranges | None]:
    """What an earlier spend would charge a budget, and to which blocks; writes nothing."""
    return _loss(session, approval), _begun(session, budget, now=now)


def _loss(session: Session, approval: Approval) -> Loss:
    document = session.get_one(PriceRow, approval.change["price"]).document
    return Price.from_json(document).charge(approval.change["units"])


def charge(
    session: Session,
    budget: Budget,
    approval: Approval,
    loss: Loss,
    parts: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    *,
    now: datetime,
) -> None:
    """Commit an approved loss to a locked budget, whatever its limit; freeze it if it overruns."""
    ranges = _begun(session, budget, now=now)
    draft = EntryDraft(
        id=proposals.entry_id(approval, budget),
        kind="opening",
        charge=loss,
        actor=str(approval.decided_by),
        parts=parts,
        facts={**proposals.decision_facts(approval), **facts, **block_holdings.facts(ranges)},
    )
    before = budget.committed + budget.reserved
    ledger_steps.append(session, budget, draft, now=now)
    block_holdings.post(budget, loss, ranges)
    if budget.id == approval.budget_id:
        budget.version += 1
    notifications.notice_thresholds(session, budget, now=now, before=before)
    if plans.is_plan(budget):
        # no slot names this, so nothing more may run in the plan (R10)
        if budget.state in ("open", "frozen"):
            ended = {"approval": str(approval.id), "reason": OVER_LIMIT}
            actor = str(approval.decided_by)
            write_state(session, budget, "close", actor=actor, facts=ended, now=now)
        return
    # a period is a limit of its own, and lets nothing more start when it is full
    if not policies.passes(budget) and budget.state == "open" and budget.kind != "period":
        frozen = {"approval": str(approval.id), "reason": OVER_LIMIT}
        actor = str(approval.decided_by)
        write_state(session, budget, "freeze", actor=actor, facts=frozen, now=now)
        notifications.notice_frozen(session, budget, OVER_LIMIT, now=now)


def _begun(session: Session, budget: Budget, *, now: datetime) -> Ranges | None:
    """The blocks that earlier spend is charged to: every one that has begun, closed or not.

    What was spent was spent on rows that were there, and these may yet come to any block that has
    begun; a block that begins later holds none of them. None where there are no blocks.
    """
    row = session.get_one(DatasetRow, budget.dataset_id)
    blocks = dataset_from_json(row.document, id=str(row.id)).blocks
    if blocks is None:
        return None
    closed = session.get_one(DatasetVersion, (row.id, row.latest_version)).closed_blocks
    begun = blocks.begun(now) if isinstance(blocks, TimeBlocks) else blocks.count
    return ((0, max(closed, begun, 1) - 1),)


def _spend(request: OpeningRequest) -> tuple[Mechanism, int]:
    """What was run: a mechanism and its units, or the pair as the mechanism that has it (R6)."""
    is_pair = request.epsilon is not None or request.delta is not None
    if is_pair == (request.mechanism is not None):
        raise InvalidParameter("/mechanism", "a mechanism with units, or an epsilon and a delta")
    if request.mechanism is not None:
        return (
            parse_mechanism(request.mechanism, "/mechanism"),
            read_integer(request.units, "/units", low=1, high=UNITS_MOST),
        )
    if request.units is not None:
        raise InvalidParameter("/units", "an epsilon and a delta are spent once")
    if parse_decimal("0" if request.delta is None else request.delta, "/delta") == 0:
        return parse_mechanism({"type": "pure", "epsilon": request.epsilon}, ""), 1
    pair = {"type": "approximate", "epsilon": request.epsilon, "delta": request.delta}
    return parse_mechanism(pair, ""), 1


def _effect(
    session: Session, budget: Budget, priced: Price, units: int, *, now: datetime
) -> dict[str, Any]:
    """What the charge would do to each scope now; the decision finds the balances of its time."""
    charge, ranges = priced.charge(units), _begun(session, budget, now=now)
    scopes = []
    for each in budget_rows.path_of(session, budget):
        policy, held = policies.policy_of(each), each.committed + each.reserved + charge
        sums = each.block_sums
        if sums is not None and ranges is not None:
            sums = sums.post(charge, ranges)
        scopes.append(
            {
                "budget_id": str(each.id),
                "from": policies.amount_json(policies.held_by_worst(each).consumed),
                "to": policies.amount_json(policies.worst_of(policy, held, sums).consumed),
                "passes": policies.is_within(policy, held, sums),
            }
        )
    return {"scopes": scopes}
