"""Layer "privacy parameters and unit": how large epsilon and delta are, and in which currency.

Epsilons come from the filters themselves; everything that is worked out beside them is decimal
arithmetic, so that it is the same on every machine. Rounded against us.
"""

from decimal import ROUND_CEILING, Context, Decimal, localcontext
from fractions import Fraction
from typing import Final

from app.domain.accounting.filters import Policy
from app.domain.decimals import decimal_text, text_up
from app.domain.errors import DomainError
from app.domain.privacy import LARGEST_DELTA, Loss
from app.reporting.criteria.findings import Verdict
from app.reporting.criteria.records import Records, exact, held_by, nodes
from app.reporting.criteria.registry import criterion
from app.reporting.evidence import BudgetEvidence
from app.reporting.sections.guarantee import bound_delta

NO_ROOT: Final = "no lifetime budget was opened, so there is nothing to bound"
NO_SIZE: Final = "the dataset declares no public size, so delta has nothing to be compared with"
FALSE_ALARM_RATES: Final = (Decimal("0.001"), Decimal("0.01"), Decimal("0.05"), Decimal("0.1"))
SUSPICIOUS_DELTA: Final = Fraction(1, 100_000)
# the second delta at which epsilon is shown
WIDER: Final = 10
_DIGITS: Final = 50
_SHOWN: Final = 4


@criterion("N226-01")
def large_epsilon(records: Records) -> Verdict:
    """Cumulative epsilon against the limit and the organisation's own bands."""
    root = records.root
    if root is None or root["figures"] is None:
        return Verdict("not_applicable" if root is None else "not_evaluated", NO_ROOT)
    policy, figures = records.evidence["policy"], root["figures"]
    observed = {
        "cumulative_epsilon": figures["consumed"]["epsilon"],
        "limit_epsilon": figures["limit"]["epsilon"],
        "low_below": policy["low_epsilon"],
        "ceiling": policy["ceiling_epsilon"],
    }
    ids = (f"budget:{root['id']}", "policy")
    spent, limit = exact(observed["cumulative_epsilon"]), exact(observed["limit_epsilon"])
    low, ceiling = exact(observed["low_below"]), exact(observed["ceiling"])
    if spent is None or limit is None or low is None or ceiling is None:
        return Verdict("not_satisfied", "the lifetime total has no bound", observed, ids)
    if spent > limit:
        return Verdict("not_satisfied", "more is spent than the limit allows", observed, ids)
    if spent >= ceiling:
        said = "the lifetime total is at or above the organisation's ceiling"
        return Verdict("not_satisfied", said, {**observed, "band": "high"}, ids)
    if spent <= low:
        said = "within the limit, in the organisation's low band"
        return Verdict("satisfied", said, {**observed, "band": "low"}, ids)
    justified = records.attested("budget_justification")
    observed["band"] = "middle"
    if justified is None:
        said = "in the middle band, and no signed justification counts at this time"
        return Verdict("partly_satisfied", said, observed, ids)
    said = f"in the middle band, justified by {justified['person_name']}"
    return Verdict("satisfied", said, observed, (*ids, f"attestation:{justified['id']}"))


@criterion("N226-02")
def total_failure(records: Records) -> Verdict:
    """Whether losses are kept in a native currency, and delta below 1/n."""
    root = records.root
    if root is None:
        return Verdict("not_applicable", NO_ROOT)
    delta, size = _delta(root), records.nominal_size
    approximate = [
        each
        for each in records.charged
        for part in each["parts"]
        if any(node.get("type") == "approximate" for node in nodes(part["mechanism"]))
    ]
    summed = [each for each in records.evidence["budgets"] if each["accountant"] == "basic/1"]
    ids = (
        f"budget:{root['id']}",
        *(f"reservation:{each['id']}" for each in approximate),
        *(f"budget:{each['id']}" for each in summed),
    )
    observed = {
        "accountant": root["accountant"],
        "delta": "unbounded" if delta is None else decimal_text(_decimal(delta)),
        "only_in_epsilon_delta": str(len(approximate)),
    }
    if delta is None:
        return Verdict("not_satisfied", "delta has no bound", observed, ids)
    if delta and size is None:
        return Verdict("not_evaluated", NO_SIZE, observed, ids)
    if delta and size is not None and delta * size >= 1:
        observed["nominal_size"] = str(size)
        return Verdict("not_satisfied", "delta is not below 1/n", observed, ids)
    if approximate or summed:
        said = "some of the spend is known as (epsilon, delta) only"
        return Verdict("partly_satisfied", said, observed, ids)
    return Verdict("satisfied", "native losses are kept, and delta is below 1/n", observed, ids)


@criterion("N226-07")
def conversion_delta(records: Records) -> Verdict:
    """The delta of the conversion, with epsilon at two of them and the native losses kept."""
    found = _native(records)
    if isinstance(found, Verdict):
        return found
    root, policy, held = found
    delta, most = _delta(root), exact(records.evidence["policy"]["delta_most"])
    ids = (f"budget:{root['id']}", "policy")
    if delta is None or most is None:
        return Verdict("not_satisfied", "delta has no bound", {}, ids, "recompute")
    observed = {
        "delta": decimal_text(_decimal(delta)),
        "delta_most": records.evidence["policy"]["delta_most"],
        "epsilon": policy.consumed(held).epsilon,
        "accountant": root["accountant"],
    }
    if delta > most:
        said = "the conversion's delta is above what the organisation allows"
        return Verdict("not_satisfied", said, observed, ids, "recompute")
    if delta:
        wider = _wider(policy, held)
        if wider is not None:
            observed["second_delta"], observed["epsilon_at_second_delta"] = wider
    said = "epsilon comes from native losses at a delta that the organisation allows"
    return Verdict("satisfied", said, observed, ids, "recompute")


@criterion("N226-F01")
def delta_size(records: Records) -> Verdict:
    """Delta against 1/n and 1/n^2, n being the declared public size (R17)."""
    root, size = records.root, records.nominal_size
    if root is None:
        return Verdict("not_applicable", NO_ROOT)
    delta = _delta(root)
    ids = (f"budget:{root['id']}", records.dataset_id)
    if delta is None:
        return Verdict("not_satisfied", "delta has no bound", {}, ids, "recompute")
    if delta == 0:
        return Verdict("satisfied", "delta is 0", {"delta": "0"}, ids, "recompute")
    if size is None:
        return Verdict("not_evaluated", NO_SIZE, {"delta": decimal_text(_decimal(delta))}, ids)
    observed = {
        "delta": decimal_text(_decimal(delta)),
        "nominal_size": str(size),
        "size_is": "declared by the owner, public, and no count of rows",
        "one_over_n": text_up(Fraction(1, size), _SHOWN),
        "one_over_n_squared": text_up(Fraction(1, size * size), _SHOWN),
    }
    if delta * size >= 1:
        return Verdict("not_satisfied", "delta is not below 1/n", observed, ids, "recompute")
    if delta * size * size > 1 or delta > SUSPICIOUS_DELTA:
        said = "delta is above 1/n^2 or above 1e-5"
        return Verdict("partly_satisfied", said, observed, ids, "recompute")
    return Verdict("satisfied", "delta is at most 1/n^2", observed, ids, "recompute")


@criterion("N226-F04")
def lossy_conversion(records: Records) -> Verdict:
    """Native losses stay in the record; points of the best attack stand beside epsilon."""
    found = _native(records)
    if isinstance(found, Verdict):
        return found
    root, policy, held = found
    ids = (f"budget:{root['id']}",)
    epsilon, delta = exact(policy.consumed(held).epsilon), _delta(root)
    observed = {
        "native": "36 Renyi orders, summed worst case, delta; exact integers of the ledger",
        "orders_usable": str(sum(1 for count in held.dead if count == 0)),
    }
    if epsilon is None or delta is None:
        said = "native losses are there, but the total has no bound to draw points from"
        return Verdict("partly_satisfied", said, observed, ids, "recompute")
    for rate in FALSE_ALARM_RATES:
        name = f"caught_percent_at_false_alarm_percent_{rate * 100:f}".rstrip("0").rstrip(".")
        observed[name] = _caught(epsilon, delta, rate)
    said = "native losses are kept, and points of the trade-off are given at the proven bound"
    return Verdict("satisfied", said, observed, ids, "recompute")


def _native(records: Records) -> tuple[BudgetEvidence, Policy, Loss] | Verdict:
    """The root with its filter and its exact sums; a verdict where there are none."""
    root = records.root
    if root is None:
        return Verdict("not_applicable", NO_ROOT)
    policy = records.policies.get(root["id"])
    try:
        held = held_by(root)
    except (DomainError, ValueError, KeyError, TypeError):
        held = None
    if policy is None or held is None:
        said = "the native losses of the lifetime budget are not in the record"
        return Verdict("not_satisfied", said, {}, (f"budget:{root['id']}",), "recompute")
    return root, policy, held


def _wider(policy: Policy, held: Loss) -> tuple[str, str] | None:
    """A delta ten times as large and the epsilon there; the same proof, all its shares grown."""
    delta = policy.limit.delta * WIDER
    if delta > LARGEST_DELTA:
        return None
    try:
        wider = policy.raised_delta(delta.normalize())
    except DomainError:
        return None
    # what earlier spend took beyond the limit comes on top, there as here
    return bound_delta(wider, held), wider.consumed(held).epsilon


def _delta(root: BudgetEvidence) -> Fraction | None:
    """The delta at which the lifetime bound holds."""
    if root["bound_delta"] is not None:
        return exact(root["bound_delta"])
    return None if root["figures"] is None else exact(root["figures"]["limit"]["delta"])


def _decimal(value: Fraction) -> Decimal:
    """A number that was written as a decimal, as a decimal again."""
    with localcontext(Context(prec=_DIGITS)):
        return (Decimal(value.numerator) / Decimal(value.denominator)).normalize()


def _caught(epsilon: Fraction, delta: Fraction, rate: Decimal) -> str:
    """The largest true-positive rate at a false-positive rate, in percent and rounded up.

    The least of 1, e^e f + d and 1 - e^-e (1 - d - f): Kairouz, Oh and Viswanath 2015, Theorem 2.1.
    """
    with localcontext(Context(prec=_DIGITS, rounding=ROUND_CEILING)):
        loss, fail = _decimal(epsilon), _decimal(delta)
        if loss > 1000:
            return "100"
        rising = loss.exp() * rate + fail
        falling = 1 - (-loss).exp() * (1 - fail - rate)
        return text_up(Fraction(min(Decimal(1), rising, falling) * 100), _SHOWN)
