"""What statements say in words: the unit, the scope, assumptions, limits and the mandatory end.

Own words, kept in one place so that no statement says it differently; the words of L9 that promise
what nobody can promise stand in none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.domain.datasets import UnitOfPrivacy
from app.domain.partitions import Blocks, HashBlocks, TimeBlocks
from app.reporting.statements.facts import WINDOWS, LimitChange, StatementFacts
from app.reporting.statements.rounding import percent_text

FOOTER: Final = (
    "Self-assessment generated from recorded evidence. Not a certification, audit opinion or legal"
    " advice."
)

LIMITS: Final = (
    "When a job settles or fails is visible to its owner and can depend on rows.",
    "A file that is no valid Parquet, or a row too large for a job's memory, makes its jobs fail.",
    "A line of a CSV source is a record even where it ends inside quotes: whoever can write line"
    " breaks into such a file writes records.",
    "Released models and tables keep what they learnt; nothing here takes it back.",
    "General facts about a group can be learnt and may fit a person who is not in the data.",
    "The raw rows lie outside the service; whoever can read them is not held by any budget.",
    "What was released from the same rows by other ways than this service is not counted, but for"
    " what was put on record; rows of the same people in other datasets have budgets of their own.",
)
PUBLIC_ASSUMPTIONS: Final = (
    "the attacker may know every other row and see every released value",
    "query noise comes from exact discrete samplers keyed by the operating system",
)
POISSON_BATCHES: Final = (
    "each unit enters each training batch by a coin of its own, with the rate that was charged"
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
TRUE_IDS: Final = "the column that names the user is right: rows under two ids count as two users"
SAME_IDS: Final = "a user's id is written alike in every version, so that it stays in its block"
OLD_ROWS_STAY: Final = (
    "a version holds new rows alone, and the rows of earlier versions stay as they are; files are"
    " compared with a digest where one was declared"
)
LIMIT_STAYS: Final = (
    "the limit is not raised; raising it takes two people, is recorded, and is told in this"
    " statement"
)
ANY_ORDER: Final = "any order of jobs, chosen one after the other in view of all results"
FROZEN_SLOTS: Final = (
    "the slots of the plan were frozen before its first output, and nothing runs in it but them"
)
ANY_SLOTS: Final = "slots may be used in any order, chosen by what was seen, and be left unused"


@dataclass(frozen=True, slots=True)
class UnitWords:
    """How a reader who is in the data meets the unit.

    one: after "no single"; yours: after "whether"; several: after a number.
    """

    one: str
    yours: str
    several: str


# what others may read they may put together, whoever paid for it
PUBLISHED: Final = (
    "Results of this dataset are published since {}: from then on the lifetime budget is the only"
    " true figure."
)


def unit_words(unit: UnitOfPrivacy, blocks: Blocks | None) -> UnitWords:
    """The words for a record, all that one user has, or what one has in a period."""
    if unit.kind == "record":
        return UnitWords("record", "your record", "records")
    if unit.kind == "user_period" and isinstance(blocks, TimeBlocks):
        period = blocks.calendar.period
        return UnitWords(
            f"person's data of one {period}", f"your data of any one {period}", f"{period}s"
        )
    return UnitWords("person's data", "your data", "people")


def hidden(yours: str, relation: str) -> str:
    """What the stranger is not told, as the neighbouring relation has it."""
    if relation == "replace_one":
        return f"which of two versions of {yours} was used"
    if relation == "zero_out":
        return f"whether {yours} was used or left blank"
    return f"whether {yours} was used"


def linked_text(unit: UnitOfPrivacy, blocks: Blocks | None) -> str:
    """Whom the figure for several units is about."""
    words = unit_words(unit, blocks)
    if unit.kind == "record":
        return (
            "One record is what is covered. Where several records are about you, or about people"
            " who belong together"
        )
    if unit.kind == "user_period":
        return f"One {words.several[:-1]} is what is covered. Where your data spans several"
    return "One person is what is covered. Where several people belong together, as in a household"


def scope_text(facts: StatementFacts) -> str:
    """What the figures count, and who pools what."""
    if facts.kind == "lifetime":
        return (
            f"This is the lifetime budget: it counts all that {facts.jobs} jobs started on "
            f"{facts.dataset} since {facts.since}, and nothing resets it."
        )
    if facts.kind in WINDOWS:
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


def odds_line(figures: Mapping[str, Any]) -> str:
    """The change of odds, and of some beliefs, that a proven bound allows: odds, not belief."""
    delta = figures["except_with_probability"]
    but = "" if Decimal(delta) == 0 else f", but for an event of probability at most {delta}"
    beliefs = ", ".join(
        f"one of {each['before_percent']}% at most {percent_text(each['after_percent'])}"
        for each in figures["belief"]
    )
    return (
        f"Anybody's odds about one unit change by a factor of at most {figures['odds_factor']}{but}"
        f". A belief becomes, likewise: {beliefs}."
    )


def assumptions(facts: StatementFacts) -> list[str]:
    """On what the proven bound of a budget rests (R13, R15, R25)."""
    return made_assumptions(
        has_training=facts.has_training,
        has_outside_runners=facts.has_outside_runners,
        has_outside_tools=facts.has_outside_tools,
        unit=facts.unit,
        blocks=facts.blocks,
        more=facts.assumptions,
    )


def made_assumptions(
    *,
    has_training: bool,
    has_outside_runners: bool,
    has_outside_tools: bool,
    unit: UnitOfPrivacy,
    blocks: Blocks | None,
    more: Sequence[str],
) -> list[str]:
    """The assumptions that were made, each because of something that was charged or declared."""
    found = list(PUBLIC_ASSUMPTIONS)
    if unit.kind != "record":
        found.append(TRUE_IDS)
    if has_training:
        found += [POISSON_BATCHES, IDEAL_GAUSSIAN]
    if has_outside_runners:
        found.append(OUTSIDE_RUNNERS)
    if has_outside_tools:
        found.append(OUTSIDE_TOOLS)
    if blocks is not None:
        found.append(SAME_IDS if isinstance(blocks, HashBlocks) else OLD_ROWS_STAY)
    return [*found, *more]


def blocks_text(facts: StatementFacts) -> list[str]:
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
        f"{divided}, and each block has the whole limit. One {facts.unit.kind} lies in one"
        " block; the figures are those of the worst block."
    ]


def history_text(facts: StatementFacts) -> list[str]:
    """How the limit came to be what it is, and what stands beside the jobs of the service."""
    lines = [f"limit {each.kind} on {each.date} {_moved(each)}" for each in facts.limit_changes]
    lines += lifetime_history_text(facts.lifetime_changes)
    return lines + [
        f"spend from before the service was put on record on {date}; it is counted"
        for date in facts.openings
    ]


def lifetime_history_text(changes: Sequence[LimitChange]) -> list[str]:
    """How the limit above a scope came to be what it is (R5)."""
    return [f"lifetime limit {each.kind} on {each.date} {_moved(each)}" for each in changes]


def lifetime_text(facts: StatementFacts) -> list[str]:
    """The lifetime figures that stand beside those of a scope below the root."""
    published = [] if facts.published_from is None else [PUBLISHED.format(facts.published_from)]
    if facts.lifetime is None:
        return published
    consumed, limit = facts.lifetime["consumed"], facts.lifetime["limit"]
    return [
        f"Lifetime of {facts.dataset}: {consumed['epsilon']} of epsilon {limit['epsilon']} is"
        f" consumed at delta {facts.lifetime_bound_delta or limit['delta']}.",
        *published,
    ]


def history_json(changes: Sequence[LimitChange]) -> list[dict[str, Any]]:
    """Every limit that was moved, oldest first."""
    return [
        {"kind": each.kind, "date": each.date, "from": dict(each.old), "to": dict(each.new)}
        for each in changes
    ]


def _moved(change: LimitChange) -> str:
    said = [f"from {change.old['epsilon']} to {change.new['epsilon']}"]
    if change.old["delta"] != change.new["delta"]:
        said.append(f"delta from {change.old['delta']} to {change.new['delta']}")
    return ", ".join(said)
