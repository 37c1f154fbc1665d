"""Section 4: the data, its unit, who sees what, and what was released of it (R17, R18)."""

from collections.abc import Mapping
from typing import Any, Final

from app.reporting.attested import in_force
from app.reporting.evidence import Evidence

# Said of every dataset of the service, wherever a job releases something beside its results.
UNPROTECTED: Final = (
    "the schema, declared bounds and public domains of the columns",
    "the declared nominal size; the true count of units is private and in no record",
    "purposes, parameters and times of jobs, and when each settled or failed (R13)",
    "what is true of people in general, whether one unit is in the data or not",
)
QUERY_MODEL: Final = (
    "interactive: each request is priced and admitted before a row is read, or refused at no charge"
)


def system(evidence: Evidence) -> dict[str, Any]:
    """The section as a JSON object."""
    dataset = evidence["dataset"]
    document, said = dataset["document"], dataset["description"]
    return {
        "dataset": {
            "id": dataset["id"],
            "name": dataset["name"],
            "state": dataset["state"],
            "access": dataset["access"],
            "registered_at": dataset["registered_at"],
            "versions": dataset["versions"],
        },
        "purpose": said.get("purpose"),
        "retention": said.get("retain_until"),
        "data_domain": [_column(each) for each in document.get("columns", [])],
        "modality": _modality(document),
        "size": {
            "nominal_size": document.get("nominal_size"),
            "n_class": _n_class(document.get("nominal_size")),
            "note": "declared in public; the true count is private (R17)",
        },
        "unit": document.get("unit_of_privacy"),
        "relation": document.get("relation"),
        "blocks": document.get("blocks"),
        "population": {
            "name": dataset["population"],
            "datasets": dataset["population_datasets"],
        },
        "technique": {
            "technique_class": "randomisation: noise added before release",
            "model_name": "differential privacy",
        },
        "trust_model": said.get("trust_model"),
        "parties": _parties(evidence),
        "query_model": QUERY_MODEL,
        "kinds_of_work": _kinds(evidence),
        "releases": _releases(evidence),
        "unprotected_quantities": list(UNPROTECTED),
        "service": {
            "version": evidence["service"]["version"],
            "query_sampler": evidence["service"]["query_sampler"],
            "training_sampler": evidence["service"]["training_sampler"],
            "key_source": evidence["service"]["key_source"],
            "runs_analyst_code": evidence["service"]["runs_analyst_code"],
            "libraries": [
                {"name": name, "version": version}
                for name, version in sorted(evidence["service"]["libraries"].items())
            ],
        },
    }


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    bounds = column.get("bounds")
    return {
        "name": column["name"],
        "type": column["type"],
        "shape": column.get("shape"),
        "bounds": bounds,
        "keys": column.get("keys"),
        "domain_values": len(column["domain"]) if isinstance(column.get("domain"), list) else None,
        "domain_source": column.get("domain_source"),
    }


def _modality(document: Mapping[str, Any]) -> str:
    shaped = any(column.get("shape") for column in document.get("columns", []))
    return "tabular, with arrays" if shaped else "tabular"


def _n_class(size: int | None) -> str | None:
    """A band of ten: 10^3 to 10^4 and so on."""
    if size is None or size < 1:
        return None
    power = len(str(size)) - 1
    return f"10^{power} to 10^{power + 1}"


def _parties(evidence: Evidence) -> dict[str, Any]:
    """Who sees raw rows and who sees noised results, as declared and as attested."""
    viewers = evidence["dataset"]["description"].get("raw_viewers") or []
    attested = in_force(evidence, "trust_parties")
    return {
        "sees_raw": list(viewers),
        "sees_noised": ["those who may read a job's result; the service names them by role"],
        "attested": [
            {
                "attestation": each["id"],
                "statement": each["statement"],
                "facts": each["facts"],
                "expires_at": each["expires_at"],
            }
            for each in attested
        ],
    }


def _kinds(evidence: Evidence) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for job in evidence["jobs"]:
        counts[job["kind"]] = counts.get(job["kind"], 0) + 1
    outside = sum(1 for each in evidence["reservations"] if each["is_outside"])
    if outside:
        counts["outside tool"] = outside
    return [{"kind": kind, "count": count} for kind, count in sorted(counts.items())]


def _releases(evidence: Evidence) -> dict[str, Any]:
    """Releases of the service by state, and those that were declared beside it."""
    states: dict[str, int] = {}
    for each in evidence["reservations"]:
        states[each["state"]] = states.get(each["state"], 0) + 1
    declared = in_force(evidence, "other_releases")
    return {
        "of_the_service": [{"state": state, "count": states[state]} for state in sorted(states)],
        "declared": [
            {"attestation": each["id"], **release}
            for each in declared
            for release in each["facts"].get("releases", [])
        ],
        "declaration": [each["id"] for each in declared],
        "note": (
            "releases outside differential privacy are known from a signed declaration alone"
            if declared
            else "nobody has declared which other releases there are"
        ),
    }
