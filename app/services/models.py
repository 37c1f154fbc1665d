"""The models that a training job may name: ours, and those of packages that an admin installed.

A package names its descriptions as entry points of the group `epsilon_ledger.models`. They are read
once a process, and load no torch; what they build is examined by a worker, and what none has
accepted is refused before anything is reserved (L5, R28).
"""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from sqlalchemy.orm import Session

from app.db.models import ModelExamination
from app.db.session import SessionMaker, snapshot
from app.domain.errors import InvalidParameter, ModelNotAccepted
from app.domain.training.installed import InstalledEntry, InstalledSpec, read_description
from app.domain.training.models import ModelSpec
from app.domain.training.registry import MODELS, RegisteredModel
from app.services.access import Caller

log = logging.getLogger(__name__)

GROUP: Final = "epsilon_ledger.models"
NOT_EXAMINED: Final = ("no worker has examined it yet", "start a worker where it is installed")


@dataclass(frozen=True, slots=True)
class Installed:
    """What the packages of this environment bring.

    entries: by the name of the model.
    faults: by the entry point, why it brings none.
    """

    entries: Mapping[str, InstalledEntry] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> dict[str, RegisteredModel]:
        """The whole registry: ours first."""
        return {**MODELS, **{name: each.registered for name, each in self.entries.items()}}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an examination found. module, problem and remedy are empty of an accepted model."""

    accepted: bool
    module: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Models:
    """Use cases about the registry."""

    make_session: SessionMaker
    installed: Installed = field(default_factory=Installed)

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """Every model with the schema of its options, what it reads, and whether it may be used."""
        del caller  # anybody who is signed in
        ours = [
            {**model.to_json(), "installed": False, "accepted": True} for model in MODELS.values()
        ]
        with snapshot(self.make_session) as session:
            others = [
                {
                    **each.registered.to_json(),
                    "installed": True,
                    "accepted": verdict_on(session, each.digest).accepted,
                }
                for each in self.installed.entries.values()
            ]
        return [*ours, *others]


@cache
def installed_models() -> Installed:
    """What is installed beside this process; read once: no package changes under it."""
    return read_installed()


def read_installed() -> Installed:
    """Read every entry point of the group, in the order of their names.

    One that cannot be used takes nothing else with it: it is logged, and no spec can name it.
    """
    entries: dict[str, InstalledEntry] = {}
    faults: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        try:
            entry = _read(point, entries)
        except InvalidParameter as fault:
            faults[point.name] = f"{fault.pointer}: {fault.reason}"
            log.warning("model.not_usable name=%s reason=%s", point.name, faults[point.name])
        else:
            entries[entry.registered.name] = entry
    return Installed(entries, faults)


def _read(point: EntryPoint, known: Mapping[str, InstalledEntry]) -> InstalledEntry:
    had_torch = "torch" in sys.modules
    try:
        description = point.load()
    except Exception as failed:
        raise InvalidParameter("", f"it cannot be loaded: {type(failed).__name__}") from None
    if not had_torch and "torch" in sys.modules:
        raise InvalidParameter("", "its description loads torch; only its builder may")
    package = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    entry = read_description(description, package)
    if entry.registered.name in known:
        raise InvalidParameter("/name", "another package has brought this name")
    return entry


def verdict_on(session: Session, digest: str) -> Verdict:
    """What a worker has found of an installed model."""
    row = session.get(ModelExamination, digest)
    if row is None:
        problem, remedy = NOT_EXAMINED
        return Verdict(accepted=False, problem=problem, remedy=remedy)
    return Verdict(row.accepted, row.module, row.problem, row.remedy)


def record_verdict(
    session: Session, entry: InstalledEntry, found: Verdict, *, now: datetime
) -> None:
    """Keep what a worker found, in the place of what was found before; a step."""
    session.merge(
        ModelExamination(
            digest=entry.digest,
            name=entry.registered.name,
            accepted=found.accepted,
            module=found.module[:200],
            problem=found.problem[:500],
            remedy=found.remedy[:500],
            examined_at=now,
        )
    )


def require_accepted(session: Session, model: ModelSpec) -> None:
    """Refuse an installed model that no worker has accepted.

    Raises:
        ModelNotAccepted: names the module and the remedy.
    """
    if not isinstance(model, InstalledSpec):
        return
    found = verdict_on(session, model.digest)
    if not found.accepted:
        raise ModelNotAccepted(model.name, found.module, found.problem, found.remedy)
