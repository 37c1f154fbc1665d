"""What the criteria may never say, and what turns those that a person has a part in."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.domain.errors import InvalidParameter
from app.domain.ledger import canonical_bytes
from app.reporting.criteria import LAYERS, Finding, evaluate
from app.reporting.criteria.catalogue import criteria, default_policy, edition, read_mapping
from app.reporting.criteria.findings import IDS_MOST
from app.reporting.criteria.registry import RULES
from app.reporting.evidence import Evidence
from tests.reporting.criteria.pairs import job, parts, queries
from tests.reporting.evidence_sample import (
    attested,
    divided,
    sample,
    sample_of,
    without_jobs,
)

FORBIDDEN = re.compile(r"\b(compliant|certified|anonymous|guaranteed|safe|nist-approved)\b", re.I)
# what a dataset that was never charged has nothing of
OF_JOBS = [
    *("N226-09", "N226-13", "N226-14", "N226-15", "N226-16", "N226-F05", "N226-F08"),
    *("N226-F09", "N226-F12", "N226-F13", "N226-F14", "PRJ-01", "PRJ-02", "PRJ-03", "PRJ-04"),
    *("PRJ-07", "N226-10", "N226-11", "N226-12", "N226-17", "N226-F06", "N226-F16"),
]


def states(evidence: Evidence) -> dict[str, Finding]:
    """All findings by id."""
    return {each["id"]: each for each in evaluate(evidence)}


def test_the_same_evidence_gives_the_same_bytes_and_no_rule_changes_it() -> None:
    evidence = sample()
    before = canonical_bytes(evidence)
    first, second = evaluate(evidence), evaluate(sample())
    assert canonical_bytes(first) == canonical_bytes(second)
    assert canonical_bytes(evidence) == before


def test_no_finding_holds_a_number_that_could_be_a_score() -> None:
    for found in evaluate(sample()):
        assert all(isinstance(value, str | list) for value in found.values())
        assert "score" not in found["note"]


def test_a_dataset_without_jobs_leaves_what_is_about_jobs_out_with_a_reason() -> None:
    found = states(without_jobs())
    for id_ in OF_JOBS:
        assert found[id_]["state"] == "not_applicable", id_
        assert found[id_]["note"], id_


def test_every_finding_says_why_and_names_its_edition() -> None:
    for evidence in (sample(), divided(), queries(), without_jobs()):
        for found in evaluate(evidence):
            assert found["note"], found["id"]
            assert found["source_edition"], found["id"]
            assert found["at"] == evidence["as_of"]
            assert len(found["evidence"]) <= IDS_MOST
            assert not FORBIDDEN.search(f"{found['note']} {found['observed']} {found['rule']}")


def test_without_a_word_of_any_person_nothing_is_attested() -> None:
    found = states(sample(attestations=[]))
    assert "attested" not in {each["state"] for each in found.values()}
    for id_ in ("N226-22", "N226-F07"):
        assert found[id_]["state"] == "not_evaluated"
    for each in found.values():
        if each["type"] != "auto":
            assert each["state"] != "satisfied", each["id"]


@pytest.mark.parametrize(
    "ended",
    [
        {"expires_at": "2027-03-30T00:00:00.000000Z"},
        {"made_at": "2025-01-01T00:00:00.000000Z"},
        {"revoked_at": "2027-03-30T00:00:00.000000Z"},
        {"made_at": "2027-05-01T00:00:00.000000Z"},
    ],
)
def test_a_word_that_has_expired_is_too_old_or_taken_back_counts_for_nothing(
    ended: dict[str, Any],
) -> None:
    evidence = sample()
    for each in evidence["attestations"]:
        each.update(ended)  # type: ignore[typeddict-item]
    silent = {id_: each["state"] for id_, each in states(sample(attestations=[])).items()}
    found = {id_: each["state"] for id_, each in states(evidence).items()}
    # the list of parties is known still, and its date is what is wrong with it
    assert found.pop("N226-20") == "partly_satisfied"
    assert silent.pop("N226-20") == "not_satisfied"
    assert found == silent


def _refute(evidence: Evidence) -> None:
    (job(evidence, "train")["result"] or {})["audit"]["bound_epsilon"] = "0.3"


def _private_accuracy(evidence: Evidence) -> None:
    job(evidence, "train")["tables"].clear()


def _show_errors(evidence: Evidence) -> None:
    evidence["service"]["errors_are_redacted"] = False


def _approve_alone(evidence: Evidence) -> None:
    evidence["approvals"][0]["decided_by"] = evidence["approvals"][0]["requested_by"]


def _undeclared(evidence: Evidence) -> None:
    evidence["attestations"].append(
        attested("other_releases", {"releases": [{"title": "a map", "is_private": False}]})
    )
    evidence["attestations"][-1]["made_at"] = "2027-03-02T00:00:00.000000Z"


def _overdue(evidence: Evidence) -> None:
    evidence["dataset"]["description"]["retain_until"] = "2027-01-01"


def _shape(evidence: Evidence) -> None:
    evidence["dataset"]["document"]["columns"][3]["shape"] = [28, 28]


@pytest.mark.parametrize(
    ("id_", "fault", "state"),
    [
        ("N226-03", lambda e: e["attestations"].pop(2), "not_satisfied"),
        ("N226-08", _undeclared, "partly_satisfied"),
        ("N226-18", _shape, "not_satisfied"),
        ("N226-20", lambda e: e["dataset"]["description"].clear(), "not_satisfied"),
        ("N226-21", _show_errors, "not_satisfied"),
        ("N226-23", _approve_alone, "not_satisfied"),
        ("N226-23", lambda e: e["service"]["keys"].update(oldest_days=400), "not_satisfied"),
        ("N226-24", _overdue, "partly_satisfied"),
        ("N226-F06", _refute, "not_satisfied"),
        ("N226-F11", _show_errors, "not_satisfied"),
        ("N226-F16", _private_accuracy, "not_satisfied"),
        ("PRJ-08", lambda e: e["dataset"].update(population_datasets=2), "not_evaluated"),
    ],
)
def test_the_part_that_can_be_checked_is_checked(
    id_: str, fault: Callable[[Evidence], object], state: str
) -> None:
    evidence = queries() if id_ == "N226-21" else sample()
    before = states(evidence)[id_]["state"]
    fault(evidence)
    assert before != state
    assert states(evidence)[id_]["state"] == state


def test_an_audit_that_agrees_is_never_more_than_support() -> None:
    found = states(sample())["N226-F06"]
    assert found["state"] == "partly_satisfied"
    assert "no proof" in found["note"]


def test_what_ran_elsewhere_is_not_seen_and_never_satisfied() -> None:
    found = states(sample_of("elsewhere"))
    for id_ in ("N226-F09", "PRJ-04"):
        assert found[id_]["state"] == "not_evaluated"
    assert found["N226-09"]["state"] == "partly_satisfied"


def test_a_query_that_can_no_longer_be_planned_is_not_evaluated() -> None:
    evidence = sample_of("query 1")
    job(evidence, "query")["spec"]["measures"][0]["fn"] = "of a later version"
    assert states(evidence)["N226-13"]["state"] == "not_evaluated"


def test_more_noise_than_planned_is_no_fault() -> None:
    evidence = sample()
    parts(evidence, job(evidence, "query"))[0]["mechanism"]["scale"] = "9e1"
    assert states(evidence)["N226-13"]["state"] == "satisfied"


def test_a_justification_that_counts_lifts_the_middle_band() -> None:
    evidence = sample()
    evidence["policy"]["low_epsilon"] = "0.1"
    assert states(evidence)["N226-01"]["state"] == "partly_satisfied"
    evidence["attestations"].append(attested("budget_justification", {}))
    assert states(evidence)["N226-01"]["state"] == "satisfied"


def test_a_second_delta_holds_what_earlier_spend_took_beyond_the_limit() -> None:
    evidence = sample()
    root = evidence["budgets"][0]
    assert "second delta 1e-8" in states(evidence)["N226-07"]["observed"]
    charge = root["committed_charge"]
    # 3e-8 of deltas, where the limit has room for 1e-10 and ten times the limit for 1e-9
    charge["delta_atto"] = str(30 * 10**9)
    assert "second delta 3.9e-8" in states(evidence)["N226-07"]["observed"]


def test_totals_of_divided_users_follow_block_by_block() -> None:
    evidence = divided()
    assert states(evidence)["N226-F15"]["state"] == "satisfied"
    for row in evidence["reservations"][0]["entries"]:
        row["blocks"] = [[0, 1]]
    # blocks two and three hold less than before, and the worst one still holds all
    assert states(evidence)["N226-F15"]["state"] == "satisfied"
    for row in evidence["reservations"][1]["entries"]:
        row["blocks"] = [[2, 3]]
    assert states(evidence)["N226-F15"]["state"] == "not_satisfied"


def test_the_catalogue_is_dated_and_its_layers_hold_every_rule() -> None:
    assert edition()["as_of"]
    assert len({each["source_edition"] for each in criteria()}) == 4
    modules = {module.__name__: layer for layer, each in LAYERS.items() for module in each}
    for each in criteria():
        assert modules[RULES[each["id"]].__module__] == each["layer"], each["id"]


def test_an_organisation_names_sections_and_bounds_by_a_file() -> None:
    mapping, policy = read_mapping(
        {
            "mapping": {"N226-04": {"section": "2.4.2", "source_edition": "final"}},
            "policy": {"low_epsilon": "2", "libraries": {"opendp": ["0.16.0"]}},
        }
    )
    evidence = sample(mapping=mapping, policy=policy)
    found = states(evidence)["N226-04"]
    assert (found["section"], found["source_edition"]) == ("2.4.2", "final")
    assert found["rule"] == states(sample())["N226-04"]["rule"]
    assert "low below 2" in states(evidence)["N226-01"]["observed"]
    assert policy["ceiling_epsilon"] == default_policy()["ceiling_epsilon"]


@pytest.mark.parametrize(
    "document",
    [
        {"mapping": {"N226-99": {"section": "1"}}},
        {"mapping": {"N226-04": {"rule": "always satisfied"}}},
        {"mapping": {"N226-04": {"check_type": "attestation"}}},
        {"mapping": []},
        {"policy": {"low_epsilon": 2}},
        {"policy": {"key_days_most": "90"}},
        {"policy": {"libraries": {"opendp": "0.16.0"}}},
        {"rules": {}},
    ],
)
def test_a_file_cannot_move_a_rule_or_say_anything_else(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        read_mapping(document)
