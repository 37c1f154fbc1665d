"""The door of every engine: prepare without rows, then run and spend through the job's ledger.

An engine gets a claimed job with everything public already resolved. It reads no private row in
`prepare`. In `run` it asks the ledger to make units durable *before* it reads a row or draws noise
for them (L2, L6), and gives back a result that holds released values only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol
from uuid import UUID

from app.domain.datasets import Dataset, SourceFormat
from app.domain.errors import DomainError
from app.domain.mechanisms.parsing import Mechanism
from app.domain.partitions import Ranges
from workers.engines.checkpoint_folder import CheckpointFolder


@dataclass(eq=False)
class EngineRefused(DomainError):
    """The engine cannot run this job; said before any private row was read, so nothing is spent."""

    code: ClassVar[str] = "engine-refused"

    reason: str


@dataclass(eq=False)
class SourceUnavailable(DomainError):
    """What holds the rows is not where its dataset says; found before any row was read."""

    code: ClassVar[str] = "source-unavailable"


@dataclass(eq=False)
class JobCancelled(DomainError):
    """The job's owner asked for a stop; what was started stays spent."""

    code: ClassVar[str] = "cancelled"


@dataclass(eq=False)
class ClaimLost(DomainError):
    """Another worker or the sweeper holds this job now; read nothing, write nothing."""

    code: ClassVar[str] = "claim-lost"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of an S3-compatible store.

    address: percent-encoded, as a request for it is sent.
    credentials: the reference to the keys; never a key.
    """

    address: str
    region: str
    credentials: str


@dataclass(frozen=True, slots=True)
class RowsFile:
    """One file of a dataset version.

    file: where its rows are read; of an object, where its copy goes, inside the job's scratch.
    open_from: the first block that was open when its rows came; a row whose own block had closed by
        then, or that has none, lies in this one (R8).
    sha256: what the officer declared of its content; None where nothing was.
    stored: the object that is copied when rows are read; None of a plain file.
    """

    file: Path
    format: SourceFormat
    open_from: int = 0
    sha256: str | None = None
    stored: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class ChosenBlocks:
    """The blocks of a dataset that a job may read, and the files that can hold their rows."""

    ranges: Ranges
    files: tuple[RowsFile, ...]


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table of a database that others run.

    root: the database's file, or the reference to its connection string; never a secret.
    name: `table` or `schema.table`, plain lower-case names.
    """

    kind: Literal["sqlite", "postgresql"]
    root: str
    name: str


@dataclass(frozen=True, slots=True)
class Input:
    """One dataset version of a job and what holds its rows: a file, an object or a live table.

    blocks: of a dataset with blocks, those of the job; rows of others are not read (R8). The
    dataset's nominal size is theirs then (R17).
    sha256: of the file, as the version declares it; None where nothing was, and with blocks, whose
    files have their own. It is compared when rows are read and never before: whether a private
    file is the declared one is a bit about its rows (L2, L5).
    stored: the object behind the file, see `RowsFile`.
    """

    dataset: Dataset
    version: int
    file: Path | None
    blocks: ChosenBlocks | None = None
    live: LiveTable | None = None
    sha256: str | None = None
    stored: StoredObject | None = None

    def has_file(self) -> bool:
        """Whether its rows are in a file that is there, or in an object that will be copied."""
        return self.stored is not None or (self.file is not None and self.file.is_file())

    @property
    def files(self) -> tuple[RowsFile, ...]:
        """The files that are read."""
        if self.file is None:
            return ()
        if self.blocks is None:
            form = self.dataset.source.format
            return (RowsFile(self.file, form, sha256=self.sha256, stored=self.stored),)
        return self.blocks.files


@dataclass(frozen=True, slots=True)
class ReservedPart:
    """One part of the reservation: a mechanism of one unit and how many units may start."""

    mechanism: Mechanism
    max_units: int
    started_units: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job, resolved: all that an engine may know before it touches a row.

    spec: the frozen, validated spec as stored with the job (noise already calibrated).
    salt: public randomness of this job, stored with it, so that a retry repeats one truncation.
    scratch: an empty folder of this (job, fence); artifacts are written here.
    checkpoints: of a kind that checkpoints; what an earlier claim kept, and where to keep (R14).
    public: public datasets that the spec names, such as an evaluation set, by id.
    """

    job_id: UUID
    kind: str
    spec: Mapping[str, Any]
    inputs: tuple[Input, ...]
    parts: tuple[ReservedPart, ...]
    salt: bytes
    scratch: Path
    public: Mapping[str, Input] = field(default_factory=dict)
    checkpoints: CheckpointFolder | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run releases. `artifacts` are file names inside the scratch folder."""

    result: Mapping[str, Any]
    artifacts: tuple[str, ...] = ()


class JobLedger(Protocol):
    """The engine's only way to spend, and to say how far it is."""

    def start(self, part: int, started_units: int) -> None:
        """Make `started_units` (cumulative) of a part durable; returns when they are (L2, L6).

        Raises:
            ClaimLost: the fence is stale; the caller must read nothing more.
            JobCancelled: a stop was asked for before these units began.
        """

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Publish a progress row. Allowed: step, steps, charged or public metrics (R13)."""


class Plan(Protocol):
    """A prepared job."""

    def run(self, ledger: JobLedger) -> Outcome:
        """Start units, read rows, release values."""


class Engine(Protocol):
    """One kind of job."""

    def prepare(self, work: Work) -> Plan:
        """Check all that can be checked without a private row.

        Raises:
            EngineRefused: nothing was read, so the reservation is voided.
        """
