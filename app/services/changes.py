"""Changes of a budget's limit or state: who may make them, what they write (L10, R5, R19).

Raising or thawing a root or a window takes two people: the change waits as an approval. Lowering,
freezing, closing and limiting the rate take one officer, and so does every change of an allocation,
whose root still binds. An engineer who may read a budget may ask for more; an officer decides.

Each change is an entry of the budget's chain with its reason, its people, and the policy in force
from there on, so that a replay knows the limit at every entry. A limit on the rate moves no policy:
its entry says from what to what.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Final, Literal, cast, get_args
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import Approval, Budget
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker
from app.domain.accounting.filters import Policy
from app.domain.decimals import WIDEST_EXPONENT, decimal_text, parse_decimal
from app.domain.errors import (
    InvalidParameter,
    LowerRefused,
    NotAllowed,
    ScopeClosed,
    ThawRefused,
)
from app.domain.ledger import EntryDraft, EntryKind, document_sha256
from app.domain.privacy import Loss
from app.services import access, audit, notifications, plans, policies, proposals, windows
from app.services import ledger as ledger_steps
from app.services.access import Caller
from app.services.budgets import lock_as_read
from app.services.idempotency import Keyed, decide_once
from app.services.states import (
    STATES,
    StateAction,
    require_passing,
    require_settled,
    write_state,
)

Action = Literal["raise", "lower", "transfer", "limit_rate", StateAction]
RateLimit = Literal["jobs_per_hour", "units_per_day"]
RATE_LIMITS: Final = get_args(RateLimit)

# the states in which an action has a meaning
POSSIBLE_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "raise": ("open", "frozen"),
    "lower": ("open", "frozen"),
    "freeze": ("open",),
    "thaw": ("frozen",),
    "close": ("open", "frozen"),
    "transfer": ("open", "frozen"),
    "limit_rate": ("open", "frozen"),
}
KINDS_OF_TWO: Final = ("lifetime", "window")


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A change as asked for.

    epsilon, delta: the new limit of a raise or lower; of a transfer, epsilon is the amount moved.
    to: the sibling that a transfer raises.
    rate_limits: of limit_rate; what is absent or None is not limited.
    expires_at: until when a change of two people may be decided.
    """

    action: Action
    reason: str
    epsilon: Decimal | None = None
    delta: Decimal | None = None
    to: UUID | None = None
    rate_limits: Mapping[str, int | None] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Use cases on changes."""

    make_session: SessionMaker
    pending_most: int = proposals.PENDING_MOST

    def make(
        self,
        caller: Caller,
        budget_id: UUID,
        request: ChangeRequest,
        *,
        if_version: int,
        keyed: Keyed,
    ) -> dict[str, Any]:
        """Make a change that takes one person, or let it wait for a second one.

        Returns:
            `state` is `done`, or `pending` with the approval's id; `effect` says from what to what.

        Raises:
            NotFound: no such budget, or none that this caller may know of.
            NotAllowed: an engineer may ask for more and for nothing else.
            VersionMismatch: the budget has changed since the caller read it.
            ScopeClosed: the action has no meaning in the budget's state.
            LowerRefused: the balance would not pass; says the least value that it would.
            ThawRefused: the balance does not pass the limit in force.
            TooManyPending: the caller has as much waiting as may wait.
        """
        access.require_role(caller, "compliance_officer", "ml_engineer", action="change a budget")
        is_officer = "compliance_officer" in caller.roles
        if not is_officer and request.action != "raise":
            raise NotAllowed(action=f"{request.action} a budget", needs="compliance_officer")

        def decide(session: Session, now: datetime) -> dict[str, Any]:
            budget, sibling = _locked(session, caller, budget_id, request, if_version)
            change = _change(session, budget, sibling, request, now=now)
            effect = _effect(budget, change)
            takes_two = request.action in ("raise", "thaw") and budget.kind in KINDS_OF_TWO
            if is_officer and not takes_two:
                if request.expires_at is not None:
                    raise InvalidParameter("/expires_at", "this change takes effect at once")
                return {**_make_alone(session, caller, budget, change, now=now), "effect": effect}
            asked = proposals.ask(
                session,
                budget,
                change,
                requested_by=caller.principal_id,
                now=now,
                expires_at=request.expires_at,
                most=self.pending_most,
            )
            return {**asked, "effect": effect}

        return decide_once(
            self.make_session, keyed, decide, stored=(LowerRefused, ScopeClosed, ThawRefused)
        )


def apply_approved(session: Session, approval: Approval, *, now: datetime) -> None:
    """Make an approved raise or thaw take effect; the subject is locked at its version."""
    _apply(session, approval.change, proposals.decision_facts(approval), approval, now=now)


def policy_after(budget: Budget, change: Mapping[str, Any]) -> Policy:
    """The policy that a raise would put in force; a step that writes nothing.

    Raises:
        InvalidParameter, LowerRefused: it would be refused, since the budget has moved.
    """
    return _at(policies.policy_of(budget), budget, change["to"])


def _locked(
    session: Session,
    caller: Caller,
    budget_id: UUID,
    request: ChangeRequest,
    if_version: int,
) -> tuple[Budget, Budget | None]:
    """The budget and, of a transfer, its sibling: locked in one go, and fit for the action."""
    others: tuple[UUID, ...] = ()
    if request.action == "transfer":
        if request.to is None or request.to == budget_id:
            raise InvalidParameter("/to", "another allocation below the same budget")
        others = (request.to,)
    locked = lock_as_read(session, caller, budget_id, *others, if_version=if_version)
    budget = locked[0]
    if budget.kind == "period":
        raise InvalidParameter("/action", "a period follows its window; change that")
    for each in locked:
        if plans.is_plan(each) and request.action in ("raise", "lower", "transfer"):
            raise InvalidParameter("/action", plans.FROZEN)
        if not _is_possible(request.action, each):
            raise ScopeClosed(windows.scope_of(each), each.state)
    sibling = locked[1] if others else None
    if sibling is not None and (
        {budget.kind, sibling.kind} != {"allocation"} or budget.parent_id != sibling.parent_id
    ):
        raise InvalidParameter("/to", "another allocation below the same budget")
    return budget, sibling


def _is_possible(action: Action, budget: Budget) -> bool:
    # a plan that waits to be composed may be withdrawn; nothing else has a meaning in it
    return budget.state in POSSIBLE_IN[action] or (action == "close" and plans.waits(budget))


def _change(
    session: Session,
    budget: Budget,
    sibling: Budget | None,
    request: ChangeRequest,
    *,
    now: datetime,
) -> dict[str, Any]:
    """The exact change; what is impossible is refused here, before anybody is asked to decide."""
    change: dict[str, Any] = {
        "action": request.action,
        "budget_id": str(budget.id),
        "budget_version": budget.version,
        "reason": request.reason,
    }
    if request.action in ("raise", "lower"):
        policy = policies.policy_of(budget)
        new = (_raised if request.action == "raise" else _lowered)(policy, budget, request)
        change |= {"from": policy.limit.to_json(), "to": new.limit.to_json()}
        period = _period(session, budget, now=now)
        if request.action == "lower" and period is not None:
            _lowered_to(policies.policy_of(period), period, new.limit.epsilon)
    elif request.action == "transfer" and sibling is not None:
        policy = policies.policy_of(budget)
        amount = _given(request.epsilon, "/epsilon")
        if amount >= policy.limit.epsilon:
            raise InvalidParameter("/epsilon", "must be below the limit in force")
        less = _lowered_to(policy, budget, _exactly(policy.limit.epsilon, amount.copy_negate()))
        other = policies.policy_of(sibling)
        more = other.raised(_exactly(other.limit.epsilon, amount))
        change |= {
            "epsilon": decimal_text(amount),
            "from": policy.limit.to_json(),
            "to": less.limit.to_json(),
            "sibling": {
                "budget_id": str(sibling.id),
                "budget_version": sibling.version,
                "from": other.limit.to_json(),
                "to": more.limit.to_json(),
            },
        }
    elif request.action == "limit_rate":
        if budget.kind == "window":
            raise InvalidParameter("/action", "limit the rate of the budget that it limits")
        limits = request.rate_limits or {}
        change |= {
            "from": dict(budget.rate_limits),
            "to": {name: limits[name] for name in RATE_LIMITS if limits.get(name) is not None},
        }
    else:
        if request.action == "thaw":
            require_settled(session, budget)
            require_passing(budget)
        change |= {"from": budget.state, "to": STATES[request.action][0]}
    return change


def _apply(
    session: Session,
    change: Mapping[str, Any],
    facts: Mapping[str, Any],
    approval: Approval | None,
    *,
    now: datetime,
) -> None:
    action: Action = change["action"]
    ids = [UUID(change["budget_id"])]
    if action == "transfer":
        ids.append(UUID(change["sibling"]["budget_id"]))
    locked = {budget.id: budget for budget in budget_rows.lock(session, ids)}
    budget = locked[ids[0]]
    if not _is_possible(action, budget):
        raise ScopeClosed(windows.scope_of(budget), budget.state)
    if action in ("raise", "lower"):
        kind: EntryKind = "raised" if action == "raise" else "lowered"
        _write_limit(session, budget, kind, change, facts, approval, now=now)
        period = _period(session, budget, now=now)
        if period is not None:
            # the database takes a period's limit only once it is its window's
            session.flush()
            followed = {**facts, "window": str(budget.id)}
            _write_limit(session, period, kind, change, followed, approval, now=now)
    elif action == "transfer":
        # both entries name the change by its hash, and neither names the other budget: who reads
        # one allocation may not know of its sibling (R12)
        moved = {**facts, "epsilon": change["epsilon"]}
        for each, own in ((budget, change), (locked[ids[1]], change["sibling"])):
            _write_limit(session, each, "transferred", own, moved, approval, now=now)
    elif action == "limit_rate":
        budget.version += 1
        budget.rate_limits = dict(change["to"])
        draft = EntryDraft(
            id=proposals.entry_id(approval, budget),
            kind="rate_limited",
            charge=Loss.zero(),
            actor=str(facts["decided_by"]),
            facts={**facts, "from": change["from"], "to": change["to"]},
        )
        ledger_steps.append(session, budget, draft, now=now)
    elif plans.waits(budget):
        plans.refuse(session, budget, plans.PlanWithdrawn(), now=now)
    elif action in STATES:
        if action == "thaw":
            require_settled(session, budget)
            require_passing(budget)
        write_state(
            session,
            budget,
            cast(StateAction, action),
            actor=str(facts["decided_by"]),
            facts=facts,
            now=now,
            entry_id=proposals.entry_id(approval, budget),
        )


def _write_limit(
    session: Session,
    budget: Budget,
    kind: EntryKind,
    change: Mapping[str, Any],
    facts: Mapping[str, Any],
    approval: Approval | None,
    *,
    now: datetime,
) -> None:
    """Put a limit in force and write its entry, which carries the whole policy (L4, R5)."""
    policy = _at(policies.policy_of(budget), budget, change["to"])
    budget.version += 1
    budget.policy = policy.to_json()
    draft = EntryDraft(
        id=proposals.entry_id(approval, budget),
        kind=kind,
        charge=Loss.zero(),
        actor=str(facts["decided_by"]),
        facts={**facts, "from": change["from"], "to": change["to"], "policy": budget.policy},
    )
    ledger_steps.append(session, budget, draft, now=now)
    notifications.notice_thresholds(session, budget, now=now)


def _at(policy: Policy, budget: Budget, to: Mapping[str, str]) -> Policy:
    """The policy at another limit, by the rules of raising and lowering (R5)."""
    epsilon, delta = parse_decimal(to["epsilon"], ""), parse_decimal(to["delta"], "")
    if epsilon < policy.limit.epsilon:
        return _lowered_to(policy, budget, epsilon)
    if epsilon > policy.limit.epsilon:
        policy = policy.raised(epsilon)
    return policy if delta == policy.limit.delta else policy.raised_delta(delta)


def _raised(policy: Policy, _budget: Budget, request: ChangeRequest) -> Policy:
    if request.epsilon is None and request.delta is None:
        raise InvalidParameter("/limit", "an epsilon or a delta above the one in force")
    if request.epsilon is not None:
        policy = policy.raised(request.epsilon)
    return policy if request.delta is None else policy.raised_delta(request.delta)


def _lowered(policy: Policy, budget: Budget, request: ChangeRequest) -> Policy:
    if request.delta is not None:
        raise InvalidParameter("/limit/delta", "a delta is fixed at creation or raised")
    return _lowered_to(policy, budget, _given(request.epsilon, "/limit/epsilon"))


def _lowered_to(policy: Policy, budget: Budget, epsilon: Decimal) -> Policy:
    """A budget's policy with a lower epsilon, if all that it holds passes there, block by block."""
    return policy.lowered(epsilon, policies.held_at(budget, policy.at_level(epsilon)))


def _exactly(epsilon: Decimal, moved: Decimal) -> Decimal:
    """The limit of one side of a transfer: rounded, one would gain what the other did not give.

    Raises:
        InvalidParameter: the sum has more digits than the text of a limit.
    """
    with localcontext() as context:
        context.prec = 3 * WIDEST_EXPONENT
        total = epsilon + moved
    try:
        return parse_decimal(format(total, "f"), "/epsilon")
    except InvalidParameter:
        raise InvalidParameter("/epsilon", "with fewer digits: limits are exact") from None


def _period(session: Session, budget: Budget, *, now: datetime) -> Budget | None:
    """The period of a locked window that is in force, locked; its limit moves with the window."""
    if budget.kind != "window":
        return None
    seen = windows.seen_in_force(session, budget, now=now)
    return None if seen is None else budget_rows.latest_period(session, budget.id, lock=True)


def _effect(budget: Budget, change: Mapping[str, Any]) -> dict[str, Any]:
    """From what to what, and what stays as it is."""
    old, new = change["from"], change["to"]
    own: dict[str, Any] = {"from": old, "to": new}
    if change["action"] in ("raise", "lower", "transfer"):
        own = {"from": old["epsilon"], "to": new["epsilon"]}
        if old["delta"] != new["delta"]:
            own["delta"] = {"from": old["delta"], "to": new["delta"]}
    effect = {budget.kind: own}
    if change["action"] == "transfer":
        sibling = change["sibling"]
        effect["sibling"] = {
            "budget_id": sibling["budget_id"],
            "from": sibling["from"]["epsilon"],
            "to": sibling["to"]["epsilon"],
        }
    unchanged = "windows" if budget.kind == "lifetime" else "lifetime"
    return {**effect, unchanged: "unchanged"}


def _make_alone(
    session: Session, caller: Caller, budget: Budget, change: Mapping[str, Any], *, now: datetime
) -> dict[str, Any]:
    """Make the change of one officer, with its line in the trail; gives what the officer reads."""
    facts = {
        "change_sha256": document_sha256(change),
        "decided_by": str(caller.principal_id),
        "reason": change["reason"],
    }
    _apply(session, change, facts, None, now=now)
    audit.record(
        session,
        actor_id=caller.principal_id,
        action=f"budget.{change['action']}",
        subject=str(budget.id),
        facts={"change": dict(change)},
        at=now,
    )
    return {
        "state": "done",
        "budget_id": str(budget.id),
        "budget_version": budget.version,
        "change_sha256": facts["change_sha256"],
    }


def _given(value: Decimal | None, pointer: str) -> Decimal:
    if value is None:
        raise InvalidParameter(pointer, "is required")
    if value <= 0:
        raise InvalidParameter(pointer, "must be above 0")
    return value
