"""A report and a bundle are held against each other: every edit is found, no honest pair is."""

import base64
import copy
import json
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from app.domain.ledger import canonical_bytes
from app.domain.privacy import Loss
from app.reporting.differences import Walk
from app.reporting.report import build, content_sha256, signed
from app.reporting.verification import Unreadable, verify_report
from tests.reporting.signed_house import (
    FINGERPRINT,
    any_house,
    honest,
    missed_edits,
    sign,
)
from tests.tampering import FOREIGN, KEY, raw_public

TRUSTED = raw_public(KEY)
Document = dict[str, Any]


def pointer_of(report: bytes, bundle: bytes | None = None) -> str | None:
    """Where the first difference is; None where there is none."""
    found = verify_report(report, honest().bundle if bundle is None else bundle, TRUSTED)
    return None if found.difference is None else found.difference.pointer


def changed(change: Callable[[Document], object], *, is_signed: bool = True) -> bytes:
    """The honest report after a change, signed again by the ledger's own key if asked."""
    document = json.loads(honest().report)
    change(document)
    return canonical_bytes(signed(document, sign, FINGERPRINT) if is_signed else document)


def rebuilt(change: Callable[[Document], object]) -> bytes:
    """The report of changed evidence: every figure and hash follows from it, and it is signed."""
    evidence: Any = copy.deepcopy(honest().evidence)
    change(evidence)
    return canonical_bytes(signed(build(evidence), sign, FINGERPRINT))


def test_an_honest_pair_has_no_difference_and_says_what_was_checked() -> None:
    for blocks in (None, 4):
        of = honest(blocks)
        found = verify_report(of.report, of.bundle, TRUSTED)
        assert found.difference is None
        assert (found.criteria, found.bundle.fault) == (48, None)
        assert found.facts > 1_000
        assert found.values > 2_000
        assert found.to_json()["verified"] is True
        assert "Nothing was found to differ" in found.in_words()


def test_every_random_edit_of_a_report_or_a_bundle_is_found() -> None:
    assert missed_edits(honest(), TRUSTED, 40, seed=1) == []


def test_other_honest_houses_raise_no_alarm() -> None:
    for seed in range(4):
        of = any_house(Random(seed))
        assert verify_report(of.report, of.bundle, TRUSTED).difference is None, seed


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_each_of_two_thousand_random_edits_is_found() -> None:
    assert missed_edits(honest(), TRUSTED, 1_000, seed=2) == []
    assert missed_edits(honest(4), TRUSTED, 1_000, seed=3) == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_honest_houses_raise_no_alarm() -> None:
    for seed in range(100):
        of = any_house(Random(1_000 + seed))
        assert verify_report(of.report, of.bundle, TRUSTED).difference is None, seed


RAISE = {
    "kind": "raised",
    "date": "2027-03-02",
    "from": {"epsilon": "3", "delta": "1e-9"},
    "to": {"epsilon": "4", "delta": "1e-9"},
}
OPENING = {"seq": 2, "date": "2027-03-02", "charge": Loss.zero().to_json(), "blocks": None}
# what a ledger knows is found however much the forger computes again, with the ledger's own key
FORGED_FACTS: list[tuple[str, Callable[[Document], object]]] = [
    ("/evidence/as_of", lambda e: e.update(as_of="2027-04-01T00:00:00.000000Z")),
    ("/evidence/ledger/checkpoint_hash", lambda e: e["ledger"].update(checkpoint_hash="0" * 64)),
    ("/evidence/ledger/checkpoint_seq", lambda e: e["ledger"].update(checkpoint_seq=2)),
    (
        "/evidence/ledger/faults/0",
        lambda e: e["ledger"]["faults"].append({"budget": "x", "seq": 1, "reason": "x"}),
    ),
    ("/evidence/ledger/chains/1/entries", lambda e: e["ledger"]["chains"][1].update(entries=4)),
    ("/evidence/ledger/chains/3", lambda e: e["ledger"]["chains"].pop()),
    ("/evidence/budgets/1/head_hash", lambda e: e["budgets"][1].update(head_hash="0" * 64)),
    (
        "/evidence/budgets/0/policy/limit/epsilon",
        lambda e: e["budgets"][0]["policy"]["limit"].update(epsilon="3"),
    ),
    (
        "/evidence/budgets/0/committed_charge/nats_2p40/3",
        lambda e: e["budgets"][0]["committed_charge"]["nats_2p40"].__setitem__(3, "1"),
    ),
    (
        "/evidence/budgets/0/limit_changes/0",
        lambda e: e["budgets"][0]["limit_changes"].append(RAISE),
    ),
    (
        "/evidence/budgets/0/openings/0",
        lambda e: e["budgets"][0]["openings"].append(OPENING),
    ),
    ("/evidence/budgets/0/opened_at", lambda e: e["budgets"][0].update(opened_at=e["as_of"])),
    (
        "/evidence/reservations/3/parts/0/mechanism/rate",
        lambda e: e["reservations"][3]["parts"][0]["mechanism"].update(rate="0.001"),
    ),
    (
        "/evidence/reservations/3/parts/0/started_units",
        lambda e: e["reservations"][3]["parts"][0].update(started_units=99),
    ),
    ("/evidence/reservations/0/state", lambda e: e["reservations"][0].update(state="voided")),
    ("/evidence/reservations/0/job", lambda e: e["reservations"][0].update(job=None)),
    (
        "/evidence/reservations/0/entries/0/units/0",
        lambda e: e["reservations"][0]["entries"][0]["units"].__setitem__(0, 2),
    ),
    ("/evidence/reservations/5", lambda e: e["reservations"].pop()),
    (
        "/evidence/approvals/0/decided_by",
        lambda e: e["approvals"][0].update(decided_by=e["approvals"][0]["id"]),
    ),
    ("/evidence/approvals/1", lambda e: e["approvals"].pop()),
    (
        "/evidence/reservations/6/id",
        lambda e: e["reservations"].append(e["reservations"][0]),
    ),
]


@pytest.mark.parametrize(
    ("pointer", "change"), FORGED_FACTS, ids=[each[0] for each in FORGED_FACTS]
)
def test_a_fact_that_the_ledger_holds_is_found_whoever_signed_the_report(
    pointer: str, change: Callable[[Document], object]
) -> None:
    assert pointer_of(rebuilt(change)) == pointer


def test_a_price_that_the_ledger_did_not_charge_by_is_found() -> None:
    def halve(evidence: Document) -> None:
        price = next(iter(evidence["prices"].values()))
        price["terms"][0]["nats"][0] = (0.5).hex()

    found = pointer_of(changed(lambda report: halve(report["evidence"])))
    assert found is not None
    assert found.startswith("/evidence/prices/")


# a figure or a verdict that was written by hand, with the ledger's own key
FORGED_FIGURES: list[tuple[str, Callable[[Document], object]]] = [
    (
        "/guarantee/proven_bound/budgets/0/consumed/epsilon",
        lambda r: r["guarantee"]["proven_bound"]["budgets"][0]["consumed"].update(epsilon="0.1"),
    ),
    ("/criteria/0/state", lambda r: r["criteria"][0].update(state="not_satisfied")),
    ("/criteria/30/note", lambda r: r["criteria"][30].update(note="all is well")),
    ("/status_counts/satisfied", lambda r: r["status_counts"].update(satisfied=48)),
    ("/footer", lambda r: r.update(footer="An audit opinion.")),
    ("/score", lambda r: r.update(score="100")),
    ("/criteria/48", lambda r: r["criteria"].append(r["criteria"][0])),
    ("/title", lambda r: r.pop("title")),
]


@pytest.mark.parametrize(
    ("pointer", "change"), FORGED_FIGURES, ids=[each[0] for each in FORGED_FIGURES]
)
def test_a_figure_that_does_not_follow_is_named_whoever_signed_the_report(
    pointer: str, change: Callable[[Document], object]
) -> None:
    assert pointer_of(changed(change)) == pointer


def test_what_no_ledger_knows_is_covered_by_the_signature_alone() -> None:
    def more_purposes(evidence: Document) -> None:
        evidence["dataset"]["description"]["purpose"] = "anything"

    # with the ledger's key in wrong hands nothing is left to find it by, and the check says so
    assert pointer_of(rebuilt(more_purposes)) is None

    evidence: Any = copy.deepcopy(honest().evidence)
    more_purposes(evidence)
    unsigned = build(evidence)
    integrity = json.loads(honest().report)["integrity"]
    unsigned["integrity"] |= {key: integrity[key] for key in ("signature", "signed_by")}
    assert pointer_of(canonical_bytes(unsigned)) == "/integrity/signature"


def test_a_sentence_that_nobody_signed_so_is_found_whoever_signed_the_report() -> None:
    def reword(evidence: Document) -> None:
        evidence["attestations"][1]["statement"] = "There is no other release at all."

    assert pointer_of(rebuilt(reword)) == "/evidence/attestations/1/signature"


def test_a_key_inside_the_report_proves_nothing() -> None:
    def by_forger(message: bytes) -> str:
        return base64.b64encode(FOREIGN.sign(message)).decode()

    foreign = sha256(raw_public(FOREIGN)).hexdigest()
    forged = canonical_bytes(signed(json.loads(honest().report), by_forger, foreign))
    assert pointer_of(forged) == "/integrity/signed_by"
    named = canonical_bytes(signed(json.loads(honest().report), by_forger, FINGERPRINT))
    assert pointer_of(named) == "/integrity/signature"
    other = verify_report(honest().report, honest().bundle, raw_public(FOREIGN))
    assert other.difference is not None
    assert other.difference.pointer.startswith("the bundle")


def test_digits_of_a_signature_that_nothing_reads_are_read_too() -> None:
    document = json.loads(honest().report)
    text = document["integrity"]["signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(text[-3]) ^ 1]
    document["integrity"]["signature"] = f"{text[:-3]}{last}=="
    assert pointer_of(canonical_bytes(document)) == "/integrity/signature"


def test_hashes_that_cover_nothing_are_found() -> None:
    for key in ("evidence_sha256", "content_sha256", "hash_first", "hash_last"):
        document = json.loads(honest().report)
        document["integrity"][key] = "1" * 64
        forged = canonical_bytes(signed(document, sign, FINGERPRINT))
        assert pointer_of(forged) == f"/integrity/{key}"
    assert pointer_of(changed(lambda r: r.update(report_id="0" * 32))) == "/report_id"
    assert content_sha256(json.loads(honest().report)) == content_sha256(build(honest().evidence))


def test_evidence_of_which_nothing_can_be_computed_is_a_difference_and_no_crash() -> None:
    for change in (
        lambda r: r["evidence"].update(budgets=None),
        lambda r: r["evidence"].pop("service"),
        lambda r: r["evidence"]["dataset"]["document"].update(unit_of_privacy="x"),
        lambda r: r["evidence"]["ledger"].update(chains=[{}]),
    ):
        assert pointer_of(changed(change)) is not None


def test_another_form_or_version_is_refused_before_anything_is_believed() -> None:
    document = json.loads(honest().report)
    spaced = json.dumps(document, indent=1).encode()
    assert pointer_of(spaced) == ""
    assert pointer_of(honest().report + b"\n") is None
    assert pointer_of(changed(lambda r: r.update(schema_version="x"))) == "/schema_version"
    assert pointer_of(changed(lambda r: r.update(integrity=[]), is_signed=False)) == "/integrity"
    for raw in (b"", b"[]", b"\xff", b'{"a":1,"a":2}'):
        with pytest.raises(Unreadable):
            verify_report(raw, honest().bundle, TRUSTED)


def test_a_walk_names_the_first_place_and_tells_types_apart() -> None:
    walk = Walk()
    assert walk.whole({"a/b": [1, {"c": True}]}, {"a/b": [1, {"c": 1}]}, "") is not None
    found = walk.whole({"a/b": [1, {"c~": True}]}, {"a/b": [1, {"c~": 1}]}, "")
    assert found is not None
    assert found.pointer == "/a~1b/1/c~0"
    assert walk.whole({"a": []}, {"a": []}, "") is None
    assert walk.facts({"a": 1}, {"a": 1, "more": 2}, "") is None
