"""Section 7: what was run, as shapes of work that are alike, and each job by itself.

A report may rest on ten thousand jobs; what an evaluator compares is their mechanism, library,
sampler and noise. Jobs alike in all of these are one shape with a count. Every job is listed too.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from app.domain.ledger import document_sha256
from app.reporting.attested import in_force
from app.reporting.evidence import Evidence, JobEvidence, ReservationEvidence

TUNING: Final = "every run is a job of its own and charged; none is chosen for free (R28)"
OUTSIDE: Final = "outside tool"
LONGEST_PLAIN: Final = 12


def jobs(evidence: Evidence) -> dict[str, Any]:
    """The section as a JSON object."""
    by_id = {job["id"]: job for job in evidence["jobs"]}
    shapes: dict[str, dict[str, Any]] = {}
    listed = []
    for reservation in evidence["reservations"]:
        job = by_id.get(reservation["job"] or "")
        shape = _shape(reservation, job)
        name = document_sha256(shape)[:12]
        known = shapes.setdefault(
            name, {"shape": name, **shape, "count": 0, "started_units": 0, "max_units": 0}
        )
        known["count"] += 1
        known["started_units"] += sum(part["started_units"] for part in reservation["parts"])
        known["max_units"] += sum(part["max_units"] for part in reservation["parts"])
        listed.append(_listed(reservation, job, name))
    return {
        "count": len(evidence["jobs"]),
        "outside": sum(1 for each in evidence["reservations"] if each["is_outside"]),
        "shapes": list(shapes.values()),
        "listed": listed,
        "utility": _utility(evidence["jobs"]),
        "audits": [
            {"job": job["id"], "audit": job["result"]["audit"]}
            for job in evidence["jobs"]
            if job["result"] and job["result"].get("audit")
        ],
        "post_processing": _attested(evidence, "post_processing_rationale"),
        "group_effects": _attested(evidence, "group_effects"),
    }


def mechanism_text(mechanism: Mapping[str, Any]) -> str:
    """A mechanism's JSON form in one line: `poisson sampled (rate 0.05, of gaussian (...))`.

    Samplers are left out: `samplers_of` names them. Numbers keep their value and lose exponents
    where that is short.
    """
    inner = []
    nested = {key for key, value in mechanism.items() if isinstance(value, Mapping | list)}
    # by name, and what is inside last: not in the order of a document that was read back
    for key in sorted(set(mechanism) - {"type", "sampler"}, key=lambda key: (key in nested, key)):
        value = mechanism[key]
        if isinstance(value, Mapping):
            inner.append(f"{key} {mechanism_text(value)}")
        elif isinstance(value, list):
            inner.append(f"{key} {parts_text(value)}")
        else:
            inner.append(f"{key.replace('_', ' ')} {_number(value)}")
    name = str(mechanism.get("type", "mechanism")).replace("_", " ")
    return f"{name} ({', '.join(inner)})" if inner else name


def parts_text(mechanisms: Sequence[Mapping[str, Any]]) -> str:
    """Several mechanisms in one line; those that are alike with a count."""
    counts: dict[str, int] = {}
    for mechanism in mechanisms:
        text = mechanism_text(mechanism)
        counts[text] = counts.get(text, 0) + 1
    return "; ".join(text if n == 1 else f"{n} times {text}" for text, n in counts.items())


def samplers_of(mechanism: Mapping[str, Any]) -> set[str]:
    """The implementations that a mechanism names, of itself and of all within it."""
    found = {str(mechanism["sampler"])} if mechanism.get("sampler") else set()
    for value in mechanism.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                found |= samplers_of(each)
    return found


def _number(value: object) -> str:
    try:
        plain = format(Decimal(str(value)).normalize(), "f")
    except InvalidOperation:
        return str(value)
    return plain if len(plain) <= LONGEST_PLAIN else str(value)


def _shape(reservation: ReservationEvidence, job: JobEvidence | None) -> dict[str, Any]:
    spec: Mapping[str, Any] = {} if job is None else job["spec"]
    mechanisms = [part["mechanism"] for part in reservation["parts"]]
    return {
        "kind": OUTSIDE if job is None else job["kind"],
        "tool": reservation["tool"],
        "mechanisms": mechanisms,
        "mechanism_text": parts_text(mechanisms),
        "converted_from": [part["stated"] for part in reservation["parts"] if "stated" in part],
        "samplers": sorted(set().union(*(samplers_of(each) for each in mechanisms))),
        "sampling": spec.get("sampling"),
        "clip": spec.get("clip"),
        "noise": spec.get("noise"),
        "steps": spec.get("steps"),
        "tuning": TUNING if job is not None and job["kind"] == "train" else None,
    }


def _listed(
    reservation: ReservationEvidence, job: JobEvidence | None, shape: str
) -> dict[str, Any]:
    return {
        "reservation": reservation["id"],
        "job": reservation["job"],
        "shape": shape,
        "kind": OUTSIDE if job is None else job["kind"],
        "purpose": None if job is None else job["purpose"],
        "state": reservation["state"],
        "job_state": None if job is None else job["state"],
        "failure_code": None if job is None else job["failure_code"],
        "max_units": sum(part["max_units"] for part in reservation["parts"]),
        "started_units": sum(part["started_units"] for part in reservation["parts"]),
        "created_at": reservation["created_at"],
        "resolved_at": reservation["resolved_at"],
        "entries": len(reservation["entries"]),
    }


def _utility(all_jobs: Sequence[JobEvidence]) -> list[dict[str, Any]]:
    """What was released on accuracy: half-widths of queries, accuracy on a public set of runs."""
    found = []
    for job in all_jobs:
        result = job["result"] or {}
        measures = result.get("measures", [])
        accuracy = result.get("test_accuracy")
        if measures or accuracy is not None:
            found.append(
                {
                    "job": job["id"],
                    "kind": job["kind"],
                    "measures": len(measures),
                    "with_half_width_95": sum(1 for each in measures if each["has_half_width"]),
                    "test_accuracy": accuracy,
                    "notes": result.get("notes", []),
                }
            )
    return found


def _attested(evidence: Evidence, kind: Any) -> list[dict[str, Any]]:
    return [
        {
            "attestation": each["id"],
            "statement": each["statement"],
            "facts": each["facts"],
            "person_name": each["person_name"],
            "made_at": each["made_at"],
        }
        for each in in_force(evidence, kind)
    ]
