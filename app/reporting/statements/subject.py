"""The statement for a person whose data is in it: odds out of 100, who sees what, then how.

It is written to be handed on, so it holds nothing that a person in the data may not know: of a
scope below the root the lifetime's promise, its limit, and not what others have spent of it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from app.domain.datasets import UnitOfPrivacy
from app.domain.partitions import Blocks
from app.reporting.statements.facts import WINDOWS, Description, StatementFacts
from app.reporting.statements.figures import risk_figures
from app.reporting.statements.rounding import NEARLY_ALWAYS, one_in, times_in_100
from app.reporting.statements.wording import (
    FOOTER,
    LIMIT_STAYS,
    LIMITS,
    assumptions,
    hidden,
    history_text,
    linked_text,
    unit_words,
)

# Our own bands, untested with readers; of the figure out of 100 that stands beside them.
STRENGTHS: Final = (
    (Decimal(55), "close-to-blind", "that is hardly better than guessing blindly."),
    (Decimal(75), "real-doubt", "that is better than guessing blindly, and leaves real doubt."),
    (Decimal(95), "limited-doubt", "that leaves limited doubt."),
)
LITTLE_DOUBT: Final = (
    "little-doubt",
    "by this figure alone little doubt is left; what else protects the data matters more.",
)


def subject_statement(facts: StatementFacts) -> dict[str, Any]:
    """What one person in the data may expect, in plain words and in the figures behind them.

    Args:
        facts: of the budget that the statement is about; best the lifetime root, of which alone
            everything is counted.

    Returns:
        JSON of strings, whole numbers, lists and objects. `text` holds paragraphs in the order in
        which they are to be read; `footer` closes every rendering.
    """
    now = risk_figures(facts.consumed["epsilon"], facts.proven_delta, facts.relation)
    promise = _promise(facts)
    life = risk_figures(promise["epsilon"], promise["delta"], facts.relation)
    return {
        "audience": "subject",
        "budget": facts.budget,
        "dataset": facts.dataset,
        "kind": facts.kind,
        "since": facts.since if facts.span is None else facts.span[0][:10],
        "as_of": facts.as_of,
        "unit": facts.unit.kind,
        "relation": facts.relation,
        "best_guess_per_100": now["best_guess_per_100"],
        "strength": strength(now["best_guess_per_100"])[0],
        "lifetime_best_guess_per_100": life["best_guess_per_100"],
        "lifetime_strength": strength(life["best_guess_per_100"])[0],
        "linked_units": [
            {"units": each["units"], "best_guess_per_100": each["best_guess_per_100"]}
            for each in life["linked_units"]
        ],
        "raw_viewers": list(facts.description.raw_viewers),
        "assumptions": [*assumptions(facts), LIMIT_STAYS],
        "limits": list(LIMITS),
        "text": [
            *odds_text(facts, now["best_guess_per_100"], life["best_guess_per_100"]),
            linked_line(facts.unit, facts.blocks, life),
            *who_text(facts.description),
            *how_text(facts, promise["delta"]),
            *history_text(facts),
        ],
        "footer": FOOTER,
    }


def strength(shown: str) -> tuple[str, str]:
    """A code and a sentence for a figure out of 100, as it is shown."""
    if shown != NEARLY_ALWAYS:
        for most, code, sentence in STRENGTHS:
            if Decimal(shown) <= most:
                return code, sentence
    return LITTLE_DOUBT


def banded(now: str, life: str) -> tuple[str, str]:
    """What follows each of the two figures; where both lie in one band, it is said once."""
    first, second = strength(now), strength(life)
    if first == second:
        return "", f" Either way, {second[1]}"
    return f" {_sentence(first[1])}", f" {_sentence(second[1])}"


def odds_text(facts: StatementFacts, now: str, life: str) -> list[str]:
    """The odds so far and over the whole time that the data is used, each with its band."""
    first, second = banded(now, life)
    words = unit_words(facts.unit, facts.blocks)
    whole = "from" if facts.is_root else "under this budget from"
    since = facts.since if facts.span is None else facts.span[0][:10]
    more = (
        "More may be released later, until the limit of this data is reached"
        if facts.is_root
        else f"This budget starts again every {facts.period or 'period'}, and others draw on the"
        " same data"
        if facts.kind in WINDOWS
        else "Other budgets draw on the same data"
    )
    return [
        f"Think of a stranger who knows everything in {facts.dataset} except"
        f" {hidden(words.yours, facts.relation)}. Guessing blindly, they are right 50 times in 100."
        f" With everything released {whole} {since} to {facts.as_of} they can be right"
        f" {times_in_100(now)}.{first}",
        f"{more}. With everything that is ever released from this data, for as long as it is used,"
        f" they can be right {times_in_100(life)}.{second}",
    ]


def linked_line(unit: UnitOfPrivacy, blocks: Blocks | None, life: Mapping[str, Any]) -> str:
    """What the lifetime figure becomes for several units that belong together."""
    said = []
    for each in life["linked_units"]:
        shown = each["best_guess_per_100"]
        if shown == NEARLY_ALWAYS:
            # it stays so for more of them
            said.append(f"{shown} for {each['units']} or more")
            break
        said.append(f"{times_in_100(shown)} for {each['units']}")
    return (
        f"{linked_text(unit, blocks)}, that figure is larger: {', '.join(said)}"
        f" {unit_words(unit, blocks).several}."
    )


def who_text(about: Description) -> list[str]:
    """Who can learn what: the rows, the results, and what nothing here prevents."""
    viewers = ", ".join(about.raw_viewers)
    raw = (
        f"Who can see the rows themselves: {viewers}, and this service while it computes."
        if viewers
        else "Who can see the rows themselves: nobody has put that on record, beside this service"
        " while it computes."
    )
    return [
        f"{raw} Everybody else sees results alone, and they may be passed on: the stranger is"
        " taken to see all of them.",
        "This does not keep anybody from learning what holds for people in general, and it may"
        " hold for you, too, whether or not your data was used.",
        *([f"The data is used for: {about.purpose}"] if about.purpose else []),
        *([f"It is to be kept until {about.retain_until}."] if about.retain_until else []),
    ]


def how_text(facts: StatementFacts, delta: str) -> list[str]:
    """How it is done, and what stands behind the word "at most"."""
    words = unit_words(facts.unit, facts.blocks)
    lines = [
        f"How: every result is changed at random before anybody sees it, so that no single"
        f" {words.one} matters much, and an account is kept of all results together."
    ]
    if Decimal(delta):
        lines.append(
            f"With a chance of at most {one_in(delta)} the random changes may hide nothing; the"
            " figures above count that in."
        )
    return lines


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _promise(facts: StatementFacts) -> dict[str, str]:
    """The loss that the whole life of the data stays within: the limit, or more if more is on it.

    Spend from before the service, or found after a restore, may lie above a limit (L3).
    """
    limit, consumed = facts.limit, facts.consumed
    delta = facts.proven_delta
    if facts.lifetime is not None:
        limit, consumed = facts.lifetime["limit"], facts.lifetime["consumed"]
        delta = facts.lifetime_bound_delta or limit["delta"]
    most = max((limit["epsilon"], consumed["epsilon"]), key=Decimal)
    return {"epsilon": most, "delta": delta}
