"""The register of claims: what was found wrong or unsupported is shown nowhere, by its row.

Rows are those of section 6 of the reference on evaluation reports. A phrase is looked for in every
text that a user may read and in a whole report; figures are asked for in the data that is shown.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from app.reporting import deployments, report
from app.reporting.deployments import Deployment, by_unit, published
from app.reporting.statements import officer_statement, subject_statement
from app.reporting.statements.figures import risk_figures
from tests.read_texts import file_texts, python_texts
from tests.reporting.evidence_sample import sample
from tests.reporting.statements.facts import FACTS, LIFETIME

NIST = r"(?:SP 800-226|NIST)"


@cache
def texts() -> tuple[tuple[str, str], ...]:
    built = report.build(sample())
    return (*python_texts(), *file_texts(), ("report", json.dumps(built)))


def said(pattern: str) -> list[str]:
    """Where a claim stands."""
    found = re.compile(pattern, re.IGNORECASE)
    return [
        f"{where}: {match.group()}" for where, text in texts() for match in found.finditer(text)
    ]


def framework(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each for each in report.build(sample())["frameworks"] if each["id"] == name
    )
    return found


def named(organization: str, product: str) -> Deployment:
    (found,) = [
        each
        for each in published()
        if each.organization == organization and each.product.startswith(product)
    ]
    return found


def census(product: str) -> Deployment:
    return named("U.S. Census Bureau", product)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def test_row_1_no_regulator_is_said_to_have_named_an_epsilon() -> None:
    regulator = r"(?:EDPB|GDPR|data protection board|regulator)"
    assert said(rf"{regulator}[^.\n]{{0,80}}\b(?:epsilon|eps)\b") == []
    assert said(rf"\b(?:epsilon|eps)\b[^.\n]{{0,80}}{regulator}") == []
    assert said(r"epsilon\s*(?:<=|≤|of at most|below)\s*2\b(?!\.)") == []


def test_row_2_the_census_published_17_14_and_2_47_for_redistricting() -> None:
    """26.34 and 34.33 are of another product."""
    people, homes = census("2020 redistricting data, person"), census("2020 redistricting data, h")
    assert (people.rho, people.epsilon, people.delta) == ("2.56", "17.14", "1e-10")
    assert (homes.rho, homes.epsilon, homes.delta) == ("0.07", "2.47", "1e-10")
    dhc = [each for each in published() if each.product.startswith("2020 Demographic and Housing")]
    assert [(each.rho, each.epsilon) for each in dhc] == [("4.96", "26.34"), ("7.7", "34.33")]
    for each in published():
        if "redistricting" in each.product:
            assert each.epsilon not in ("26.34", "34.33")


def test_row_3_across_census_files_rho_is_summed_and_never_epsilon() -> None:
    """15.29 and about 52.8 at 1e-10, by a formula that is named."""
    (found,) = deployments.together()
    assert len(found["products"]) == 4
    assert (found["rho"], found["epsilon"], found["delta"]) == ("15.29", "52.82", "1e-10")
    assert found["formula"].startswith("rho + 2 sqrt(rho ln(1/delta))")
    with pytest.raises(ValueError, match="rho"):
        deployments.summed_rho([named("Microsoft", "Assistive AI")], "1e-10")


@pytest.mark.parametrize("epsilon", ["60.67", "60.7"])
def test_row_3_26_34_and_34_33_are_nowhere_added(epsilon: str) -> None:
    assert epsilon not in json.dumps([deployments.catalogue(), by_unit(), deployments.together()])
    assert said(r"26\.34\s*\+\s*34\.33") == []


def test_row_5_apple_s_16_is_word_discovery_and_its_units_are_marked() -> None:
    found = named("Apple", "QuickType")
    assert found.epsilon == "16"
    assert "word discovery" in str(found.note)
    assert named("Apple", "Popular emoji").unit_is_disputed


def test_row_6_google_s_mobility_is_a_figure_of_one_user_and_one_day() -> None:
    found = named("Google", "COVID-19 Community Mobility")
    assert (found.epsilon, found.unit) == ("2.64", "user-day")
    assert "accumulates" in str(found.note)


def test_row_4_nothing_that_is_no_differential_privacy_is_given_an_epsilon() -> None:
    found = named("Anthropic", "Clio")
    assert not found.is_differential_privacy
    assert (found.epsilon, found.rho, found.epsilon_range) == (None, None, None)
    assert "Anthropic" not in json.dumps(by_unit())
    assert said(r"Anthropic[^\n]{0,120}epsilon[^\n]{0,20}[38]\b") == []


def test_row_7_the_guideline_is_said_to_require_nothing() -> None:
    assert said(rf"{NIST}[^.\n]{{0,60}}\b(?:requires?|mandates?|demands?|obliges?)\b") == []


def test_row_8_no_executive_order_is_named_as_its_ground() -> None:
    assert said(r"executive order|\b14110\b") == []


def test_row_9_no_framework_is_said_to_recommend_or_require_noise() -> None:
    text = json.dumps(framework("nist-ai-600-1"))
    assert re.search(r"recommend|requires? noise|must", text, re.IGNORECASE) is None


def test_row_10_a_management_standard_gives_no_duties_in_law() -> None:
    text = json.dumps(framework("iso-27701")).replace("no legal conclusion", "")
    assert re.search(r"\blegal|\blaw\b|liab", text, re.IGNORECASE) is None


def test_row_11_the_duties_of_the_ai_act_start_when_they_do() -> None:
    starts = {each["date"] for each in framework("eu-ai-act")["status"]}
    assert {"2027-12-02", "2028-08-02"} <= starts
    assert said(r"late 2026|end of 2025|end 2025") == []


def test_row_12_a_window_is_never_shown_as_a_cure_and_the_lifetime_stands_beside_it() -> None:
    window = replace(FACTS, kind="window", lifetime=LIFETIME, period="month")
    officer = officer_statement(window)
    assert officer["lifetime"]["consumed"]["epsilon"] == "7.5"
    assert "forgets nothing" in officer["scope"]
    subject = subject_statement(window)
    assert subject["lifetime_best_guess_per_100"] == "nearly always"
    assert said(r"refresh\w*[^.\n]{0,40}\b(?:restores?|resets? the loss|regains?)\b") == []


def test_rows_13_14_15_and_18_no_unsound_recipe_is_given() -> None:
    assert said(r"non-private (?:epochs?|runs?|profil\w+)[^.\n]{0,40}clip") == []
    assert said(r"num_microbatches\s*=\s*1") == []
    assert said(r"PrivacyEngine\([^)]*\)\.attach") == []
    assert said(r"(?:group|per-group)[- ]adjusted (?:noise|epsilon)") == []


def test_row_16_no_delta_is_recommended_at_one_over_the_number_of_rows() -> None:
    assert said(r"delta\s*(?:=|of|to|at|should be|set to)\s*1\s*/\s*n\b(?!\s*(?:\^|²))") == []
    size = sample()["dataset"]["document"]["nominal_size"]
    for budget in sample()["budgets"]:
        assert Decimal(budget["policy"]["limit"]["delta"]) * size < Decimal("1e-3")


def test_row_17_odds_are_bounded_and_not_belief_and_only_but_for_delta() -> None:
    assert said(r"belief[^.\n]{0,40}(?:by at most|grows? by|factor of) e\^") == []
    figures = risk_figures("1", "1e-6", "add_remove")
    after = {each["before_percent"]: each["after_percent"] for each in figures["belief"]}
    assert (after["1"], after["50"]) == ("2.68", "73.2")  # e times them would be 2.72 and 136
    assert figures["except_with_probability"] == "1e-6"
    line = next(each for each in officer_statement(FACTS)["text"] if "odds about" in each)
    assert "but for an event of probability at most 1e-7" in line
    pure = replace(FACTS, limit={"epsilon": "8", "delta": "0"})
    line = next(each for each in officer_statement(pure)["text"] if "odds about" in each)
    assert "but for" not in line


def test_row_19_gaussian_noise_is_called_necessary_nowhere() -> None:
    assert said(r"Gaussian[^.\n]{0,30}\b(?:is required|is necessary|must be used)\b") == []


def test_row_20_transfers_and_consent_are_told_with_their_exemptions() -> None:
    china = json.dumps(framework("china-pipl"))
    assert "are exempt" in china
    assert re.search(r"\b(?:any|every|all) (?:transfer|export)", china, re.IGNORECASE) is None
    assert "individual's option" in json.dumps(framework("india-dpdp"))


def test_row_21_no_sector_is_given_an_epsilon_and_no_loss_of_accuracy_is_made_up() -> None:
    sector = r"(?:health ?care|HIPAA|hospital|finance|bank)"
    assert said(rf"{sector}[^.\n]{{0,60}}\b(?:epsilon|eps)\b\s*(?:of|=|<=|1|2|3)") == []
    assert said(r"\d+(?:\.\d+)?\s*(?:%|percent)\s+(?:loss|drop) (?:in|of) accuracy") == []
    assert said(r"accuracy (?:loss|drop)(?:es)? of \d") == []


def test_section_numbers_are_shown_as_those_of_the_draft_of_2023() -> None:
    built = report.build(sample())
    assert built["edition"]["source_edition"] == "ipd, December 2023"
    assert "December 2023 draft" in built["edition"]["section_numbers"]
    for finding in built["criteria"]:
        assert re.fullmatch(r"(?:[1-4](?:\.\d){0,2})?", finding["section"])
    numbered = said(rf"{NIST}[^.\n]{{0,20}}(?:final|2025)[^.\n]{{0,20}}section \d")
    assert numbered == []


def test_every_dated_fact_carries_the_day_it_was_read() -> None:
    built = report.build(sample())
    for each in built["frameworks"]:
        for dated in (each, *each["status"]):
            assert date.fromisoformat(f"{dated['as_of']}-01"[:10])
    assert date.fromisoformat(built["comparisons"]["as_of"])
    assert not any(isinstance(leaf, float) for leaf in leaves(built))
