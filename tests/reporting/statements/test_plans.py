"""Statements of a plan: one figure of its whole, apart from the proven bound (L9, R10)."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.accounting import conversions
from app.reporting.statements.figures import risk_figures
from app.reporting.statements.native import fixed_figures
from app.reporting.statements.plans import (
    auditor_plan_statement,
    officer_plan_statement,
    subject_plan_statement,
)
from tests.reporting.statements.facts import PLAN

GAUSSIAN = {"type": "gaussian", "noise_multiplier": "10"}
DISCRETE = {"type": "discrete_gaussian", "sigma": "10", "sensitivity_l2": "1"}
PURE = {"type": "pure", "epsilon": "0.1"}


def test_a_plan_claims_no_proven_bound_and_names_on_what_its_figure_rests() -> None:
    for said in (officer_plan_statement(PLAN), auditor_plan_statement(PLAN)):
        assert said["proven_bound"] is None
        assert said["if_fixed_in_advance"]["epsilon"] == "0.9"
        assert "frozen before its first output" in said["assumptions"][0]
        line = next(each for each in said["text"] if "epsilon 0.9" in each)
        assert line.startswith("If fixed in advance (PLD)")
    subject = subject_plan_statement(PLAN)
    assert "because the list of what runs in it was fixed" in subject["text"][0]


def test_the_lifetime_s_figure_is_another_and_stands_beside_it() -> None:
    subject = subject_plan_statement(PLAN)
    own = risk_figures("0.9", "1e-7", "add_remove")["best_guess_per_100"]
    assert subject["if_fixed_in_advance_best_guess_per_100"] == own
    assert subject["lifetime_best_guess_per_100"] == "nearly always"
    assert own in subject["text"][0]
    assert own not in subject["text"][1]
    assert "best_guess_per_100" not in subject
    assert any("for 2 or more records" in line for line in subject["text"])
    assert any(line.startswith("Who can see the rows") for line in subject["text"])


def test_what_others_spent_is_not_in_what_is_handed_on() -> None:
    busy = {**PLAN.lifetime, "consumed": {"epsilon": "2", "delta": "0"}}
    assert subject_plan_statement(PLAN) == subject_plan_statement(replace(PLAN, lifetime=busy))


def test_gaussians_that_were_fixed_are_one_gaussian_and_only_the_auditor_s_figures_say_so() -> None:
    """16 at noise 20 and 5 at noise 10: mu^2 = 16/400 + 5/100 = 0.09."""
    fixed = auditor_plan_statement(PLAN)["native_if_used_up"]
    assert fixed["gaussian"]["mu"] == "0.3"
    assert fixed["concentrated"]["rho"] == "0.0450001"
    assert [each["mu"] for each in fixed["gaussian"]["linked_units"]] == ["0.6", "1.5", "3"]
    exact = conversions.gdp_delta(0.3, 1.0)
    assert float(fixed["gaussian"]["profile"][0]["delta"]) == pytest.approx(exact, rel=1e-5)
    assert "mu" not in json.dumps(officer_plan_statement(PLAN)["risk_if_used_up"])


@pytest.mark.parametrize(
    ("parts", "has_mu", "rho"),
    [
        ([(GAUSSIAN, 4)], True, "0.0200001"),
        ([({"type": "repeated", "count": 2, "of": GAUSSIAN}, 2)], True, "0.0200001"),
        ([({"type": "zcdp", "rho": "0.01"}, 2)], False, "0.0200001"),
        ([(GAUSSIAN, 3), (DISCRETE, 1)], False, "0.0200001"),
        ([(GAUSSIAN, 2), ({"type": "zcdp", "rho": "0.01"}, 1)], False, "0.0200001"),
        ([(PURE, 1)], False, None),
        ([({"type": "zcdp", "rho": "0.01", "xi": "0.01"}, 1)], False, None),
        ([(GAUSSIAN, 1), (PURE, 1)], False, None),
        (
            [({"type": "poisson_sampled", "rate": "0.01", "of": GAUSSIAN}, 1)],
            False,
            None,
        ),
    ],
)
def test_a_family_is_named_only_where_every_mechanism_is_of_it(
    parts: list[tuple[dict[str, Any], int]], has_mu: bool, rho: str | None
) -> None:
    found = fixed_figures(parts, "add_remove")
    if rho is None:
        assert found is None
        return
    assert found is not None
    assert (found["gaussian"] is not None) == has_mu
    assert found["concentrated"]["rho"] == rho


def test_replacing_a_record_moves_a_sum_twice_as_far() -> None:
    added = fixed_figures([(GAUSSIAN, 1)], "add_remove")
    replaced = fixed_figures([(GAUSSIAN, 1)], "replace_one")
    assert added is not None
    assert replaced is not None
    assert (added["gaussian"]["mu"], replaced["gaussian"]["mu"]) == ("0.1", "0.2")
    assert Decimal(replaced["concentrated"]["rho"]) == pytest.approx(
        4 * Decimal(added["concentrated"]["rho"]), rel=Decimal("0.01")
    )
