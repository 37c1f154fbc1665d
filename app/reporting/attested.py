"""Which attestations count at the time of a report: neither over nor taken back (L9).

A report has no clock: they are judged at `as_of`, the time of the checkpoint. Times are UTC texts
of one form, so that their order is that of their characters.
"""

from app.domain.attestations import AttestationKind
from app.reporting.evidence import AttestationEvidence, Evidence


def standing(attestation: AttestationEvidence, as_of: str) -> str:
    """`in force`, `expired` or `revoked` at a time."""
    revoked = attestation["revoked_at"]
    if revoked is not None and revoked <= as_of:
        return "revoked"
    return "expired" if attestation["expires_at"] <= as_of else "in force"


def in_force(evidence: Evidence, kind: AttestationKind) -> list[AttestationEvidence]:
    """Those of one kind that count at `as_of`, oldest first."""
    found = [
        each
        for each in evidence["attestations"]
        if each["kind"] == kind and standing(each, evidence["as_of"]) == "in force"
    ]
    return sorted(found, key=lambda each: (each["made_at"], each["id"]))
