"""Published deployments stand beside our figure only where unit, delta and model agree."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.ledger import canonical_bytes
from app.domain.risk.concentrated import epsilon_of
from app.reporting import deployments, report
from app.reporting.deployments import Deployment, OwnFigure, by_unit, compare, published, refusal
from tests.reporting.evidence_sample import sample

OWN = OwnFigure(unit="user", relation="add_remove", model="central", epsilon="1", delta="1e-7")


def named(organization: str, product: str) -> Deployment:
    (found,) = [
        each
        for each in published()
        if each.organization == organization and each.product.startswith(product)
    ]
    return found


def census(product: str) -> Deployment:
    return named("U.S. Census Bureau", product)


REPLIES = named("Microsoft", "Assistive AI")


def test_all_fifty_are_there_with_a_source_and_a_day() -> None:
    assert len(published()) == 50
    assert deployments.catalogue()["as_of"] == "2026-11-22"
    assert "3e9c812" in deployments.catalogue()["source"]
    assert all(each.sources for each in published())
    canonical_bytes(deployments.catalogue())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"unit": "user-day"}, "unit-differs"),
        ({"unit_is_disputed": True}, "unit-disputed"),
        ({"unit": None}, "unit-not-stated"),
        ({"model": "local"}, "model-differs"),
        ({"relation": "replace_one"}, "relation-differs"),
        ({"delta": "1e-6"}, "delta-differs"),
        ({"delta": "1.0e-7"}, None),
        ({"epsilon": None}, "no-parameters"),
        ({"is_confirmed": False}, "not-confirmed"),
        ({"is_differential_privacy": False}, "not-differential-privacy"),
    ],
)
def test_what_differs_is_refused_by_its_reason(
    change: dict[str, object], reason: str | None
) -> None:
    assert refusal(OWN, replace(REPLIES, **change)) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "own",
    [
        OWN,
        replace(OWN, delta="0"),
        replace(OWN, unit="user-day", delta="0"),
        replace(OWN, unit="record", relation="replace_one"),
        replace(OWN, unit="person", relation="replace_one", delta="1e-10"),
    ],
)
def test_every_row_shown_agrees_and_every_other_has_a_reason(own: OwnFigure) -> None:
    found = compare(own)
    assert len(found["rows"]) + len(found["refused"]) == 50
    assert {each["reason"] for each in found["refused"]} <= set(deployments.REASONS)
    for row in found["rows"]:
        assert row["unit"] == own.unit
        assert not row["unit_is_disputed"]
        deltas = {Decimal(at) for at in (row["delta"], (row["converted"] or {}).get("delta")) if at}
        assert Decimal(own.delta) in deltas


def test_our_own_units_meet_those_that_they_are() -> None:
    with_replies = [row["product"] for row in compare(OWN)["rows"]]
    assert with_replies == ["User-URL shares dataset", "Assistive AI suggested replies"]
    assert deployments.own_unit("user_period", "month") == "user-month"
    assert deployments.own_unit("record") == "record"
    with pytest.raises(ValueError, match="length"):
        deployments.own_unit("user_period")


def test_rows_stand_by_name_and_never_by_epsilon() -> None:
    own = replace(OWN, unit="user-day", delta="0")
    rows = compare(own)["rows"]
    names = [(row["organization"], row["product"]) for row in rows]
    assert names == sorted(names)
    epsilons = [Decimal(row["epsilon"]) for row in rows]
    assert epsilons != sorted(epsilons)


def test_no_group_holds_two_units_and_disputed_ones_keep_their_mark() -> None:
    groups = by_unit()
    for group in groups:
        assert {row["unit"] or "not stated" for row in group["rows"]} == {group["unit"]}
    rows = [row for group in groups for row in group["rows"]]
    disputed = [row for row in rows if row["unit_is_disputed"]]
    assert len(disputed) == 6
    assert all(row["unit_as_published"].endswith("(disputed)") for row in disputed)


def test_what_was_not_confirmed_or_is_none_is_shown_with_no_figure_anywhere() -> None:
    """Register, row 4: nothing that is no differential privacy is given an epsilon."""
    shown = json.dumps([by_unit(), compare(OWN)["rows"]])
    for organization in ("Anthropic", "IRS"):
        assert organization not in shown
    for each in published():
        if not (each.is_confirmed and each.is_differential_privacy):
            assert (each.epsilon, each.rho, each.epsilon_range) == (None, None, None)


def test_conversions_are_those_of_the_reference_and_are_named() -> None:
    """17.14 was published for rho 2.56; loose gives 17.92, tight 17.16."""
    at = Decimal("1e-10")
    for rho, improved, classic in (
        ("2.56", 17.158, 17.92),
        ("0.81", 8.92, 9.45),
        ("4.96", 25.41, 26.33),
        ("12.66", None, 46.8),
    ):
        if improved is not None:
            tight = epsilon_of(Decimal(rho), at, "improved")
            assert float(tight) == pytest.approx(improved, abs=6e-3)
        assert float(epsilon_of(Decimal(rho), at, "classic")) == pytest.approx(classic, abs=4e-2)
    row = next(
        row
        for group in by_unit()
        for row in group["rows"]
        if "redistricting data, person" in row["product"]
    )
    assert row["native"] == {"parameter": "rho of zCDP", "value": "2.56"}
    assert (row["epsilon"], row["converted"]["epsilon"]) == ("17.14", "17.16")
    assert "Canonne" in row["converted"]["formula"]


def test_a_report_holds_the_comparison_of_its_lifetime_root() -> None:
    found = report.build(sample())["comparisons"]
    assert found["own"]["unit"] == found["unit"] == "user"
    assert (found["own"]["delta"], found["own"]["model"]) == ("1e-9", "central")
    assert [row["product"] for row in found["rows"]] == ["User-URL shares dataset"]
    assert found["together"][0]["rho"] == "15.29"
    assert found["published"] == by_unit()
    none = sample()
    none["budgets"] = []
    assert report.build(none)["comparisons"] is None
