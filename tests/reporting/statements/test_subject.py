"""The statement for the person in the data: odds first, and the lifetime beside every window."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from app.domain.partitions import TimeBlocks
from app.domain.windows import Calendar
from app.reporting.statements import Description, StatementFacts, subject_statement
from app.reporting.statements.figures import risk_figures
from app.reporting.statements.subject import strength
from tests.reporting.statements.facts import FACTS, LIFETIME, RAISE, USER, USER_PERIOD

MONTHS = TimeBlocks("day", Calendar("month", "UTC", date(2026, 1, 1)), 0)
WINDOW = replace(
    FACTS,
    kind="window",
    lifetime=LIFETIME,
    lifetime_bound_delta="1e-7",
    period="month",
    span=("2026-11-01T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),
)


def test_the_first_thing_said_are_odds_out_of_100_and_the_last_is_how() -> None:
    text = subject_statement(FACTS)["text"]
    assert "right 50 times in 100" in text[0]
    guess = risk_figures("1.25", "1e-7", "add_remove")["best_guess_per_100"]
    assert f"right at most {guess} times in 100" in text[0]
    who = next(at for at, line in enumerate(text) if line.startswith("Who can see"))
    how = next(at for at, line in enumerate(text) if line.startswith("How:"))
    assert 0 < who < how


def test_the_lifetime_stands_beside_every_figure_at_its_limit() -> None:
    for facts in (FACTS, WINDOW, replace(WINDOW, kind="allocation", span=None)):
        said = subject_statement(facts)
        at_limit = risk_figures("8", "1e-7", "add_remove")["best_guess_per_100"]
        assert said["lifetime_best_guess_per_100"] == at_limit == "nearly always"
        assert "for as long as it is used, they can be right nearly always" in said["text"][1]
    assert "starts again every month" in subject_statement(WINDOW)["text"][1]
    assert "from 2026-11-01 to 2026-12-01" in subject_statement(WINDOW)["text"][0]


def test_a_lifetime_that_has_passed_its_limit_is_told_at_what_it_holds() -> None:
    over = {"limit": {"epsilon": "1", "delta": "0"}, "consumed": {"epsilon": "2", "delta": "0"}}
    below = replace(WINDOW, lifetime=over, lifetime_bound_delta="1e-3")
    expected = risk_figures("2", "1e-3", "add_remove")["best_guess_per_100"]
    assert subject_statement(below)["lifetime_best_guess_per_100"] == expected
    root = replace(FACTS, consumed={"epsilon": "9", "delta": "0"}, bound_delta="1e-3")
    assert subject_statement(root)["lifetime_best_guess_per_100"] == "nearly always"


def test_of_others_below_the_same_root_nothing_is_said() -> None:
    """Who may read an allocation may hand this on and learns nothing of the root's spend (R12)."""
    busy = {**LIFETIME, "consumed": {"epsilon": "3", "delta": "1e-9"}}
    assert subject_statement(WINDOW) == subject_statement(replace(WINDOW, lifetime=busy))


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("50", "close-to-blind"),
        ("55", "close-to-blind"),
        ("55.1", "real-doubt"),
        ("75", "real-doubt"),
        ("95", "limited-doubt"),
        ("95.1", "little-doubt"),
        ("nearly always", "little-doubt"),
    ],
)
def test_the_bands_end_where_they_are_said_to(shown: str, code: str) -> None:
    assert strength(shown)[0] == code


@pytest.mark.parametrize(
    ("facts", "words", "several"),
    [
        (FACTS, "whether your record was used", "for 2 or more records."),
        (replace(FACTS, unit=USER), "whether your data was used", "for 2 or more people."),
        (
            replace(FACTS, unit=USER_PERIOD, blocks=MONTHS),
            "whether your data of any one month was used",
            "for 2 or more months.",
        ),
        (
            replace(FACTS, relation="replace_one"),
            "which of two versions of your record was used",
            "for 2 or more records.",
        ),
        (
            replace(FACTS, relation="zero_out"),
            "whether your record was used or left blank",
            "for 2 or more records.",
        ),
    ],
)
def test_the_unit_and_the_relation_say_what_is_hidden_and_what_is_not(
    facts: StatementFacts, words: str, several: str
) -> None:
    text = subject_statement(facts)["text"]
    assert words in text[0]
    assert text[2].endswith(several)


def test_several_units_are_never_shown_as_well_covered_as_one() -> None:
    small = {"epsilon": "0.2", "delta": "1e-9"}
    said = subject_statement(replace(FACTS, limit=small, consumed=small))
    figures = [said["lifetime_best_guess_per_100"]]
    figures += [each["best_guess_per_100"] for each in said["linked_units"]]
    values = [Decimal(100) if text == "nearly always" else Decimal(text) for text in figures]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert f"for 2, at most {figures[2]} times in 100 for 5," in said["text"][2]
    assert said["text"][2].endswith("for 10 records.")


def test_who_sees_the_rows_is_named_and_where_nobody_said_so_that_is_said() -> None:
    about = Description(raw_viewers=("the registry", "its archive"), purpose="delay statistics")
    said = subject_statement(replace(FACTS, description=about))
    assert any("the registry, its archive, and this service" in line for line in said["text"])
    assert "The data is used for: delay statistics" in said["text"]
    assert any("nobody has put that on record" in line for line in subject_statement(FACTS)["text"])


def test_a_delta_is_told_as_one_in_so_many_and_a_pure_loss_without_one() -> None:
    assert any("at most 1 in 10,000,000" in line for line in subject_statement(FACTS)["text"])
    pure = replace(FACTS, limit={"epsilon": "8", "delta": "0"})
    assert not any("1 in" in line for line in subject_statement(pure)["text"])


def test_a_limit_that_was_raised_is_told_and_that_it_may_be_raised_is_an_assumption() -> None:
    said = subject_statement(replace(FACTS, limit_changes=(RAISE,)))
    assert "limit raised on 2026-11-22 from 4 to 8" in said["text"]
    assert any("not raised" in each for each in said["assumptions"])
    below = subject_statement(replace(WINDOW, lifetime_changes=(RAISE,)))
    assert "lifetime limit raised on 2026-11-22 from 4 to 8" in below["text"]
