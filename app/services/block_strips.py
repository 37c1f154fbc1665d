"""What each block of a budget has consumed, for a strip on a page (R8)."""

from typing import Any
from uuid import UUID

from app.db.models import Budget, DatasetRow, DatasetVersion
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.accounting.block_figures import consumed, runs_of
from app.services import policies, windows
from app.services.access import Caller
from app.services.budgets import readable


def block_strip(
    make_session: SessionMaker, caller: Caller, budget_id: UUID, *, from_block: int, limit: int
) -> list[dict[str, Any]]:
    """Runs of neighbouring blocks that hold the same, from a block on; none without blocks.

    Every closed block is in one, and every open one that carries earlier spend. Of a window they
    are those of the period in force.

    Raises:
        NotFound: no such budget, or none that this caller may know of.
    """
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        shown: Budget = budget
        if budget.kind == "window":
            shown = windows.seen_in_force(session, budget, now=database_now(session)) or budget
        sums = shown.block_sums
        if sums is None:
            return []
        dataset = session.get_one(DatasetRow, budget.dataset_id)
        version = session.get_one(DatasetVersion, (dataset.id, dataset.latest_version))
        closed = version.closed_blocks
        if closed:
            sums = sums.reaching(((0, closed - 1),))
        policy = policies.policy_of(shown)
    runs = [run for run in runs_of(sums.held) if run.last >= from_block][:limit]
    return [
        {
            "first": run.first,
            "last": run.last,
            "closed": run.last < closed,
            "consumed": policies.amount_json(consumed(policy, run.loss)),
        }
        for run in runs
    ]
