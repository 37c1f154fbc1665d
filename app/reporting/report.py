"""A report: one canonical JSON document, a pure function of the evidence that it carries.

No clock, no random number and no setting enters: the same ledger head gives the same bytes, and
whoever holds the report can build it again from its own `evidence` and compare. The order of the
sections is that of the page: cover, statements, assertion, system, guarantee, ledger, jobs,
criteria, exceptions, frameworks, limits, annexes. There is no total score.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from app.domain.ledger import canonical_bytes
from app.reporting.attested import in_force, standing
from app.reporting.criteria import evaluate
from app.reporting.evidence import Evidence
from app.reporting.frameworks import frameworks
from app.reporting.sections.annexes import annexes
from app.reporting.sections.comparisons import comparisons
from app.reporting.sections.exceptions import exceptions
from app.reporting.sections.guarantee import guarantee
from app.reporting.sections.jobs import jobs
from app.reporting.sections.ledger import ledger
from app.reporting.sections.limits import limits
from app.reporting.sections.system import system
from app.reporting.statements import FOOTER, report_statements

SCHEMA_VERSION: Final = "epsilon-ledger/report/1"
TITLE: Final = "Differential-privacy evaluation (self-assessment structured on NIST SP 800-226)"
SIGNATURE_TAG: Final = b"epsilon-ledger/report-signature/1\n"
ID_TAG: Final = b"epsilon-ledger/report-id/1\n"
EDITION: Final = {
    "source": "NIST SP 800-226, initial public draft",
    "source_edition": "ipd, December 2023",
    "section_numbers": "those of the December 2023 draft",
    "final_edition": "6 March 2025, not read in full; notes on it stand with each criterion",
    "as_of": "2026-11-22",
}
STATES: Final = (
    "satisfied",
    "not_satisfied",
    "partly_satisfied",
    "attested",
    "not_evaluated",
    "not_applicable",
)
OUTSIDE_CONTENT: Final = ("evidence", "integrity")


def build(evidence: Evidence) -> dict[str, Any]:
    """The report of some evidence, without a signature.

    Returns:
        A document of strings, whole numbers, booleans, null, lists and objects. It shares objects
        with the evidence: read it, or copy it before changing it.
    """
    evidence_sha256 = _sha256(b"", evidence)
    section = guarantee(evidence)
    beside = comparisons(evidence, section)
    findings = evaluate(evidence, beside)
    statements = report_statements(evidence, findings, section)
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "report_id": _sha256(ID_TAG, evidence_sha256)[:32],
        "title": TITLE,
        "edition": dict(EDITION),
        "scope": _scope(evidence),
        "period": _period(evidence),
        "as_of": evidence["as_of"],
        "status_counts": status_counts(findings),
        "statements": statements,
        "assertion": _assertion(evidence),
        "attestations": _attestations(evidence),
        "system": system(evidence),
        "guarantee": section,
        "ledger": ledger(evidence),
        "jobs": jobs(evidence),
        "criteria": list(findings),
        "exceptions": exceptions(evidence, findings),
        "frameworks": [],
        "comparisons": beside,
        "limits": limits(evidence, findings, statements),
        "annexes": annexes(evidence, findings, section),
        "footer": FOOTER,
        "evidence": evidence,
        "integrity": _integrity(evidence, evidence_sha256),
    }
    report["frameworks"] = frameworks(report)
    report["integrity"]["content_sha256"] = content_sha256(report)
    return report


def content_sha256(report: Mapping[str, Any]) -> str:
    """The hash of all sections: everything but the evidence, which has its own, and this object."""
    return _sha256(b"", {key: report[key] for key in report if key not in OUTSIDE_CONTENT})


def signed(
    report: Mapping[str, Any], sign: Callable[[bytes], str], signed_by: str
) -> dict[str, Any]:
    """The report with a signature over all the rest of it.

    Args:
        report: as `build` made it.
        sign: gives the base64 of an Ed25519 signature over some bytes.
        signed_by: the SHA-256 of the public key, which is covered by the signature.
    """
    named = {**report, "integrity": {**report["integrity"], "signed_by": signed_by}}
    signature = sign(signing_bytes(named))
    return {**named, "integrity": {**named["integrity"], "signature": signature}}


def signing_bytes(report: Mapping[str, Any]) -> bytes:
    """What a report's signature is over: a tag, and the canonical bytes without the signature."""
    integrity = {**report["integrity"], "signature": None}
    return SIGNATURE_TAG + canonical_bytes({**report, "integrity": integrity})


def status_counts(findings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many criteria are in each state, every state named; never one number for all."""
    return {state: sum(1 for each in findings if each["state"] == state) for state in STATES}


def _sha256(tag: bytes, document: object) -> str:
    return hashlib.sha256(tag + canonical_bytes(document)).hexdigest()


def _scope(evidence: Evidence) -> dict[str, Any]:
    dataset = evidence["dataset"]
    return {
        "dataset": {"id": dataset["id"], "name": dataset["name"]},
        "budgets": [
            {
                "id": each["id"],
                "name": each["name"],
                "kind": each["kind"],
                "state": each["state"],
                "parent_id": each["parent_id"],
            }
            for each in evidence["budgets"]
        ],
    }


def _period(evidence: Evidence) -> dict[str, str]:
    """From the opening of the first chain to the checkpoint."""
    opened = [each["opened_at"] for each in evidence["budgets"] if each["opened_at"] is not None]
    return {
        "from": min(opened, default=evidence["dataset"]["registered_at"]),
        "to": evidence["as_of"],
    }


def _attestations(evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {**each, "standing": standing(each, evidence["as_of"])}
        for each in sorted(evidence["attestations"], key=lambda each: (each["kind"], each["id"]))
    ]


def _assertion(evidence: Evidence) -> dict[str, Any] | None:
    """The management assertion in force, the latest of them; None where nobody gave one."""
    given = in_force(evidence, "management_assertion")
    return {**given[-1]} if given else None


def _integrity(evidence: Evidence, evidence_sha256: str) -> dict[str, Any]:
    record = evidence["ledger"]
    root = next((each for each in evidence["budgets"] if each["parent_id"] is None), None)
    return {
        "evidence_sha256": evidence_sha256,
        "content_sha256": None,
        "hash_first": "0" * 64,
        "hash_last": None if root is None else root["head_hash"],
        "checkpoint": {"seq": record["checkpoint_seq"], "hash": record["checkpoint_hash"]},
        "signature": None,
        "signed_by": None,
    }
