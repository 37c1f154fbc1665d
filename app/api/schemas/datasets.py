"""Datasets and connections on the wire."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from app.api.wire import (
    Decimals,
    Id,
    IdText,
    Name,
    Sha256,
    SignedDecimals,
    TimeText,
    WireAnswer,
    WireRequest,
    Words,
)
from app.domain.connections import ConnectionKind
from app.domain.datasets import UnitKind
from app.domain.partitions import BLOCKS_MOST, GRACE_DAYS_MOST
from app.services.closing import VersionFacts
from app.services.registrations import DatasetRequest

Format = Literal["parquet", "csv", "table"]
Path = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", min_length=1, max_length=1000)]
ConnectionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
KeyValue = Annotated[str, StringConstraints(max_length=256)] | bool | int


def _a_date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        # the parser's own message quotes what was sent
        raise ValueError("a date such as 2027-12-31 is expected") from None
    return text


DateText = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_a_date)
]


class ObjectStoreWrite(WireRequest):
    """A store that speaks S3, and where a worker finds the keys to it: never the keys themselves.

    `credentials` names a JSON object with `access_key_id`, `secret_access_key` and, where there is
    one, `session_token`: `env:EPSILON_SOURCE_NAME` or `file:/absolute/path`. Where the host of
    `endpoint` begins with the bucket's name, the bucket is not said again in the path.
    """

    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    credentials: Path


class ConnectionCreate(WireRequest):
    """A folder or a bucket with files that datasets may name, or a database with tables.

    `root` is the folder, the file of an SQLite database, `s3://bucket/prefix`, or, of PostgreSQL,
    where a worker finds the connection string: `env:EPSILON_SOURCE_NAME` or `file:/absolute/path`,
    never itself. A bucket has a `store`, and nothing else has.
    """

    name: ConnectionName
    kind: ConnectionKind
    root: Path
    store: ObjectStoreWrite | None = None


class ObjectStoreRead(WireAnswer):
    """A store that speaks S3; `credentials` says where its keys are."""

    endpoint: str
    region: str
    credentials: str


class ConnectionRead(WireAnswer):
    """A connection; `root` and `store` are shown to admins only."""

    id: IdText
    name: str
    kind: str
    created_at: TimeText
    root: str | None = None
    store: ObjectStoreRead | None = None


class ConnectionPage(WireAnswer):
    """All connections."""

    items: list[ConnectionRead]
    next: str | None


class SourceWrite(WireRequest):
    """A file or an object below the root of a connection, or a table of its database."""

    connection: ConnectionName
    path: Path
    format: Format


class BoundsWrite(WireRequest):
    """Public bounds of a column's values."""

    low: SignedDecimals
    high: SignedDecimals


class ColumnWrite(WireRequest):
    """One column of the public schema; nothing of it is read from rows."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
    type: Literal["int64", "float64", "float32", "string", "bool", "date", "timestamp"]
    nullable: bool = False
    bounds: BoundsWrite | None = None
    grid: Decimals | None = None
    domain: Annotated[list[KeyValue], Field(min_length=1, max_length=10_000)] | None = None
    domain_source: Literal["public"] | None = None
    keys: Literal["private"] | None = None
    shape: (
        Annotated[list[Annotated[int, Field(ge=1, le=2**24)]], Field(min_length=1, max_length=4)]
        | None
    ) = None


Cap = Annotated[int, Field(ge=1, le=1_000_000)]


class UnitWrite(WireRequest):
    """Whose presence is hidden. A unit of a user names its column and caps that we enforce.

    `user_period` is all rows of one user in one time block; its caps are those of each block.
    """

    kind: UnitKind
    column: str | None = None
    max_groups_per_user: Cap | None = None
    max_rows_per_user_group: Cap | None = None
    max_rows_per_user: Cap | None = None


class BlocksWrite(WireRequest):
    """A public partition of the units, declared once: each unit lies in one block (R8).

    `time` divides records, or users' periods, by the period of a date or timestamp column, counted
    from `first_day` in `time_zone`; a block may be charged once it has ended, `grace_days` have
    passed and a version closes it. `unit_hash` divides users by SHA-256 of the dataset's id and
    their own into `count`.
    """

    kind: Literal["none", "time", "unit_hash"]
    column: str | None = None
    period: Literal["day", "week", "month", "quarter", "year"] | None = None
    time_zone: Annotated[str, StringConstraints(max_length=64)] | None = None
    first_day: DateText | None = None
    grace_days: Annotated[int, Field(ge=0, le=GRACE_DAYS_MOST)] | None = None
    count: Annotated[int, Field(ge=2, le=BLOCKS_MOST)] | None = None


BlockNumber = Annotated[int, Field(ge=0, lt=BLOCKS_MOST)]


class DatasetCreate(WireRequest):
    """A registration. A private dataset declares unit, relation, nominal size and whose people.

    `new_people` says that nobody in these rows is in another dataset; where location, schema or
    unit column are known, a second person has to agree. `continues` names the dataset whose people
    these are: the rows become its next version. With time blocks `nominal_size` is the size of one;
    `closes_through` and `sha256` are said of the first version, as of any later one.
    So is `no_line_breaks_in_texts`, which a CSV file with texts needs: a line of it is one record.
    """

    name: Name
    access: Literal["private", "public"]
    source: SourceWrite
    columns: Annotated[list[ColumnWrite], Field(min_length=1, max_length=10_000)]
    unit_of_privacy: UnitWrite | None = None
    relation: Literal["add_remove", "replace_one", "zero_out"] | None = None
    nominal_size: Annotated[int, Field(ge=1, le=10**12)] | None = None
    blocks: BlocksWrite | None = None
    closes_through: BlockNumber | None = None
    sha256: Sha256 | None = None
    no_line_breaks_in_texts: bool = False
    population: Name | None = None
    new_people: bool | None = None
    continues: Id | None = None
    purpose: Words | None = None
    trust_model: Literal["central"] | None = None
    raw_viewers: Annotated[list[Name], Field(max_length=100)] | None = None
    retain_until: DateText | None = None

    def to_request(self) -> DatasetRequest:
        """What the service takes: the declaration for the domain, the rest beside it."""
        sent = self.model_dump(mode="json", exclude_none=True)
        described = ("purpose", "trust_model", "raw_viewers", "retain_until")
        declared = (
            "name",
            "access",
            "source",
            "columns",
            "unit_of_privacy",
            "relation",
            "nominal_size",
            "blocks",
        )
        return DatasetRequest(
            declaration={key: sent[key] for key in declared if key in sent},
            description={key: sent[key] for key in described if key in sent},
            population=self.population,
            version=VersionFacts(self.closes_through, self.sha256, self.no_line_breaks_in_texts),
            new_people=self.new_people,
            continues=sent.get("continues"),
        )


class DatasetCreated(WireAnswer):
    """A registered dataset, or one that waits for a second person (`proposed`, R18)."""

    id: IdText
    version: int
    state: str
    source_fingerprint: str
    revision: int
    approval_id: IdText | None = None
    change_sha256: str | None = None


class DatasetRead(WireAnswer):
    """The public facts of a dataset. `version` counts its rows' versions, `revision` is the ETag.

    `closed_blocks`, where there are blocks: how many, from 0 on, may be charged.
    `purged_at`, where it was: since when nothing is kept that its jobs released.
    source, source_fingerprint and granted_project_ids are shown to officers and auditors only.
    """

    id: IdText
    name: str
    access: str
    state: str
    version: int
    revision: int
    columns: list[dict[str, Any]]
    unit_of_privacy: dict[str, Any] | None = None
    relation: str | None = None
    nominal_size: int | None = None
    blocks: dict[str, Any] | None = None
    closed_blocks: int | None = None
    population: str | None = None
    purpose: str | None = None
    trust_model: str | None = None
    raw_viewers: list[str] | None = None
    retain_until: str | None = None
    created_at: TimeText
    purged_at: TimeText | None = None
    source: dict[str, Any] | None = None
    source_fingerprint: str | None = None
    granted_project_ids: list[IdText] | None = None


class PurgeCreate(WireRequest):
    """Why all that jobs of a retired dataset have kept is deleted; it stands in the chain."""

    reason: Words


class PurgeRead(WireAnswer):
    """Since when nothing is kept that jobs of the dataset released; `revision` is its ETag now."""

    dataset_id: IdText
    revision: int
    purged_at: TimeText


class DatasetPage(WireAnswer):
    """The datasets that the caller may know, oldest first."""

    items: list[DatasetRead]
    next: str | None


class DatasetPatch(WireRequest):
    """What is said of a dataset and binds nothing; null takes a field away, an absent one stays.

    Unit, relation, schema and blocks never change.
    """

    purpose: Words | None = None
    trust_model: Literal["central"] | None = None
    raw_viewers: Annotated[list[Name], Field(max_length=100)] | None = None
    retain_until: DateText | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(mode="json", exclude_unset=True)


class VersionCreate(WireRequest):
    """Where the newer rows lie, below the same connection.

    With time blocks the file holds the new rows alone and those of earlier versions stay;
    `closes_through` is the last block to which no later row belongs. `no_line_breaks_in_texts` as
    in a registration.
    """

    path: Path
    format: Format
    closes_through: BlockNumber | None = None
    sha256: Sha256 | None = None
    no_line_breaks_in_texts: bool = False

    def stated(self) -> VersionFacts:
        """What the service takes beside the path."""
        return VersionFacts(self.closes_through, self.sha256, self.no_line_breaks_in_texts)


class VersionRead(WireAnswer):
    """One version; path, format and sha256 are shown to officers and auditors only."""

    dataset_id: IdText
    version: int
    closed_blocks: int
    created_at: TimeText
    path: str | None = None
    format: str | None = None
    sha256: str | None = None


class VersionPage(WireAnswer):
    """The versions of a dataset, oldest first."""

    items: list[VersionRead]
    next: str | None


class GrantCreate(WireRequest):
    """The project that may ask about the dataset."""

    project_id: Id


class GrantRead(WireAnswer):
    """A grant in force."""

    dataset_id: IdText
    project_id: IdText
    granted_at: TimeText
