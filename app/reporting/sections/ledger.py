"""Section 6: the chains that everything stands on, and what they say of decisions (L4, R5, R23)."""

from typing import Any

from app.reporting.evidence import Evidence


def ledger(evidence: Evidence) -> dict[str, Any]:
    """The section as a JSON object."""
    record, published = evidence["ledger"], _publications(evidence)
    return {
        "checkpoint": {
            "seq": record["checkpoint_seq"],
            "hash": record["checkpoint_hash"],
            "at": record["checkpoint_at"],
            "public_key_fingerprint": record["public_key_fingerprint"],
        },
        "chains": [
            {
                "budget": each["id"],
                "name": each["name"],
                "kind": each["kind"],
                "accountant": each["accountant"],
                "entries": each["entries"],
                "head_hash": each["head_hash"],
                "opened_at": each["opened_at"],
                "last_entry_at": each["last_entry_at"],
                "by_kind": each["by_kind"],
            }
            for each in evidence["budgets"]
        ],
        "entries": record["entries"],
        "by_kind": _by_kind(evidence),
        "replay": {
            "faults": record["faults"],
            "finding": (
                "every entry follows from the one before it and every balance from the entries"
                if not record["faults"]
                else "the replay stopped at the faults that are listed"
            ),
        },
        "released_reservations": _released(evidence),
        "refusals": evidence["refusals"],
        "changes": _changes(evidence),
        "openings": [
            {"budget": each["id"], "date": opening["date"]}
            for each in evidence["budgets"]
            for opening in each["openings"]
        ],
        "approvals": evidence["approvals"],
        **({"publications": published} if published else {}),
    }


def _by_kind(evidence: Evidence) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for budget in evidence["budgets"]:
        for kind, count in budget["by_kind"].items():
            counts[kind] = counts.get(kind, 0) + count
    return [{"kind": kind, "count": counts[kind]} for kind in sorted(counts)]


def _released(evidence: Evidence) -> dict[str, Any]:
    """Reservations that were voided: only before the first unit was on record as started (L6)."""
    voided = [each for each in evidence["reservations"] if each["state"] == "voided"]
    touched = [each["id"] for each in voided if each["touched_at"] is not None]
    return {
        "count": len(voided),
        "of_outside_tools": sum(1 for each in voided if each["is_outside"]),
        "after_first_access": touched,
        "why": "released before any row was read; after that every unit started is charged (L6)",
    }


def _publications(evidence: Evidence) -> list[dict[str, Any]]:
    """Results that others may read, of every root that paid for them."""
    return [
        {"budget": budget["id"], **each}
        for budget in evidence["budgets"]
        for each in budget.get("publications", ())
    ]


def _changes(evidence: Evidence) -> list[dict[str, Any]]:
    """Limits that were moved, oldest first, and over all scopes (R5)."""
    found = [
        {
            "budget": budget["id"],
            "name": budget["name"],
            "kind": change["kind"],
            "date": change["date"],
            "from": change["from"],
            "to": change["to"],
        }
        for budget in evidence["budgets"]
        for change in budget["limit_changes"]
    ]
    return sorted(found, key=lambda each: (str(each["date"]), str(each["budget"])))
