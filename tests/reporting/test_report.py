"""A report is a pure function of its evidence, signed over all of it, and computed, not copied."""

import copy
import json
import time
from fractions import Fraction
from hashlib import sha256
from typing import Any

import pytest

from app.domain.ledger import canonical_bytes
from app.reporting import report
from app.reporting.rendering import to_html
from tests.reporting.evidence_sample import AS_OF, sample


def fake_signature(message: bytes) -> str:
    return sha256(message).hexdigest()


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for each in value.values() for found in objects(each))]
    if isinstance(value, list):
        return [found for each in value for found in objects(each)]
    return []


def test_the_same_evidence_gives_the_same_bytes_and_the_same_id() -> None:
    first = canonical_bytes(report.build(sample()))
    shuffled = json.loads(json.dumps(sample(), sort_keys=True))
    assert canonical_bytes(report.build(shuffled)) == first


def test_other_evidence_gives_another_id() -> None:
    changed = sample()
    changed["refusals"]["total"] += 1
    assert report.build(changed)["report_id"] != report.build(sample())["report_id"]


def test_building_changes_nothing_in_the_evidence() -> None:
    evidence = sample()
    before = copy.deepcopy(evidence)
    report.build(evidence)
    assert evidence == before


def test_no_float_and_no_time_but_those_of_the_records_is_in_a_report() -> None:
    built = report.build(sample())
    assert not any(isinstance(leaf, float) for leaf in leaves(built))
    assert built["as_of"] == sample()["as_of"] == AS_OF.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_the_signature_covers_every_section_the_evidence_and_the_name_of_the_key() -> None:
    signed = report.signed(report.build(sample()), fake_signature, "k1")
    assert signed["integrity"]["signature"] == fake_signature(report.signing_bytes(signed))
    for path in ("title", "footer", "report_id"):
        changed = {**signed, path: "another"}
        assert report.signing_bytes(changed) != report.signing_bytes(signed)
    renamed = {**signed, "integrity": {**signed["integrity"], "signed_by": "k2"}}
    assert report.signing_bytes(renamed) != report.signing_bytes(signed)
    other = copy.deepcopy(signed)
    other["evidence"]["dataset"]["name"] = "other"
    assert report.signing_bytes(other) != report.signing_bytes(signed)


def test_the_content_hash_is_that_of_the_sections_alone() -> None:
    built = report.build(sample())
    assert built["integrity"]["content_sha256"] == report.content_sha256(built)
    changed = {**built, "as_of": "another"}
    assert report.content_sha256(changed) != report.content_sha256(built)


@pytest.mark.parametrize("budget", range(4))
def test_a_figure_that_the_service_showed_wrongly_is_computed_and_does_not_agree(
    budget: int,
) -> None:
    evidence = sample()
    honest = report.build(evidence)["guarantee"]["proven_bound"]["budgets"][budget]
    assert honest["agrees"] is True
    figures = evidence["budgets"][budget]["figures"]
    assert figures is not None
    figures["consumed"]["epsilon"] = "0.01"
    found = report.build(evidence)["guarantee"]["proven_bound"]["budgets"][budget]
    assert found["agrees"] is False
    assert found["consumed"] == honest["consumed"]


def test_a_smaller_delta_never_gives_a_smaller_epsilon() -> None:
    for budget in report.build(sample())["guarantee"]["proven_bound"]["budgets"]:
        first, second = budget["converted"][0], budget["converted"][-1]
        assert Fraction(second["delta"]) <= Fraction(first["delta"])
        assert Fraction(second["epsilon"]) >= Fraction(first["epsilon"])


def test_no_epsilon_stands_beside_a_delta_at_which_it_is_not_proven() -> None:
    # the deltas of jobs alone, 1e-11 of 1e-9 here, are no delta of the bound
    built = report.build(sample())
    life = built["guarantee"]["lifetime"]["consumed"]
    assert life["delta"] == built["guarantee"]["lifetime"]["limit"]["delta"]
    assert life["delta"] != built["guarantee"]["native"]["curves"][0]["delta"]
    assert built["annexes"]["registry_record"]["privacy_loss"]["consumed"] == life
    assert built["guarantee"]["trade_off"]["of"] == life
    ours = {key: each for key, each in built.items() if key != "evidence"}
    pairs = {
        (each["epsilon"], each["delta"])
        for each in objects(ours)
        if each.get("epsilon") == life["epsilon"] and "delta" in each
    }
    assert pairs == {(life["epsilon"], life["delta"])}


def test_all_that_a_statement_rests_on_is_said_of_the_report() -> None:
    built = report.build(sample())
    for statement in built["statements"].values():
        assert set(statement["limits"]) <= set(built["limits"]["limits"])
    assert set(built["statements"]["auditor"]["assumptions"]) <= set(built["limits"]["assumptions"])
    said = " ".join(built["limits"]["assumptions"])
    assert "ideal Gaussian noise" in said and "outside tools" in said


def test_an_attestation_counts_until_the_checkpoint_reaches_its_end() -> None:
    evidence = sample()
    assertion = report.build(evidence)["assertion"]
    assert assertion["kind"] == "management_assertion"
    for each in evidence["attestations"]:
        each["expires_at"] = evidence["as_of"]
    built = report.build(evidence)
    assert built["assertion"] is None
    assert {each["standing"] for each in built["attestations"]} == {"expired"}
    assert built["system"]["releases"]["declaration"] == []


def test_a_report_on_ten_thousand_entries_takes_less_than_five_seconds_of_work() -> None:
    evidence = sample()
    jobs = {job["id"]: job for job in evidence["jobs"]}
    reservations, copies = [], []
    for at in range(1_700):  # of six entries each
        reservation: Any = copy.deepcopy(evidence["reservations"][at % 5])
        reservation["id"] = f"{reservation['id'][:-6]}{at:06d}"
        if reservation["job"] is not None:
            job: Any = copy.deepcopy(jobs[reservation["job"]])
            job |= {"id": f"{job['id'][:-6]}{at:06d}", "reservation": reservation["id"]}
            reservation["job"] = job["id"]
            copies.append(job)
        reservations.append(reservation)
    evidence["reservations"], evidence["jobs"] = reservations, copies
    assert sum(len(each["entries"]) for each in reservations) >= 10_000
    to_html(report.build(sample()))  # a warm worker
    started_s = time.process_time()
    built = report.signed(report.build(evidence), fake_signature, "k1")
    page = to_html(built)
    assert time.process_time() - started_s < 5
    assert b"1,500 more are in the JSON form" in page
