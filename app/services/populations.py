"""A population: the same people in several datasets, and what all of these may lose together (R18).

Each dataset's root bounds what is learnt from that dataset. A person who is in all of them can
lose at most the sum, by basic composition: epsilons add, and deltas add. It adds up only where one
person is one unit everywhere, so sums are given per unit and relation and never across them (L8).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow
from app.db.session import SessionMaker, snapshot
from app.domain.datasets import dataset_from_json
from app.domain.decimals import decimal_text
from app.domain.errors import NotFound
from app.services import access, policies
from app.services.access import Caller
from app.services.sources import WITHDRAWN

# enough for any sum of limits and shown amounts to be exact
SUM_DIGITS = 100
NOTE = (
    "One person who is in several of these datasets can lose at most the sum. Sums are over"
    " datasets of one unit and one relation; where the unit is a record, they bound one record of"
    " each dataset and not a person who has several."
)


@dataclass(frozen=True, slots=True)
class Populations:
    """Use cases on populations."""

    make_session: SessionMaker

    def get(self, caller: Caller, name: str) -> dict[str, Any]:
        """The private datasets of a population, their roots, and the worst-case sums.

        Raises:
            NotFound: no private dataset names this population.
        """
        access.require_role(caller, "compliance_officer", "auditor", action="read populations")
        with snapshot(self.make_session) as session:
            rows = session.scalars(
                select(DatasetRow)
                .where(
                    DatasetRow.population == name,
                    DatasetRow.access == "private",
                    DatasetRow.source_fingerprint.not_like(f"{WITHDRAWN}%"),
                )
                .order_by(DatasetRow.created_at, DatasetRow.id)
            ).all()
            if not rows:
                raise NotFound("population", name)
            datasets = [_dataset_json(session, row) for row in rows]
        return {"name": name, "datasets": datasets, "sums": _sums(datasets), "note": NOTE}


def _dataset_json(session: Session, row: DatasetRow) -> dict[str, Any]:
    unit = dataset_from_json(row.document, id=str(row.id)).unit
    root = session.scalars(
        select(Budget).where(
            Budget.dataset_id == row.id,
            Budget.kind == "lifetime",
            Budget.opened_at.is_not(None),
        )
    ).one_or_none()
    balances = None if root is None else policies.balances(root)
    delta = None
    if root is not None:
        held = policies.held_by_worst(root)
        delta = policies.bound_delta(policies.policy_of(root), held.delta_atto)
    return {
        "dataset_id": str(row.id),
        "name": row.name,
        "state": row.state,
        "unit": "record" if unit is None else unit.kind,
        "relation": row.relation,
        "budget_id": None if root is None else str(root.id),
        "limit": None if balances is None else balances["limit"],
        "consumed": None
        if balances is None
        else {"epsilon": balances["consumed"]["epsilon"], "delta": delta},
    }


def _sums(datasets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in datasets:
        if each["limit"] is not None:
            groups.setdefault((each["unit"], each["relation"]), []).append(each)
    return [
        {
            "unit": unit,
            "relation": relation,
            "datasets": len(group),
            "limit": _sum([each["limit"] for each in group]),
            "consumed": _sum([each["consumed"] for each in group]),
        }
        for (unit, relation), group in sorted(groups.items())
    ]


def _sum(amounts: Sequence[dict[str, str]]) -> dict[str, str]:
    with localcontext(prec=SUM_DIGITS):
        total = {
            key: sum((Decimal(amount[key]) for amount in amounts), Decimal(0))
            for key in ("epsilon", "delta")
        }
        return {
            key: decimal_text(value) if value.is_finite() else "Infinity"
            for key, value in total.items()
        }
