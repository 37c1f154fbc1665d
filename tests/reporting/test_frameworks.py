"""Other frameworks: dated, each line with its ending, nothing claimed that cannot be (L9)."""

import re
from typing import Any

import pytest

from app.reporting import report
from app.reporting.frameworks import CONCLUSION, catalogue, resolved
from tests.reporting.evidence_sample import sample

BANNED = re.compile(
    r"\b(compliant|complies|certified|anonymous|guaranteed|safe|approved|lawful)\b", re.IGNORECASE
)
DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


@pytest.fixture(scope="module")
def section() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report.build(sample())["frameworks"]
    return found


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [str(value)]


def test_every_line_ends_without_a_legal_conclusion(section: list[dict[str, Any]]) -> None:
    lines = [line["text"] for each in section for line in each["lines"]]
    assert len(lines) > 25
    assert all(line.endswith("evidence offered; no legal conclusion") for line in lines)
    assert CONCLUSION == "evidence offered; no legal conclusion"


def test_every_entry_and_every_dated_fact_says_as_of_when(section: list[dict[str, Any]]) -> None:
    for each in section:
        assert DATE.fullmatch(each["as_of"]), each["id"]
        assert each["assessed_by"] == "organisation"
        for fact in each["status"]:
            assert DATE.fullmatch(fact["date"]), fact
            assert DATE.fullmatch(fact["as_of"]), fact


def test_no_word_claims_what_cannot_be_claimed() -> None:
    assert [text for text in texts(catalogue()) if BANNED.search(text)] == []


def test_every_pointer_leads_to_a_field_of_the_report() -> None:
    built = report.build(sample())
    pointers = {
        field for each in built["frameworks"] for line in each["lines"] for field in line["fields"]
    }
    for pointer in pointers:
        parent, _, name = pointer.rpartition("/")
        holder = built if parent == "" else resolved(built, parent)
        assert isinstance(holder, dict) and name in holder, pointer


def test_no_epsilon_is_given_as_one_of_the_data_protection_board() -> None:
    (opinion,) = [each for each in catalogue()["frameworks"] if each["id"] == "edpb-28-2024"]
    said = " ".join(texts(opinion)).lower()
    assert "epsilon" not in said
    assert re.search(r"[<≤=]\s*\d", said) is None
    assert "epsilon" not in " ".join(
        text.lower() for each in catalogue()["frameworks"] for text in texts(each["status"])
    )


def test_the_dates_of_the_ai_act_are_those_of_the_regulation_of_july_2026() -> None:
    (act,) = [each for each in catalogue()["frameworks"] if each["id"] == "eu-ai-act"]
    dates = {fact["date"] for fact in act["status"]}
    assert {"2026-07-27", "2027-12-02", "2028-08-02", "2027-02-28"} <= dates
    assert "2026/1744" in act["edition"]


def test_a_field_without_a_record_is_named_in_its_line() -> None:
    evidence = sample()
    evidence["dataset"]["description"].pop("purpose")
    evidence["attestations"] = []
    lines = [line for each in report.build(evidence)["frameworks"] for line in each["lines"]]
    without = [line for line in lines if "/system/purpose" in line["fields"]]
    assert without
    for line in without:
        assert "/system/purpose" in line["absent"]
        assert "not recorded here: " in line["text"] and "/system/purpose" in line["text"]
    assert all("/exceptions" not in line["absent"] for line in lines)
