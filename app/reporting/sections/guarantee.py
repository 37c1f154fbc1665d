"""Section 5: what is proven, at which delta, for how long, for how many units (R4, R5, R8-R11).

Every figure is computed here from the exact sums of each chain and the policy that was fixed with
the budget, and only then compared with what the service had shown. Spend is rounded up. The proven
bound and figures of frozen plans stand in two objects that share no number (L9).
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, Final

from app.domain.accounting.filters import policy_from_json
from app.domain.accounting.gdp import GdpPolicy
from app.domain.accounting.mixture import mixture_test
from app.domain.accounting.policy import SHOWN_DIGITS, UNBOUNDED, Policy
from app.domain.decimals import ATTO, NAT_2P40, atto_text, decimal_text, text_up
from app.domain.privacy import ORDERS, Loss
from app.domain.risk.groups import group_bound
from app.domain.risk.proven import attack_rate
from app.reporting.evidence import BudgetEvidence, Evidence

GROUP_SIZES: Final = (2, 5, 10)
FALSE_RATES: Final = ("0.001", "0.01", "0.05", "0.1", "0.25", "0.5")
SECOND_DELTA_FACTOR: Final = Fraction(1, 100)
SHOWN_ORDERS: Final = ("1.5", "2", "4", "8", "16", "32", "64", "256")
RATE_DIGITS: Final = 4
SUM_DIGITS: Final = 100
LEAST_PLAIN: Final = Decimal("0.001")

HOLDS_FOR: Final = "any order of jobs, chosen one after the other in view of all results"
FORMULAS: Final[Mapping[str, str]] = {
    "rdp-mix/1": (
        "least epsilon at which the weighted test over 36 Renyi orders passes (rdp-mix/1, R4):"
        " (1 - e^(eps-L))+ <= sum over a of l_a e^((a-1)(L - R(a))) for every loss L above epsilon"
    ),
    "gdp/1": (
        "least epsilon at which the weighted test over 36 Renyi orders passes, at the share of"
        " delta kept for it (gdp/1, R7); never above the limit"
    ),
    "basic/1": "sum of worst-case losses (basic composition)",
    "pure/1": "sum of worst-case losses (pure differential privacy)",
}
NAMES: Final[Mapping[str, str]] = {
    "rdp-mix/1": "weighted Renyi test (rdp-mix/1)",
    "gdp/1": "weighted Renyi test (gdp/1)",
    "basic/1": "basic composition",
    "pure/1": "basic composition, delta 0",
}
GROUP_FORMULA: Final = "k epsilon; delta (e^(k eps) - 1) / (e^eps - 1), at most 1"
RATE_FORMULA: Final = "min(1, e^eps f + delta, 1 - e^-eps (1 - delta - f))"


def guarantee(evidence: Evidence) -> dict[str, Any]:
    """The section as a JSON object."""
    budgets = [_bound(each) for each in evidence["budgets"] if each["plan"] is None]
    root = next((each for each in budgets if each["is_root"]), None)
    document = evidence["dataset"]["document"]
    return {
        "unit": document.get("unit_of_privacy"),
        "relation": document.get("relation"),
        "native": {
            "measure": "Renyi differential privacy at fixed orders, summed exactly",
            "worst_case": "sum of worst-case losses, where every one is finite",
            "curves": [_native(each) for each in evidence["budgets"] if each["plan"] is None],
        },
        "proven_bound": {"holds_for": HOLDS_FOR, "budgets": budgets},
        "lifetime": None if root is None else _chosen(root),
        "periods": [_chosen(each) for each in budgets if each["kind"] in ("window", "period")],
        "group": [] if root is None else _groups(root),
        "trade_off": None if root is None else _trade_off(root),
        "if_fixed_in_advance": {
            "holds_for": (
                "one plan whose slots were frozen before its first output; it bounds no other job"
            ),
            "plans": [_plan(each) for each in evidence["budgets"] if each["plan"] is not None],
        },
    }


def held_of(budget: BudgetEvidence) -> Loss:
    """All that a budget holds: committed and reserved, exactly."""
    return Loss.from_json(budget["committed_charge"]) + Loss.from_json(budget["reserved_charge"])


def bound_delta(policy: Policy, loss: Loss, factor: Fraction = Fraction(1)) -> str:
    """The delta at which a bound holds: the limit's, and what job deltas sum to beyond its share.

    factor: of the limit's delta, for a bound at another one.
    """
    room_atto = math.floor(policy.delta_for_jobs_atto * factor)
    excess_atto = max(0, loss.delta_atto - room_atto)
    with localcontext(prec=SUM_DIGITS):
        delta = policy.limit.delta * factor.numerator / factor.denominator
        if not excess_atto:
            return decimal_text(policy.limit.delta) if factor == 1 else _plain(delta)
        return _plain(delta + Decimal(excess_atto) / ATTO)


def _bound(budget: BudgetEvidence) -> dict[str, Any]:
    policy = policy_from_json(budget["policy"])
    held, committed = held_of(budget), Loss.from_json(budget["committed_charge"])
    consumed = policy.consumed(held)
    shown = budget["figures"]
    return {
        "budget": budget["id"],
        "name": budget["name"],
        "kind": budget["kind"],
        "state": budget["state"],
        "is_root": budget["parent_id"] is None,
        "span": budget["span"],
        "accountant": policy.accountant,
        "version": policy.version,
        "limit": policy.limit.to_json(),
        "consumed": {"epsilon": consumed.epsilon, "delta": bound_delta(policy, held)},
        "committed": {
            "epsilon": policy.consumed(committed).epsilon,
            "delta": bound_delta(policy, committed),
        },
        "remaining": {"epsilon": policy.remaining(held).epsilon},
        "converted": _converted(policy, held, consumed.epsilon),
        "formula": FORMULAS[policy.accountant],
        "limit_changes": budget["limit_changes"],
        "crosscheck": _crosscheck(held, consumed.epsilon),
        "as_shown": None if shown is None else shown["consumed"]["epsilon"],
        "agrees": shown is None or shown["consumed"]["epsilon"] == consumed.epsilon,
    }


def _converted(policy: Policy, held: Loss, epsilon: str) -> list[dict[str, str]]:
    """The bound at the limit's delta and at a hundredth of it.

    Weights times a factor are weights fixed in advance like the first ones, so the proof holds for
    them at the delta times that factor (R5). Summed worst cases hold at any delta that covers the
    deltas of the jobs themselves.
    """
    formula = NAMES[policy.accountant]
    first = {"epsilon": epsilon, "delta": bound_delta(policy, held), "formula": formula}
    weights = getattr(policy, "weights_2p80", None)
    if weights is None:
        exact = {"epsilon": epsilon, "delta": atto_text(held.delta_atto), "formula": formula}
        return [first] if exact == first else [first, exact]
    second = {
        "epsilon": _at_factor(policy, weights, held),
        "delta": bound_delta(policy, held, SECOND_DELTA_FACTOR),
        "formula": formula,
    }
    return [first, second]


def _at_factor(policy: Policy, weights: Sequence[int], held: Loss) -> str:
    if held == Loss.zero():
        return "0"
    if isinstance(policy, GdpPolicy) and (held.gaussian_dead or held.delta_atto):
        return UNBOUNDED
    scaled = tuple(math.floor(weight * SECOND_DELTA_FACTOR) for weight in weights)
    found = mixture_test(scaled).least_epsilon(held, SHOWN_DIGITS)
    return UNBOUNDED if found is None else text_up(found, SHOWN_DIGITS)


def _crosscheck(held: Loss, epsilon: str) -> dict[str, Any]:
    """Another proven upper bound of the same charges; the lower of two true bounds is true."""
    summed = None if held.maximum_dead else atto_text(held.maximum_atto)
    holds = summed is None or epsilon == UNBOUNDED or Decimal(epsilon) <= _up_to_shown(summed)
    return {
        "method": "sum of worst-case losses (basic composition)",
        "epsilon": summed,
        "is_not_below": holds,
    }


def _up_to_shown(exact: str) -> Decimal:
    return Decimal(text_up(Fraction(exact), SHOWN_DIGITS))


def _native(budget: BudgetEvidence) -> dict[str, Any]:
    held = held_of(budget)
    return {
        "budget": budget["id"],
        "name": budget["name"],
        "renyi": [
            {
                "order": order,
                "nats": None
                if held.dead[index]
                else text_up(Fraction(held.nats_2p40[index], NAT_2P40), SHOWN_DIGITS),
            }
            for order in SHOWN_ORDERS
            for index in [ORDERS.index(Fraction(order))]
        ],
        "worst_case": None if held.maximum_dead else atto_text(held.maximum_atto),
        "without_worst_case": held.maximum_dead,
        "delta": atto_text(held.delta_atto),
        "gaussian_mu_squared": None if held.gaussian_dead else atto_text(held.gaussian_atto),
    }


def _chosen(bound: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("budget", "name", "kind", "span", "limit", "consumed", "remaining")
    return {key: bound[key] for key in keys}


def _groups(root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What holds for k units at once that may be one person's, at what is consumed (R7)."""
    epsilon, delta = root["consumed"]["epsilon"], root["consumed"]["delta"]
    return [
        {
            "k": size,
            "epsilon": UNBOUNDED if epsilon == UNBOUNDED else _plain(Decimal(epsilon) * size),
            "delta": _group_delta(epsilon, delta, size),
            "formula": GROUP_FORMULA,
        }
        for size in GROUP_SIZES
    ]


def _group_delta(epsilon: str, delta: str, size: int) -> str:
    bound = group_bound(Decimal(epsilon), Decimal(delta), size)
    return _plain(Decimal(text_up(Fraction(bound.delta), SHOWN_DIGITS)))


def _trade_off(root: Mapping[str, Any]) -> dict[str, Any]:
    """The most true positives that any test can have at some false positives."""
    epsilon, delta = root["consumed"]["epsilon"], root["consumed"]["delta"]
    return {
        "of": {"epsilon": epsilon, "delta": delta},
        "formula": RATE_FORMULA,
        "points": [
            {"false_positive_rate": rate, "true_positive_rate_most": _rate(epsilon, delta, rate)}
            for rate in FALSE_RATES
        ],
    }


def _rate(epsilon: str, delta: str, false_rate: str) -> str:
    rate = attack_rate(Decimal(epsilon), Decimal(delta), Decimal(false_rate))
    return text_up(Fraction(rate), RATE_DIGITS)


def _plan(budget: BudgetEvidence) -> dict[str, Any]:
    plan = budget["plan"] or {}
    return {
        "budget": budget["id"],
        "name": budget["name"],
        "state": budget["state"],
        "digest": plan.get("digest"),
        "if_fixed_in_advance": plan.get("if_fixed_in_advance"),
        "slots": plan.get("slots", []),
    }


def _plain(value: Decimal) -> str:
    with localcontext(prec=SUM_DIGITS):
        least = value.normalize()
    return decimal_text(least) if least < LEAST_PLAIN else format(least, "f")
