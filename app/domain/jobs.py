"""The kinds of jobs that our workers run, and what a job has kept of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

JobKind = Literal["query", "train", "profile"]

# A run of these keeps checkpoints, so that a kill ends the claim and not the job (R14). The others
# release one table at their end, and have nothing to go on from.
KINDS_THAT_CHECKPOINT: Final[frozenset[JobKind]] = frozenset({"train"})


@dataclass(frozen=True, slots=True)
class NamedCheckpoint:
    """A checkpoint of a run, as its job's row names it; the files are the worker's.

    name: of its folder, unique within the job.
    started_units: of each part, all units that shaped it or that were given up before it.
    sha256: of everything that its files hold.
    """

    name: str
    started_units: tuple[int, ...]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in the row."""
        return {
            "name": self.name,
            "started_units": list(self.started_units),
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "NamedCheckpoint":
        """Of a row."""
        return cls(document["name"], tuple(document["started_units"]), document["sha256"])
