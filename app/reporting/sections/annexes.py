"""Section 12: words, formulas, how to check, and the same results in two common shapes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from app.reporting.evidence import Evidence
from app.reporting.sections.guarantee import FORMULAS, GROUP_FORMULA, RATE_FORMULA

_NAMES: Final = UUID("5f0e7f5c-4d0c-5b1c-9a43-6d7c0c2f3f10")

GLOSSARY: Final[tuple[tuple[str, str], ...]] = (
    ("Adjacency", "Which two datasets count as neighbours: the neighbouring relation."),
    ("Budget", "A limit on privacy loss, with the account of what was spent of it."),
    ("Checkpoint", "A signed statement of where every chain of the ledger stood at one time."),
    ("Consumed", "The least epsilon at which all that was charged and is reserved still passes."),
    ("Delta", "The probability with which the bound by epsilon may fail altogether."),
    ("Entry", "One row of the ledger; it is never edited, and names the hash of the one before."),
    ("Epsilon", "The bound on privacy loss: e^epsilon is the most by which odds can change."),
    ("If fixed in advance", "A figure of a plan whose slots were frozen before its first output."),
    ("Lifetime", "All that was ever charged to a dataset; nothing resets it."),
    ("Nominal size", "The public size that was declared; the true count is private."),
    ("Proven bound", "A figure that holds for any order of jobs, chosen in view of all results."),
    ("Reservation", "What a piece of work may spend at most; voided only before rows are read."),
    ("Unit of privacy", "What is protected: a record, all of one user, or one user's period."),
    ("Window", "A limit on what may start in one calendar period; lifetimes go on beside it."),
)
STEPS: Final = (
    "Check the signature of this report over the tag and its canonical bytes without the field"
    " integrity.signature, with a public key that was handed over by another way.",
    "Compare integrity.evidence_sha256 with the hash of the field evidence, and"
    " integrity.content_sha256 with that of all sections.",
    "Export a bundle of the ledger, check its checkpoint with the same key, and replay each chain:"
    " the heads have to be those of section 6.",
    "Recompute section 5 from the exact sums of each chain and its policy, and every automatic"
    " criterion of section 8 from the evidence; the first figure that differs is the finding.",
    "Command: epsilon-ledger verify-report REPORT.json --bundle BUNDLE --public-key FILE",
)
PLAN: Final = (
    "Every criterion of the catalogue is judged by its rule from the records at a signed"
    " checkpoint; the rule stands with each finding."
)
CATALOGUE: Final = (
    "The criteria of this service, app/reporting/data/nist-criteria.json, structured on the draft"
    " of NIST SP 800-226 of December 2023. It is no catalogue of NIST's."
)
FLAVOURS: Final[Mapping[str, str]] = {
    "rdp-mix/1": "approximate differential privacy, tracked as Renyi DP",
    "gdp/1": "approximate differential privacy, tracked as Gaussian DP",
    "basic/1": "approximate differential privacy",
    "pure/1": "pure differential privacy",
}
OSCAL_STATES: Final = {"satisfied": "satisfied", "not_satisfied": "not-satisfied"}


def annexes(
    evidence: Evidence, findings: Sequence[Mapping[str, Any]], guarantee: Mapping[str, Any]
) -> dict[str, Any]:
    """The section as a JSON object.

    Args:
        evidence: all records.
        findings: of the criteria.
        guarantee: section 5 of the same evidence.
    """
    return {
        "glossary": [{"term": term, "meaning": meaning} for term, meaning in GLOSSARY],
        "formulas": [
            *({"name": name, "text": text} for name, text in FORMULAS.items()),
            {"name": "group of k units", "text": GROUP_FORMULA},
            {"name": "true positives at false-positive rate f", "text": RATE_FORMULA},
        ],
        "verification_steps": list(STEPS),
        "oscal": oscal(evidence, findings),
        "registry_record": registry_record(evidence, guarantee),
        "change_history": _history(evidence),
    }


def oscal(evidence: Evidence, findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results in the shape of OSCAL assessment-results; the catalogue is our own.

    Only `satisfied` and `not_satisfied` have a target state there. Every other state is an
    observation with a property, so that nothing is turned into a pass on the way.
    """
    at, dataset = evidence["as_of"], evidence["dataset"]["id"]

    def named(what: str) -> str:
        return str(uuid5(_NAMES, f"{dataset} {evidence['ledger']['checkpoint_hash']} {what}"))

    observations = [
        {
            "uuid": named(f"observation {finding['id']}"),
            "title": finding["title"],
            "description": finding["observed"] or finding["note"] or finding["rule"],
            "props": [{"name": "state", "value": finding["state"]}],
            "methods": [_method(finding["method"])],
            "relevant-evidence": [{"description": each} for each in finding["evidence"]],
            "collected": at,
        }
        for finding in findings
    ]
    targets = [
        {
            "uuid": named(f"finding {finding['id']}"),
            "title": finding["title"],
            "description": finding["rule"],
            "target": {
                "type": "objective-id",
                "target-id": finding["id"],
                "status": {"state": OSCAL_STATES[finding["state"]]},
            },
            "related-observations": [{"observation-uuid": named(f"observation {finding['id']}")}],
        }
        for finding in findings
        if finding["state"] in OSCAL_STATES
    ]
    return {
        "assessment-results": {
            "uuid": named("assessment-results"),
            "metadata": {
                "title": "Self-assessment of a privacy budget",
                "last-modified": at,
                "version": "1",
                "oscal-version": "1.1.3",
                "remarks": "shaped after OSCAL; the catalogue is the service's own, not NIST's",
            },
            "import-ap": {"href": f"#{named('plan')}"},
            "results": [
                {
                    "uuid": named("result"),
                    "title": "Criteria at the checkpoint",
                    "description": "every criterion of section 8",
                    "start": at,
                    "reviewed-controls": {
                        "control-selections": [
                            {"include-controls": [{"control-id": each["id"]} for each in findings]}
                        ]
                    },
                    "observations": observations,
                    "findings": targets,
                }
            ],
            "back-matter": {
                "resources": [
                    {"uuid": named("plan"), "title": "Plan", "description": PLAN},
                    {"uuid": named("catalogue"), "title": "Catalogue", "description": CATALOGUE},
                ]
            },
        }
    }


def registry_record(evidence: Evidence, guarantee: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the fields that a public registry of deployments asks for.

    Its figures are those of section 5: an epsilon stands beside the delta at which it is proven.
    """
    dataset = evidence["dataset"]
    document, said = dataset["document"], dataset["description"]
    unit = document.get("unit_of_privacy") or {}
    root = next((each for each in evidence["budgets"] if each["parent_id"] is None), None)
    life = guarantee["lifetime"]
    return {
        "status": "draft",
        "tier": "self-declared",
        "name": dataset["name"],
        "data_domain": said.get("purpose"),
        "dp_flavor": {
            "name": None if root is None else FLAVOURS.get(root["accountant"]),
            "model": said.get("trust_model"),
            "unprotected_quantities": "schema, declared bounds, public domains, nominal size",
        },
        "privacy_loss": {
            "unit": unit.get("kind"),
            "unit_description": unit.get("column"),
            "bound_neighbors": document.get("relation"),
            "limit": None if life is None else life["limit"],
            "consumed": None if life is None else life["consumed"],
            "period": "lifetime",
        },
        "actors": {"raw": said.get("raw_viewers") or [], "curator": "Epsilon Ledger service"},
        "release_type": "interactive",
        "composition": None if root is None else root["accountant"],
        "mechanisms": sorted(
            {
                str(part["mechanism"].get("type"))
                for each in evidence["reservations"]
                for part in each["parts"]
            }
        ),
        "post_processing": "see section 7",
        "tuning": "every run charged",
        "justification": None if root is None else root["reason"] or None,
        "as_of": evidence["as_of"],
    }


def _method(method: str) -> str:
    """OSCAL knows examine, interview and test; a recomputation is a test."""
    return {"recompute": "TEST"}.get(method, method.upper())


def _history(evidence: Evidence) -> list[dict[str, Any]]:
    """When scopes were opened and limits moved, oldest first."""
    found = [
        {"date": each["opened_at"][:10], "what": f"{each['kind']} {each['name']} opened"}
        for each in evidence["budgets"]
        if each["opened_at"] is not None
    ]
    found += [
        {
            "date": str(change["date"]),
            "what": f"limit of {each['name']} {change['kind']} from {change['from']['epsilon']}"
            f" to {change['to']['epsilon']}",
        }
        for each in evidence["budgets"]
        for change in each["limit_changes"]
    ]
    return sorted(found, key=lambda each: (each["date"], each["what"]))
