"""Published deployments that may stand beside the lifetime figure, and why the others may not.

All of them follow by unit, for who wants to read on; no group stands beside another.
"""

from collections.abc import Mapping
from typing import Any

from app.reporting.deployments import OwnFigure, by_unit, compare, own_unit, together
from app.reporting.evidence import Evidence


def comparisons(evidence: Evidence, guarantee: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section as a JSON object; None where there is no lifetime figure to compare.

    Args:
        evidence: all records.
        guarantee: section 5 of the same evidence.
    """
    life = guarantee["lifetime"]
    if life is None:
        return None
    document = evidence["dataset"]["document"]
    period = (document.get("blocks") or {}).get("period")
    own = OwnFigure(
        unit=own_unit(document["unit_of_privacy"]["kind"], period),
        relation=document["relation"],
        # the service holds the rows while it computes, whatever else the owner says
        model="central",
        epsilon=life["consumed"]["epsilon"],
        delta=life["consumed"]["delta"],
    )
    return {**compare(own), "together": together(), "published": by_unit()}
