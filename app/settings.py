"""One frozen Settings, read from `EPSILON_*` variables by the entry points and by nobody else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

PREFIX = "EPSILON_"
# Read by dev.py alone, before there is an environment to run this file in.
SET_UP_VARIABLES = frozenset({"EPSILON_TORCH_FIND_LINKS"})
# Connection strings of live sources, by the names that connections refer to: no settings.
SOURCES = "EPSILON_SOURCE_"

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
TRUTHS = {"1": True, "true": True, "0": False, "false": False}


class SettingRefused(ValueError):
    """A variable is unknown or its value is not usable; the text names it, and never its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one process of the service needs to know; the same for every process of one house.

    The field `job_lease_s` is the variable EPSILON_JOB_LEASE_S, and so for all. Addresses may hold
    passwords, so they are not part of the printed form.

    database_url: SQLAlchemy address. Default: a SQLite file in `home`.
    broker_url: address in the Redis protocol. Default: the private socket of `home`.
    home: folder of the state that this machine keeps.
    witness_dir: folder of touches and checkpoints outside the database; on another disk it
        survives more. Default: in `home`. Every process of a machine has the same one (R22).
    key_file: what signs the checkpoints, mode 0600. Default: in `home` (R23).
    checkpoint_s: seconds between checkpoints, if anything moved.
    witness_days: for how long journals and checkpoint files are kept; longer than any backup.
    embedded: whether the API process also runs the relay and the sweeper.
    admission_batch_most: how many admissions one transaction decides; 0 locks rows a request.
    gpu_workers: how many workers with a GPU serve this house, one a device; 0 refuses jobs that
        ask for one. `up` starts as many, each with the device of its number.
    pending_approvals_most: how many changes of one person may wait for a second one at once.
    """

    database_url: str = field(default="", repr=False)
    broker_url: str = field(default="", repr=False)
    home: Path = Path(".epsilon")
    witness_dir: Path = Path()
    key_file: Path = Path()
    checkpoint_s: int = 300
    witness_days: int = 90
    host: str = "127.0.0.1"
    port: int = 8000
    embedded: bool = False
    job_lease_s: int = 30
    admission_batch_most: int = 256
    gpu_workers: int = 0
    pending_approvals_most: int = 50
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        for name, inside in (("witness_dir", "witness"), ("key_file", "signing.key")):
            given: Path = getattr(self, name)
            path = given.expanduser().absolute() if given != Path() else self.home / inside
            object.__setattr__(self, name, path)
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'ledger.sqlite3'}")
        if not self.broker_url:
            object.__setattr__(self, "broker_url", f"redis+socket://{self.home / 'broker.sock'}")
        if not 0 <= self.port <= 65535:
            raise SettingRefused("EPSILON_PORT must lie between 0 and 65535")
        if not 3 <= self.job_lease_s <= 3600:
            raise SettingRefused("EPSILON_JOB_LEASE_S must lie between 3 and 3600 seconds")
        if not 0 <= self.admission_batch_most <= 1024:
            raise SettingRefused("EPSILON_ADMISSION_BATCH_MOST must lie between 0 and 1024")
        if not 0 <= self.gpu_workers <= 64:
            raise SettingRefused("EPSILON_GPU_WORKERS must lie between 0 and 64")
        if not 1 <= self.pending_approvals_most <= 10_000:
            raise SettingRefused("EPSILON_PENDING_APPROVALS_MOST must lie between 1 and 10000")
        if not 1 <= self.checkpoint_s <= 86400:
            raise SettingRefused("EPSILON_CHECKPOINT_S must lie between 1 and 86400 seconds")
        if not 2 <= self.witness_days <= 3650:
            raise SettingRefused("EPSILON_WITNESS_DAYS must lie between 2 and 3650 days")
        if self.log_level not in LOG_LEVELS:
            raise SettingRefused(f"EPSILON_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings out of an environment; an empty value counts as not set.

        Raises:
            SettingRefused: an `EPSILON_*` variable is unknown (a typing mistake must not leave a
                default in force in silence) or its value cannot be read.
        """
        kinds = {PREFIX + f.name.upper(): (f.name, f.type) for f in fields(cls)}
        values: dict[str, str | int | bool | Path] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX) or variable.startswith(SOURCES) or not text:
                continue
            if variable in SET_UP_VARIABLES:
                continue
            if variable not in kinds:
                raise SettingRefused(f"{variable} is not a setting; known: {', '.join(kinds)}")
            name, kind = kinds[variable]
            values[name] = _read(variable, text, kind)
        return cls(**values)  # type: ignore[arg-type]  # _read returns what the field declares

    def to_environment(self) -> dict[str, str]:
        """The variables that give a child process these same settings."""
        return {PREFIX + f.name.upper(): _write(getattr(self, f.name)) for f in fields(self)}


def _read(variable: str, text: str, kind: object) -> str | int | bool | Path:
    if kind is bool:
        if text.lower() not in TRUTHS:
            raise SettingRefused(f"{variable} must be one of {', '.join(TRUTHS)}")
        return TRUTHS[text.lower()]
    if kind is int:
        if not (text.isascii() and text.isdecimal()):
            raise SettingRefused(f"{variable} must be a whole number")
        return int(text)
    return Path(text) if kind is Path else text


def _write(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
