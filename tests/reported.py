"""A house with a signed ledger for tests of reports: jobs that settle, work elsewhere, a key."""

from pathlib import Path
from typing import Any
from uuid import UUID

from app.db.session import database_now, snapshot, transaction
from app.reporting.evidence import Evidence
from app.services import evidence, settlement, signing
from app.services.checkpoints import Checkpoints
from tests.world import World

GAUSSIAN = {"type": "gaussian", "noise_multiplier": "30"}
# released values that a report must not hold
SECRET_VALUE = 918273645
RELEASED: dict[str, Any] = {
    "columns": [{"name": "count", "kind": "measure", "type": "number"}],
    "rows": [
        {
            "keys": {},
            "cells": [
                {
                    "measure": "count",
                    "value": SECRET_VALUE,
                    "half_width_95": "3",
                    "mechanism": "discrete_laplace",
                }
            ],
        }
    ],
    "notes": ["caps cut off what is above them"],
}


def signed_by(world: World, folder: Path) -> Checkpoints:
    """The checkpoints of a house that has a key."""
    if not (folder / "signing.key").exists():
        signing.create(folder / "signing.key")
    return Checkpoints(world.make_session, folder / "checkpoints", folder / "signing.key")


def settle(world: World, job_id: str | UUID, *, document: dict[str, Any] | None = None) -> None:
    """Run a queued job of one part to its end, as a worker would."""
    with transaction(world.make_session) as session:
        now = database_now(session)
        held = settlement.claim(session, UUID(str(job_id)), owner="me", lease_s=30, now=now)
        assert held is not None
        settlement.start(session, held, 0, 1, now=now)
        released = RELEASED if document is None else document
        settlement.post(session, held, document=released, artifacts=[], now=now)


def gathered(world: World, checkpoint_seq: int | None = None, **terms: Any) -> Evidence:
    """The evidence of the house's dataset."""
    with snapshot(world.make_session) as session:
        return evidence.gather(session, world.dataset_id, checkpoint_seq, **terms)
