"""The officer's statement of a budget: what is proven, for whom, and under which assumptions.

Odds first, then how. Every figure is rounded against us: risks up, what is left down. The proven
bound is the only figure here; figures of plans that were fixed in advance are never mixed in.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.domain.partitions import Blocks, HashBlocks
from app.domain.risk import accuracy, advantage, attack_rate, odds_factor

ALARM_RATES: Final = (0.001, 0.01, 0.05)
NEARLY_ALWAYS_PER_100: Final = 99.5

LIMITS: Final = (
    "When a job settles or fails is visible to its owner and can depend on rows.",
    "A file that is no valid Parquet, or a row too large for a job's memory, makes its jobs fail.",
    "A line of a CSV source is a record even where it ends inside quotes: whoever can write line"
    " breaks into such a file writes records.",
    "Released models and tables keep what they learnt; nothing here takes it back.",
    "General facts about a group can be learnt and may fit a person who is not in the data.",
    "The raw rows lie outside the service; whoever can read them is not held by any budget.",
)
PUBLIC_ASSUMPTIONS: Final = (
    "the attacker may know every other row and see every released value",
    "query noise comes from exact discrete samplers keyed by the operating system",
)
IDEAL_GAUSSIAN: Final = (
    "assumes ideal Gaussian noise: training draws floating-point noise,"
    " which the theorem leaves out"
)
OUTSIDE_RUNNERS: Final = (
    "trusts the registered outside systems named in the ledger to report what they started"
)
OUTSIDE_TOOLS: Final = (
    "trusts outside tools to run the mechanism that they reserved; they were charged in full"
)
OUTSIDE_CAPS: Final = (
    "trusts outside tools to let at most {records} rows of one user count, the cap that the dataset"
    " declares, where they stated a mechanism for one record"
)
SAME_IDS: Final = "a user's id is written alike in every version, so that it stays in its block"
OLD_ROWS_STAY: Final = (
    "a version holds new rows alone, and the rows of earlier versions stay as they are; files are"
    " compared with a digest where one was declared"
)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit that was moved: `raised`, `lowered` or `transferred`, on a date, from and to."""

    kind: str
    date: str
    old: Mapping[str, str]
    new: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """Public facts of one budget; amounts are decimal strings, already rounded against us.

    unit: "record", or "user" or "user_period" with the column that names the user.
    delta: the probability that the whole bound may fail, that of the limit.
    bound_delta: the delta of the proven bound where it is not that of the limit.
    limit_changes: oldest first; the bound is claimed at the limit in force at the end (R5).
    openings: the dates on which spend from before the service was put on record.
    span: of a window's period, from when until when units may start in it.
    lifetime: of any scope below a root, the root's limit and consumed amounts.
    assumptions: more of them, from what was charged.
    blocks: the public partition of the units, where there is one; the figures are then those of
        the worst block (R8).
    """

    dataset: str
    budget: str
    kind: str
    accountant: str
    unit: str
    relation: str
    limit: Mapping[str, str]
    consumed: Mapping[str, str]
    committed: Mapping[str, str]
    reserved: Mapping[str, str]
    remaining: Mapping[str, str]
    jobs: int
    has_training: bool
    has_outside_tools: bool
    has_outside_runners: bool
    since: str
    entries: int
    head_hash: str
    bound_delta: str | None = None
    limit_changes: Sequence[LimitChange] = ()
    openings: Sequence[str] = ()
    span: tuple[str, str] | None = None
    lifetime: Mapping[str, Mapping[str, str]] | None = None
    assumptions: Sequence[str] = ()
    blocks: Blocks | None = None


def officer_statement(facts: StatementFacts) -> dict[str, Any]:
    """The statement as text lines and as the figures behind them."""
    bound_delta = facts.bound_delta or facts.limit["delta"]
    figures = risk_figures(float(facts.consumed["epsilon"]), float(bound_delta))
    at_limit = risk_figures(float(facts.limit["epsilon"]), float(facts.limit["delta"]))
    return {
        "audience": "officer",
        "budget": facts.budget,
        "dataset": facts.dataset,
        "scope": _scope(facts),
        "unit": facts.unit,
        "relation": facts.relation,
        "accountant": facts.accountant,
        "proven_bound": {
            "epsilon": facts.consumed["epsilon"],
            "delta": bound_delta,
            "holds_for": "any order of jobs, chosen one after the other in view of all results",
        },
        "limit": dict(facts.limit),
        "limit_history": [
            {"kind": each.kind, "date": each.date, "from": dict(each.old), "to": dict(each.new)}
            for each in facts.limit_changes
        ],
        "lifetime": None
        if facts.lifetime is None
        else {name: dict(amount) for name, amount in facts.lifetime.items()},
        "committed": dict(facts.committed),
        "reserved": dict(facts.reserved),
        "remaining": dict(facts.remaining),
        "risk_now": figures,
        "risk_at_limit": at_limit,
        "assumptions": _assumptions(facts),
        "limits": list(LIMITS),
        "ledger": {"entries": facts.entries, "head_hash": facts.head_hash},
        "text": _text(facts, figures, at_limit),
    }


def risk_figures(epsilon: float, delta: float) -> dict[str, Any]:
    """Odds, best guess and attack rates of a proven (epsilon, delta), each rounded up."""
    guess_per_100 = 100 * accuracy(advantage(epsilon, delta))
    return {
        "odds_factor": _up(odds_factor(epsilon), 3),
        "best_guess_per_100": _per_100(guess_per_100),
        "caught_percent_at_false_alarm_percent": {
            f"{100 * rate:g}": _per_100(100 * attack_rate(epsilon, delta, rate))
            for rate in ALARM_RATES
        },
    }


def _text(facts: StatementFacts, now: Mapping[str, Any], at_limit: Mapping[str, Any]) -> list[str]:
    unit = _unit_phrase(facts)
    lines = [
        f"Somebody who knows everything except whether one {unit} was in {facts.dataset}, and who "
        "guesses blindly, is right 50 times in 100. With everything released under this budget "
        f"they are right at most {now['best_guess_per_100']} times in 100"
        f" ({at_limit['best_guess_per_100']} if the whole limit is spent).",
        f"{facts.consumed['epsilon']} of epsilon {facts.limit['epsilon']} is consumed at delta "
        f"{facts.limit['delta']}: {facts.committed['epsilon']} committed and "
        f"{facts.reserved['epsilon']} reserved for jobs under way. "
        f"{facts.remaining['epsilon']} is left for a single pure charge.",
        _scope(facts),
        f"Protected: one {unit}, neighbouring relation {facts.relation}; accountant "
        f"{facts.accountant}, proven for any order of adaptively chosen jobs.",
    ]
    lines += _of_blocks(facts)
    lines += _history(facts)
    if facts.relation == "add_remove":
        lines.append("The number of rows is treated as private; nominal sizes are declarations.")
    return lines


def _of_blocks(facts: StatementFacts) -> list[str]:
    """What the figures are of, where each block has the whole limit (R8)."""
    if facts.blocks is None:
        return []
    divided = (
        f"Users are divided by a public hash into {facts.blocks.count} blocks"
        if isinstance(facts.blocks, HashBlocks)
        else f"Rows are divided by {facts.blocks.column} into blocks of one "
        f"{facts.blocks.calendar.period}"
    )
    return [
        f"{divided}, and each block has the whole limit. One {facts.unit.split()[0]} lies in one"
        " block; the figures are those of the worst block."
    ]


def _history(facts: StatementFacts) -> list[str]:
    """How the limit came to be what it is, and what stands beside the jobs of the service."""
    lines = [f"limit {each.kind} on {each.date} {_moved(each)}" for each in facts.limit_changes]
    lines += [
        f"spend from before the service was put on record on {date}; it is counted"
        for date in facts.openings
    ]
    if facts.lifetime is not None:
        consumed, limit = facts.lifetime["consumed"], facts.lifetime["limit"]
        lines.append(
            f"Lifetime of {facts.dataset}: {consumed['epsilon']} of epsilon {limit['epsilon']} is"
            f" consumed at delta {limit['delta']}."
        )
    return lines


def _moved(change: LimitChange) -> str:
    said = [f"from {change.old['epsilon']} to {change.new['epsilon']}"]
    if change.old["delta"] != change.new["delta"]:
        said.append(f"delta from {change.old['delta']} to {change.new['delta']}")
    return ", ".join(said)


def _scope(facts: StatementFacts) -> str:
    if facts.kind == "lifetime":
        return (
            f"This is the lifetime budget: it counts all that {facts.jobs} jobs started on "
            f"{facts.dataset} since {facts.since}, and nothing resets it."
        )
    if facts.kind in ("window", "period"):
        when = "" if facts.span is None else f" from {facts.span[0]} until {facts.span[1]}"
        return (
            f"This is a window: it counts all that {facts.jobs} jobs started in it{when}. The next"
            " window counts anew and forgets nothing: the lifetime budget counts all windows."
        )
    return (
        f"This is an allocation: it counts the {facts.jobs} jobs charged to it since {facts.since}."
        " It bounds what is learnt from these jobs alone; the lifetime budget of the dataset"
        " bounds all of them together."
    )


def _assumptions(facts: StatementFacts) -> list[str]:
    found = list(PUBLIC_ASSUMPTIONS)
    if facts.has_training:
        found.append(IDEAL_GAUSSIAN)
    if facts.has_outside_runners:
        found.append(OUTSIDE_RUNNERS)
    if facts.has_outside_tools:
        found.append(OUTSIDE_TOOLS)
    if facts.blocks is not None:
        found.append(SAME_IDS if isinstance(facts.blocks, HashBlocks) else OLD_ROWS_STAY)
    return [*found, *facts.assumptions]


def _unit_phrase(facts: StatementFacts) -> str:
    return "record" if facts.unit == "record" else facts.unit


def _per_100(value: float) -> str:
    return "nearly 100" if value > NEARLY_ALWAYS_PER_100 else _up(value, 3)


def _up(value: float, digits: int) -> str:
    """A float rounded up to some significant digits, as plain text."""
    if math.isinf(value):
        return "unbounded"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(value)) - digits + 1
    # the float itself may have been rounded down by its last bit
    scaled = Decimal(math.nextafter(value, math.inf)).scaleb(-exponent)
    return format(Decimal(math.ceil(scaled)).scaleb(exponent).normalize(), "f")
