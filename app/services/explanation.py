"""Why a request has no room, and what would have: a refusal explains itself (L5, R12).

Everything here depends on parameters and balances. A scope that the caller may not read appears as
"an ancestor", without a figure of its own; only what fits on the whole path is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.db.models import Budget
from app.db.session import database_now
from app.domain.accounting.fits import (
    OFFERED_DIGITS,
    Admits,
    least_noise,
    least_passing,
    most_units,
)
from app.domain.accounting.plan_units import units_by_slot
from app.domain.accounting.prices import charge_parts, price
from app.domain.decimals import text_down
from app.domain.errors import BudgetExceeded, RateLimited, ScopeClosed
from app.domain.mechanisms.parsing import (
    Gaussian,
    Mechanism,
    PoissonSampled,
    Repeated,
    TreeAggregation,
)
from app.domain.privacy import Loss
from app.domain.windows import window_from_json
from app.services import access, policies, windows
from app.services.access import Caller
from app.services.holdings import Holding, Scope, holding_of
from app.services.parts import part_json
from app.services.plan_holdings import PlanHolding
from app.services.pricing import PricedRequest

ANCESTOR = {"kind": "an ancestor"}
HIDDEN_RETRY_S = 3600
# noise is offered up to a million times the noise that was asked for
NOISE_TIMES_MOST = Fraction(10**6)


def scope_json(
    session: Session, caller: Caller, budget: Budget, ends_at: datetime | None = None
) -> dict[str, str]:
    """A scope by name where the caller may read it, else only that there is one."""
    if not access.may_read_budget(session, caller, budget):
        return dict(ANCESTOR)
    named = {"kind": budget.kind, "budget_id": str(budget.id), "name": budget.name}
    if budget.window is None or ends_at is None or budget.window["refresh_when"] != "always":
        # a window that waits for new data opens on no day that could be named
        return named
    zone = ZoneInfo(budget.window["time_zone"])
    return {**named, "opens_again_at": ends_at.astimezone(zone).isoformat()}


def as_seen(
    session: Session, caller: Caller, refusal: ScopeClosed | RateLimited
) -> ScopeClosed | RateLimited:
    """The same refusal, its scope named only to those who may read it."""
    if "budget_id" not in refusal.scope:
        return refusal
    budget = session.get_one(Budget, UUID(refusal.scope["budget_id"]))
    scope = scope_json(session, caller, budget)
    if scope == ANCESTOR and isinstance(refusal, RateLimited):
        # when it passes would tell when others were admitted
        return RateLimited(scope, limit="rate", most=0, retry_after_s=HIDDEN_RETRY_S)
    return replace(refusal, scope=scope)


def quote_json(
    session: Session, caller: Caller, path: Sequence[Budget], priced: PricedRequest
) -> dict[str, Any]:
    """What a request would cost in each readable scope, and whether the whole path has room."""
    now = database_now(session)
    seen = [(budget, *_seen(session, budget, priced, now=now)) for budget in path]
    scopes = [scope for _, _, scope in seen]
    charges = [
        {
            "budget_id": str(budget.id),
            "kind": budget.kind,
            **asked_json(budget, priced),
            **_remaining_json(scope, priced.loss),
            "fits": is_open and scope.admits(priced.loss),
        }
        for budget, is_open, scope in seen
        if access.may_read_budget(session, caller, budget)
    ]
    return {
        "kind": priced.kind,
        "spec": dict(priced.spec),
        "parts": [part_json(part) for part in priced.parts_json()],
        "charges": charges,
        "admitted_now": all(is_open and scope.admits(priced.loss) for _, is_open, scope in seen),
        "fits": fits(scopes, priced),
        **priced.figures,
    }


def budget_exceeded(
    session: Session, caller: Caller, scopes: Sequence[Scope], priced: PricedRequest
) -> BudgetExceeded:
    """The refusal of a request by the scopes as they were under the lock.

    A plan is a leaf, and whoever may charge it may read it, so it is named before any other.
    """
    for scope in scopes:
        if isinstance(scope, PlanHolding) and not scope.admits(priced.loss):
            return _no_slot_left(session, caller, scope, scopes, priced)
    refusing = [s for s in scopes if isinstance(s, Holding) and not s.admits(priced.loss)]
    remaining = {s.budget_id: s.remaining() for s in refusing}
    tightest = min(refusing, key=lambda scope: Decimal(remaining[scope.budget_id].epsilon))
    budget = session.get_one(Budget, tightest.budget_id)
    asked = policies.amount_json(policies.alone(tightest.policy, priced.loss))
    is_readable = access.may_read_budget(session, caller, budget)
    left: dict[str, object] = {}
    if is_readable:
        left.update(policies.amount_json(remaining[tightest.budget_id]))
    return BudgetExceeded(
        scope=scope_json(session, caller, budget, tightest.ends_at),
        asked={"units": priced.max_units, **asked} if is_readable else {"units": priced.max_units},
        left=left,
        fits=fits(scopes, priced),
    )


def asked_json(budget: Budget, priced: PricedRequest) -> dict[str, Any]:
    """What is asked of a scope: an amount of a filter, units of its slots of a plan (R10).

    It depends on no balance.
    """
    if budget.plan_units is not None:
        return {"asked": None, "units": priced.slot_units}
    alone = policies.alone(policies.policy_of(budget), priced.loss)
    return {"asked": policies.amount_json(alone)}


def _remaining_json(scope: Scope, loss: Loss) -> dict[str, Any]:
    """What remains, and what would after the request; null where it has no room for that."""
    if isinstance(scope, PlanHolding):
        return {"remaining": None, "remaining_after": None, "slots_left": scope.left()}
    after = scope.with_charge(loss).remaining() if scope.admits(loss) else None
    return {
        "remaining": policies.amount_json(scope.remaining()),
        "remaining_after": None if after is None else policies.amount_json(after),
    }


def _no_slot_left(
    session: Session,
    caller: Caller,
    plan: PlanHolding,
    scopes: Sequence[Scope],
    priced: PricedRequest,
) -> BudgetExceeded:
    left = plan.left()
    return BudgetExceeded(
        scope=scope_json(session, caller, session.get_one(Budget, plan.budget_id)),
        asked={"units": priced.max_units, "slots": priced.slot_units},
        left={"slots": {name: left[name] for name in priced.slot_units}},
        fits=fits(scopes, priced),
    )


def fits(scopes: Sequence[Scope], priced: PricedRequest) -> dict[str, object]:
    """The largest request of this shape that every scope of the path would admit.

    max_units: the most units of the largest part, or of a training's steps; other parts as asked.
    noise_multiplier_at_asked_units, or `noise_at_asked_units` where the mechanism calls it
    otherwise: the least noise of a request of one part, or of a training's steps; None where none
    would pass. epsilon: the largest target of a query.
    """
    admits = _path_admits(scopes)
    largest = max(range(len(priced.parts)), key=lambda index: priced.parts[index].max_units)
    if priced.kind == "train":
        largest = len(priced.parts) - 1  # the steps, also where there is one of them
    asked_units = priced.parts[largest].max_units
    others = charge_parts(
        [
            (each, part.max_units)
            for index, (each, part) in enumerate(zip(priced.prices, priced.parts, strict=True))
            if index != largest
        ]
    )
    room = min([asked_units, *_slot_rooms(scopes, priced, largest)])
    units = most_units(admits, priced.prices[largest], room, beside=others) if room else 0
    found: dict[str, object] = {"max_units": units}
    if units == asked_units or priced.slots:
        # another mechanism would be another slot
        return found
    if priced.parts_at_epsilon is not None:
        found["epsilon"] = _largest_epsilon(admits, priced)
    elif len(priced.parts) == 1 or priced.kind == "train":
        mechanism = priced.parts[largest].mechanism
        noise = least_noise(admits, mechanism, asked_units, priced.relation, beside=others)
        name = "noise_multiplier" if _has_multiplier(mechanism) else "noise"
        found[f"{name}_at_asked_units"] = noise if _may_be_asked(noise, priced.spec) else None
    return found


def _may_be_asked(noise: str | None, spec: Mapping[str, Any]) -> bool:
    """Whether a spec would take this noise: where C moves, no more than its counts have."""
    adaptive = spec.get("clip", {}).get("adaptive")
    return noise is None or adaptive is None or Decimal(noise) <= Decimal(adaptive["count_noise"])


def _slot_rooms(scopes: Sequence[Scope], priced: PricedRequest, largest: int) -> list[int]:
    """The units of the largest part that each plan has room for, the other parts as asked."""
    others = units_by_slot(
        {"slot": slot, "units": part.max_units}
        for index, (slot, part) in enumerate(zip(priced.slots, priced.parts, strict=False))
        if index != largest
    )
    return [
        scope.room(priced.slots[largest], others)
        for scope in scopes
        if isinstance(scope, PlanHolding)
    ]


def _has_multiplier(mechanism: Mechanism) -> bool:
    inner = mechanism
    while isinstance(inner, PoissonSampled | Repeated):
        inner = inner.of
    return isinstance(inner, Gaussian | TreeAggregation)


def _largest_epsilon(admits: Admits, priced: PricedRequest) -> str | None:
    """The largest target of a query, rounded down to four digits, whose charge passes; tried."""
    parts_at, asked = priced.parts_at_epsilon, Fraction(priced.asked_epsilon or 0)
    if parts_at is None or not asked:
        return None

    def target(times: Decimal) -> str:
        return text_down(asked / Fraction(times), OFFERED_DIGITS)

    def passes(times: Decimal) -> bool:
        parts = parts_at(target(times))
        return admits(
            charge_parts([(price(p.mechanism, priced.relation), p.max_units) for p in parts])
        )

    times = least_passing(passes, Fraction(1), digits=OFFERED_DIGITS + 2, most=NOISE_TIMES_MOST)
    return None if times is None else target(Decimal(times))


def _seen(
    session: Session, budget: Budget, priced: PricedRequest, *, now: datetime
) -> tuple[bool, Scope]:
    """Whether a scope is open and what it holds, as far as a reader without a lock can tell."""
    ranges = priced.ranges_in(budget.dataset_id)
    holding, is_open = holding_of(budget, ranges, priced.slot_units), True
    if budget.kind == "window":
        period = windows.seen_in_force(session, budget, now=now)
        if period is not None:
            holding = Holding.of(period, ranges)
        elif window_from_json(budget.window or {}).begins_at() > now:
            is_open = False
    is_over = budget.expires_at is not None and budget.expires_at <= now
    return is_open and budget.state == "open" and not is_over, holding


def _path_admits(scopes: Sequence[Scope]) -> Admits:
    """Whether every filter of a path admits a loss; what a plan has room for is asked in units."""
    filters = [scope for scope in scopes if isinstance(scope, Holding)]

    def admits(loss: Loss) -> bool:
        return all(scope.admits(loss) for scope in filters)

    return admits
