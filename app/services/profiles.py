"""Released profiles as quotes read them: once paid for, at no charge (R12, R17). Steps only.

A preview rests on parameters and on what was released with noise. No engine is asked and no file
is opened for it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Job, Result
from app.domain.datasets import Dataset, dataset_from_json
from app.domain.profiles import (
    Profile,
    ProfilePlan,
    expectation,
    profile_figures,
    read_profile,
)
from app.domain.queries import QueryPlan
from app.domain.queries.preview import preview
from app.services import access
from app.services.access import Caller
from app.services.pricing import PricedRequest


def preview_json(session: Session, caller: Caller, priced: PricedRequest) -> dict[str, Any]:
    """What a quote shows beside charges: of a query its plan, its errors and better bounds."""
    if isinstance(priced.plan, ProfilePlan):
        return profile_figures(priced.plan)
    if isinstance(priced.plan, QueryPlan):
        row = session.get_one(DatasetRow, priced.inputs[0].dataset_id)
        dataset = dataset_from_json(row.document, id=str(row.id))
        told = expectation(priced.plan, dataset, newest(session, caller, dataset))
        return {**preview(priced.plan), **told}
    return {}


def newest(session: Session, caller: Caller, dataset: Dataset) -> Profile | None:
    """The newest released profile of a dataset that the caller may know of.

    That is his own, and whatever was charged to a budget that he may read: of a budget that nobody
    holds, everybody's to whom the dataset is granted; of another team's allocation, nobody else's.
    """
    statement = (
        select(Result, Job)
        .join(Job, Job.id == Result.job_id)
        .where(Result.profile_of == UUID(dataset.id))
        .order_by(Result.created_at.desc(), Result.job_id)
    )
    for result, job in session.execute(statement):
        (source,) = job.inputs
        leaf = session.get_one(Budget, UUID(source["budget_id"]))
        is_own = job.principal_id == caller.principal_id
        if is_own or access.may_read_budget(session, caller, leaf):
            day = result.created_at.date().isoformat()
            version = source["version"]
            return read_profile(
                result.document, job.spec, dataset, version=version, released_on=day
            )
    return None
