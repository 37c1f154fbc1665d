"""The public datasets that a spec names: looked up with the caller's eyes, pinned by version."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.models import DatasetRow
from app.domain.datasets import Dataset, dataset_from_json
from app.services import access
from app.services.access import Caller


@dataclass(frozen=True, slots=True)
class PublicTables:
    """Public datasets by id, and of each the version that a job which names it reads."""

    datasets: Mapping[str, Dataset]
    versions: Mapping[str, int]


def look_up_public(session: Session, caller: Caller, named: Collection[str]) -> PublicTables:
    """Those of the named datasets that are public, active and readable by this caller."""
    datasets, versions = {}, {}
    for text in named:
        try:
            row = session.get(DatasetRow, UUID(text))
        except ValueError:
            continue
        if row is None or row.state != "active" or row.access != "public":
            # also one that two people have not called public yet (R18)
            continue
        if access.may_read_dataset(session, caller, row.id):
            dataset = dataset_from_json(row.document, id=str(row.id))
            datasets[text] = datasets[dataset.id] = dataset
            versions[dataset.id] = row.latest_version
    return PublicTables(datasets, versions)
