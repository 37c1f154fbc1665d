"""Statements of a report: from its records alone, and never another figure than its guarantee."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from app.domain.accounting.filters import policy_from_json
from app.domain.ledger import canonical_bytes
from app.domain.privacy import Loss
from app.reporting.evidence import Evidence
from app.reporting.sections.guarantee import guarantee
from app.reporting.statements import report_statements
from app.reporting.statements.pace import Charges, consumed_by_day, forecast, largest_uses
from tests.reporting.evidence_sample import sample, without_jobs

FINDINGS = [
    {"id": "N226-01", "state": "satisfied"},
    {"id": "N226-04", "state": "not_satisfied"},
    {"id": "N226-08", "state": "not_evaluated"},
    {"id": "N226-22", "state": "partly_satisfied"},
]


def said(evidence: Evidence, findings: Any = ()) -> dict[str, Any]:
    return report_statements(evidence, findings, guarantee(evidence))


def test_the_three_statements_are_canonical_json_and_the_same_each_time() -> None:
    first = canonical_bytes(said(sample(), FINDINGS))
    assert canonical_bytes(said(sample(), FINDINGS)) == first


def test_the_figures_are_those_that_the_guarantee_computed_and_not_those_that_were_shown() -> None:
    evidence = sample()
    honest = said(evidence)
    for budget in evidence["budgets"]:
        assert budget["figures"] is not None
        budget["figures"]["consumed"]["epsilon"] = "0.001"
    assert said(evidence) == honest
    bound = guarantee(evidence)["lifetime"]["consumed"]
    for audience in ("officer", "auditor"):
        proven = honest[audience]["proven_bound"]
        assert {key: proven[key] for key in ("epsilon", "delta")} == bound


def test_what_failed_and_what_nobody_looked_at_are_told_apart() -> None:
    officer, auditor = (said(sample(), FINDINGS)[who] for who in ("officer", "auditor"))
    assert officer["criteria_failed"] == ["N226-04"]
    assert officer["criteria_partly_satisfied"] == ["N226-22"]
    assert officer["criteria_not_evaluated"] == auditor["not_evaluated"] == ["N226-08"]
    silent = said(sample())
    assert silent["officer"]["criteria_failed"] is None
    assert not any("Criteria" in line for line in silent["officer"]["text"])


def test_the_line_of_days_ends_in_what_is_committed_now() -> None:
    evidence = sample()
    root = evidence["budgets"][0]
    points = consumed_by_day(evidence, root, Charges(evidence))
    committed = Loss.from_json(root["committed_charge"])
    policy = policy_from_json(root["policy"])
    assert points[-1]["consumed"] == policy.consumed(committed).epsilon
    shown = [Decimal(point["consumed"]) for point in points]
    assert shown == sorted(shown)


def test_a_long_line_keeps_the_days_of_the_pace_and_what_was_before_them() -> None:
    evidence = sample()
    (posted, *_) = [each for each in evidence["reservations"] if each["state"] == "posted"]
    evidence["reservations"] = []
    for month in range(1, 13):
        for day in (5, 15, 25):
            at = f"2026-{month:02}-{day:02}T10:00:00.000000Z"
            evidence["reservations"].append({**posted, "id": at, "resolved_at": at})
    evidence["as_of"] = "2026-12-31T12:00:00.000000Z"
    charges, root = Charges(evidence), evidence["budgets"][0]
    points = consumed_by_day(evidence, root, charges)
    days = [point["day"] for point in points]
    assert days[-3:] == ["2026-12-05", "2026-12-15", "2026-12-25"]
    assert days[-4] == "2026-11-25"
    assert len(points) <= 15
    root_units = next(
        entry["units"]
        for entry in posted["entries"]
        if entry["budget"] == root["id"] and entry["kind"] == "posted"
    )
    one = charges.of(posted, root_units)
    policy = policy_from_json(root["policy"])
    whole = sum((one for _ in range(36)), Loss.zero())
    assert points[-1]["consumed"] == policy.consumed(whole).epsilon
    before = sum((one for _ in range(33)), Loss.zero())
    used = Decimal(policy.consumed(whole).epsilon) - Decimal(policy.consumed(before).epsilon)
    assert Decimal(forecast(points, "9", evidence["as_of"]).pace_epsilon) == used


def test_the_forecast_is_a_straight_line_and_says_when_it_says_nothing() -> None:
    line = [{"day": "2027-03-01", "consumed": "0.1"}, {"day": "2027-03-21", "consumed": "0.3"}]
    found = forecast(line, "0.5", "2027-03-31T00:00:00.000000Z")
    assert (found.pace_days, found.pace_epsilon, found.exhausted_on) == (28, "0.2", "2027-04-28")
    assert forecast([], "0.5", "2027-03-31T00:00:00.000000Z").exhausted_on is None
    old = forecast(line[:1], "0.5", "2027-06-30T00:00:00.000000Z")
    assert (old.pace_epsilon, old.exhausted_on) == ("0", None)


def test_the_largest_uses_are_the_largest_and_name_no_purpose() -> None:
    evidence = sample()
    uses = largest_uses(evidence, evidence["budgets"][0], Charges(evidence))
    shown = [Decimal(use.epsilon) for use in uses]
    assert shown == sorted(shown, reverse=True)
    assert len(uses) == 5
    purposes = {job["purpose"] for job in evidence["jobs"]}
    assert not any(purpose in use.subject for use in uses for purpose in purposes)


def test_a_voided_reservation_is_no_use_and_a_held_one_is() -> None:
    evidence = sample()
    root = evidence["budgets"][0]["id"]
    voided = next(each for each in evidence["reservations"] if each["state"] == "voided")
    names = {
        use.subject for use in largest_uses(evidence, evidence["budgets"][0], Charges(evidence))
    }
    assert f"job:{voided['job']}" not in names
    held = copy.deepcopy(evidence)
    held["reservations"] = [
        {
            **voided,
            "entries": [
                each
                for each in voided["entries"]
                if each["budget"] == root and each["kind"] == "reserved"
            ],
        }
    ]
    (use,) = largest_uses(held, held["budgets"][0], Charges(held))
    assert use.subject == f"job:{voided['job']}"


def test_a_replay_that_found_a_fault_is_told_to_the_auditor() -> None:
    evidence = sample()
    root = evidence["budgets"][0]["id"]
    evidence["ledger"]["faults"] = [{"budget": root, "seq": 3, "reason": "a hash does not follow"}]
    found = said(evidence, FINDINGS)
    assert "entry 3: a hash does not follow" in found["auditor"]["text"][0]
    assert found["officer"]["exceptions"] == [f"entry:{root}:3"]


def test_a_dataset_without_jobs_or_without_a_root_has_a_statement_of_that() -> None:
    nothing = said(without_jobs())
    assert nothing["officer"]["largest_uses"] == []
    assert nothing["subject"]["best_guess_per_100"] == "50.1"
    empty = without_jobs()
    empty["budgets"] = []
    assert said(empty) == {"subject": None, "officer": None, "auditor": None}


@pytest.mark.parametrize("audience", ["officer", "auditor"])
def test_assumptions_come_from_what_was_charged(audience: str) -> None:
    named = said(sample())[audience]["assumptions"]
    assert any("ideal Gaussian" in each for each in named)
    assert any("outside tools" in each for each in named)
    evidence = sample()
    evidence["reservations"] = [each for each in evidence["reservations"] if not each["is_outside"]]
    evidence["jobs"] = [job for job in evidence["jobs"] if job["kind"] != "train"]
    fewer = said(evidence)[audience]["assumptions"]
    assert not any("ideal Gaussian" in each or "outside tools" in each for each in fewer)
