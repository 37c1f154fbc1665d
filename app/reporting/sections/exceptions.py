"""Section 9: what did not hold, and who decided what about it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.reporting.evidence import ApprovalEvidence, Evidence

OPEN_STATES: Final = ("not_satisfied", "partly_satisfied")


def exceptions(evidence: Evidence, findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every criterion that did not hold, and every overriding decision, each with its record.

    Owner, due date and decision are those of the approval that names a decision; the service keeps
    no register of remedies, so elsewhere they are null and a report says that none is recorded.
    """
    open_findings = [
        {
            "about": f"criterion:{finding['id']}",
            "title": finding["title"],
            "state": finding["state"],
            "observed": finding["observed"],
            "owner": None,
            "due": None,
            "decision": None,
            "evidence": list(finding["evidence"]),
        }
        for finding in findings
        if finding["state"] in OPEN_STATES
    ]
    return [*open_findings, *_faults(evidence), *_alarms(evidence), *_overrides(evidence)]


def _decided(approval: ApprovalEvidence) -> str:
    said = f"decided by {approval['decided_by']} at {approval['decided_at']}"
    return f"{said} on behalf of {approval['on_behalf_of']}" if "on_behalf_of" in approval else said


def _faults(evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {
            "about": f"entry:{fault['budget']}:{fault['seq']}",
            "title": "The replay of a chain found a fault",
            "state": "not_satisfied",
            "observed": fault["reason"],
            "owner": None,
            "due": None,
            "decision": None,
            "evidence": [f"entry:{fault['budget']}:{fault['seq']}"],
        }
        for fault in evidence["ledger"]["faults"]
    ]


def _alarms(evidence: Evidence) -> list[dict[str, Any]]:
    """Emergencies that are not over: they stand here until two people have thawed the root."""
    return [
        {
            "about": f"budget:{budget['id']}",
            "title": "An emergency (break-glass) has frozen this budget",
            "state": "open",
            "observed": alarm["reason"],
            "owner": alarm["by"],
            "due": None,
            "decision": f"frozen by {alarm['by']} at {alarm['at']}; nobody has thawed it yet",
            "evidence": [f"entry:{budget['id']}:{alarm['seq']}"],
        }
        for budget in evidence["budgets"]
        for alarm in [budget.get("break_glass")]
        if alarm is not None
    ]


def _overrides(evidence: Evidence) -> list[dict[str, Any]]:
    """Limits that were raised: each is a decision of two people, with its reason (R5, R19)."""
    return [
        {
            "about": f"approval:{each['id']}",
            "title": f"A decision of two people: {each['action'].replace('_', ' ')}",
            "state": each["state"],
            "observed": each["reason"],
            "owner": each["requested_by"],
            "due": None,
            "decision": _decided(each),
            "evidence": [f"approval:{each['id']}"],
        }
        for each in evidence["approvals"]
        if each["state"] == "used" and each["action"] in ("raise", "thaw", "restore")
    ]
