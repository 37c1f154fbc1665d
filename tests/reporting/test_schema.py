"""The schema of a report: strict, met by what is built, and in step with the evidence's types."""

import copy
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest

from app.reporting import report
from app.reporting.schema import report_schema, with_evidence
from tests.reporting.evidence_sample import sample, without_jobs


@pytest.fixture(scope="module")
def validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(report_schema(), validate_formats=True)


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return report.build(sample())


def faults(validator: jsonschema_rs.Draft202012Validator, document: Any) -> list[str]:
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(document)]


def objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for each in value.values() for found in objects(each))]
    if isinstance(value, list):
        return [found for each in value for found in objects(each)]
    return []


def test_the_schema_is_one_of_2020_12() -> None:
    jsonschema_rs.meta.validate(report_schema())
    assert report_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_its_evidence_is_that_of_the_types() -> None:
    message = "write it anew: python -m app.reporting.schema"
    assert with_evidence(report_schema()) == report_schema(), message


@pytest.mark.parametrize("evidence", [sample, without_jobs])
def test_what_is_built_meets_it(
    validator: jsonschema_rs.Draft202012Validator, evidence: Callable[[], Any]
) -> None:
    assert faults(validator, report.build(evidence())) == []


def test_a_signed_report_meets_it(validator: jsonschema_rs.Draft202012Validator) -> None:
    signed = report.signed(report.build(sample()), lambda _: "c2lnbmF0dXJl", "0" * 64)
    assert faults(validator, signed) == []


def test_a_report_on_an_empty_house_and_one_with_everything_meet_it(
    validator: jsonschema_rs.Draft202012Validator,
) -> None:
    evidence = sample()
    root = evidence["budgets"][0]
    root["limit_changes"] = [
        {
            "kind": "raised",
            "date": "2027-03-02T10:00:00.000000Z",
            "from": {"epsilon": "0.5", "delta": "1e-9"},
            "to": {"epsilon": "0.9", "delta": "1e-9"},
        }
    ]
    evidence["ledger"]["faults"] = [{"budget": root["id"], "seq": 3, "reason": "a hash"}]
    for each in evidence["attestations"]:
        each["revoked_at"] = evidence["as_of"]
    assert faults(validator, report.build(evidence)) == []
    evidence = without_jobs()
    evidence["attestations"], evidence["approvals"] = [], []
    evidence["dataset"]["description"] = {}
    evidence["dataset"]["population"] = None
    assert faults(validator, report.build(evidence)) == []


def test_a_plan_meets_it_and_stands_apart_from_the_proven_bound(
    validator: jsonschema_rs.Draft202012Validator,
) -> None:
    evidence = sample()
    plan: Any = {
        **copy.deepcopy(evidence["budgets"][1]),
        "id": "a-plan",
        "kind": "plan",
        "figures": None,
        "bound_delta": None,
        "plan": {
            "digest": "ab" * 32,
            "slots": [{"name": "weekly", "count": 4, "used": 1, "reserved": 0, "left": 3}],
            "if_fixed_in_advance": {"epsilon": "7.77", "delta": "1e-10"},
        },
    }
    evidence["budgets"].append(plan)
    document = report.build(evidence)
    assert faults(validator, document) == []
    assert "a-plan" not in [
        each["budget"] for each in document["guarantee"]["proven_bound"]["budgets"]
    ]
    (told,) = document["guarantee"]["if_fixed_in_advance"]["plans"]
    assert told["if_fixed_in_advance"] == {"epsilon": "7.77", "delta": "1e-10"}


def test_no_section_of_ours_takes_a_field_that_nobody_knows(
    validator: jsonschema_rs.Draft202012Validator, built: dict[str, Any]
) -> None:
    sections = ("edition", "scope", "system", "guarantee", "ledger", "limits", "integrity")
    for name in ("", *sections):
        changed = copy.deepcopy(built)
        (changed[name] if name else changed)["more"] = "x"
        assert faults(validator, changed), name
    for name in ("criteria", "attestations", "frameworks", "exceptions"):
        changed = copy.deepcopy(built)
        changed[name][0]["more"] = "x"
        assert faults(validator, changed), name


def test_no_top_level_field_may_be_missing(
    validator: jsonschema_rs.Draft202012Validator, built: dict[str, Any]
) -> None:
    for name in built:
        assert faults(validator, {key: built[key] for key in built if key != name}), name


def test_an_amount_that_is_a_number_is_refused_wherever_it_stands(
    validator: jsonschema_rs.Draft202012Validator, built: dict[str, Any]
) -> None:
    changed = copy.deepcopy(built)
    changed["guarantee"]["lifetime"]["consumed"]["epsilon"] = 0.45
    assert faults(validator, changed)
    changed = copy.deepcopy(built)
    changed["evidence"]["dataset"]["description"]["share"] = 0.5
    assert faults(validator, changed)


def test_no_line_of_a_framework_may_end_otherwise(
    validator: jsonschema_rs.Draft202012Validator, built: dict[str, Any]
) -> None:
    changed = copy.deepcopy(built)
    changed["frameworks"][0]["lines"][0]["text"] = "so it is met"
    assert faults(validator, changed)


def test_oscal_knows_only_the_two_states_that_map_directly(built: dict[str, Any]) -> None:
    (result,) = built["annexes"]["oscal"]["assessment-results"]["results"]
    told = {
        each["target"]["target-id"]: each["target"]["status"]["state"]
        for each in result["findings"]
    }
    expected = {
        each["id"]: each["state"].replace("_", "-")
        for each in built["criteria"]
        if each["state"] in ("satisfied", "not_satisfied")
    }
    assert told == expected
    assert len(result["observations"]) == len(built["criteria"]) == 48
    named = [each["uuid"] for each in objects(built["annexes"]["oscal"]) if "uuid" in each]
    assert len(set(named)) == len(named)


def test_the_plan_that_the_results_import_is_in_the_document(built: dict[str, Any]) -> None:
    results = built["annexes"]["oscal"]["assessment-results"]
    resources = [each["uuid"] for each in results["back-matter"]["resources"]]
    assert results["import-ap"]["href"].removeprefix("#") in resources
