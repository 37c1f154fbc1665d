"""Blocks of a scope: which of them a job is charged to, and how a charge moves them (R8).

Steps on budget rows that their caller has locked. Every charge of a scope with blocks names them
in its entry, so that the chain alone gives back what each block holds (L4).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow
from app.domain.accounting.block_sums import BlockSums
from app.domain.partitions import Ranges, ranges_from_json, ranges_to_json
from app.domain.privacy import Loss


def sums_of_new(dataset: DatasetRow) -> BlockSums | None:
    """What a new scope of a dataset begins with: blocks that hold nothing, where there are any."""
    return BlockSums.empty() if "blocks" in dataset.document else None


def partition_facts(session: Session, budget: Budget) -> dict[str, Any]:
    """What the first entry of a scope with blocks says of them, so that a replay knows."""
    if budget.block_sums is None:
        return {}
    dataset = session.get_one(DatasetRow, budget.dataset_id)
    return {"partition": dataset.document["blocks"]}


def ranges_in(inputs: Sequence[Mapping[str, Any]], budget: Budget) -> Ranges | None:
    """The blocks of a scope that stored inputs name; None where the scope has no blocks."""
    if budget.block_sums is None:
        return None
    named = next(each for each in inputs if each["dataset_id"] == str(budget.dataset_id))
    return ranges_from_json(named["blocks"])


def facts(ranges: Ranges | None) -> dict[str, Any]:
    """What the entry of a charge says of its blocks."""
    return {} if ranges is None else {"blocks": ranges_to_json(ranges)}


def reserve(budget: Budget, loss: Loss, ranges: Ranges | None) -> None:
    """Hold a loss, whole in each of some blocks and once in the plain sum."""
    budget.reserved = budget.reserved + loss
    if budget.block_sums is not None and ranges is not None:
        budget.block_sums = budget.block_sums.reserve(loss, ranges)


def resolve(budget: Budget, held: Loss, charge: Loss, ranges: Ranges | None) -> None:
    """Free what was held and commit what was started of it.

    Raises:
        ValueError: more is freed than was held.
    """
    budget.reserved = budget.reserved - held
    budget.committed = budget.committed + charge
    if budget.block_sums is not None and ranges is not None:
        budget.block_sums = budget.block_sums.resolve(held, charge, ranges)


def post(budget: Budget, charge: Loss, ranges: Ranges | None) -> None:
    """Commit a charge that was never held."""
    budget.committed = budget.committed + charge
    if budget.block_sums is not None and ranges is not None:
        budget.block_sums = budget.block_sums.post(charge, ranges)
