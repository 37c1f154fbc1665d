"""What a dataset says of itself in public: schema, unit of privacy, relation, nominal size.

Everything here is public by declaration. A true row count, a true domain or a true bound is
never part of it (R17). Unit, relation and blocks are fixed at registration (L8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal, cast, get_args

from app.domain.columns import (
    Column,
    ColumnType,
    Key,
    column_to_json,
    parse_columns,
    schema_digest,
)
from app.domain.documents import read_choice, read_integer, read_object, read_text
from app.domain.errors import InvalidParameter
from app.domain.partitions import Blocks, Ranges, blocks_to_json, parse_blocks, scaled_size

__all__ = [
    "Access",
    "Column",
    "ColumnType",
    "Dataset",
    "Key",
    "Relation",
    "Source",
    "SourceFormat",
    "UnitKind",
    "UnitOfPrivacy",
    "dataset_from_json",
    "dataset_to_json",
    "parse_columns",
    "parse_nominal_size",
    "parse_relation",
    "parse_source",
    "parse_unit_of_privacy",
    "schema_digest",
]

Access = Literal["private", "public"]
Relation = Literal["add_remove", "replace_one", "zero_out"]
SourceFormat = Literal["parquet", "csv", "table"]

UnitKind = Literal["record", "user", "user_period"]

CAP_MOST = 1_000_000
UNIT_TYPES: tuple[ColumnType, ...] = ("int64", "string")


@dataclass(frozen=True, slots=True)
class UnitOfPrivacy:
    """Whose presence is hidden: one record, all of one user, or all of one user in one period.

    A user's period is the time block that a row lies in: a `user_period` has time blocks, and a
    row that comes late belongs to the unit of the block that takes it (R8). The caps are those of
    one unit, so of each period of a user by itself.

    column: the column that names the user; None for records.
    max_groups_per_user: L0, the groups of one query that a user may count in; enforced.
    max_rows_per_user_group: the rows of one user that count in one group; enforced.
    max_rows_per_user: the rows of one user that training may see as one example group; enforced.
    """

    kind: UnitKind
    column: str | None = None
    max_groups_per_user: int | None = None
    max_rows_per_user_group: int | None = None
    max_rows_per_user: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows lie: an admin-made connection and a path below its root, or a live table."""

    connection: str
    path: str
    format: SourceFormat


@dataclass(frozen=True, slots=True)
class Dataset:
    """A registered table as the rest of the service sees it.

    nominal_size: the declared public size in units; every rate, divisor and minimum-size check
    uses it and none uses a true count (R17). None only for public datasets. With time blocks it is
    the size of one block.
    blocks: the public partition of the units, fixed for ever; None where there is none (R8).
    """

    id: str
    name: str
    access: Access
    columns: tuple[Column, ...]
    source: Source
    unit: UnitOfPrivacy | None = None
    relation: Relation | None = None
    nominal_size: int | None = None
    blocks: Blocks | None = None

    def of_blocks(self, ranges: Ranges) -> "Dataset":
        """The same dataset as far as some of its blocks go, with their public size (R8, R17)."""
        if self.blocks is None or self.nominal_size is None:
            raise ValueError("the dataset has no blocks")
        size = scaled_size(self.blocks, self.nominal_size, ranges)
        return replace(self, nominal_size=size)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


def dataset_from_json(document: Mapping[str, Any], *, id: str) -> Dataset:
    """Read back a dataset that was validated and stored by `dataset_to_json`.

    The same checks run again, so a stored row that was edited by hand is refused, not believed.
    """
    fields = read_object(
        document,
        "",
        required=("name", "access", "columns", "source"),
        optional=("unit_of_privacy", "relation", "nominal_size", "blocks"),
    )
    access = cast(Access, read_choice(fields["access"], "/access", get_args(Access)))
    columns = parse_columns(fields["columns"])
    unit = relation = size = blocks = None
    if access == "private":
        for key in ("unit_of_privacy", "relation", "nominal_size"):
            if fields.get(key) is None:
                raise InvalidParameter(f"/{key}", "a private dataset declares this")
        unit = parse_unit_of_privacy(fields["unit_of_privacy"], columns)
        relation = parse_relation(fields["relation"])
        size = parse_nominal_size(fields["nominal_size"])
        if fields.get("blocks") is not None:
            blocks = parse_blocks(fields["blocks"], unit_kind=unit.kind, columns=columns)
        if unit.kind == "user_period" and blocks is None:
            raise InvalidParameter("/blocks", "a user's periods are the time blocks: declare them")
    else:
        for key in ("unit_of_privacy", "relation"):
            if fields.get(key) is not None:
                raise InvalidParameter(f"/{key}", "a public dataset has no unit and no relation")
        if fields.get("blocks") is not None:
            raise InvalidParameter("/blocks", "a public dataset has no blocks to charge")
        if fields.get("nominal_size") is not None:
            size = parse_nominal_size(fields["nominal_size"])
    return Dataset(
        id=id,
        name=read_text(fields["name"], "/name", most=200),
        access=access,
        columns=columns,
        source=parse_source(fields["source"]),
        unit=unit,
        relation=relation,
        nominal_size=size,
        blocks=blocks,
    )


def dataset_to_json(dataset: Dataset) -> dict[str, Any]:
    """The stored form of a dataset: plain JSON, decimals as strings."""
    document: dict[str, Any] = {
        "name": dataset.name,
        "access": dataset.access,
        "columns": [column_to_json(column) for column in dataset.columns],
        "source": {
            "connection": dataset.source.connection,
            "path": dataset.source.path,
            "format": dataset.source.format,
        },
    }
    if dataset.unit is not None:
        unit = dataset.unit
        caps = {
            "column": unit.column,
            "max_groups_per_user": unit.max_groups_per_user,
            "max_rows_per_user_group": unit.max_rows_per_user_group,
            "max_rows_per_user": unit.max_rows_per_user,
        }
        document["unit_of_privacy"] = {
            "kind": unit.kind,
            **{key: value for key, value in caps.items() if value is not None},
        }
    if dataset.relation is not None:
        document["relation"] = dataset.relation
    if dataset.nominal_size is not None:
        document["nominal_size"] = dataset.nominal_size
    if dataset.blocks is not None:
        document["blocks"] = blocks_to_json(dataset.blocks)
    return document


def parse_unit_of_privacy(
    document: object, columns: Sequence[Column], pointer: str = "/unit_of_privacy"
) -> UnitOfPrivacy:
    """Validate the declared unit: a record, or a user or a user's period with enforced caps.

    A unit of a user needs the pair of query caps (`max_groups_per_user` and
    `max_rows_per_user_group`), the training cap (`max_rows_per_user`), or all three: without a cap
    nothing is bounded (R7).

    Raises:
        InvalidParameter: with the pointer to the value that is wrong.
    """
    caps = ("max_groups_per_user", "max_rows_per_user_group", "max_rows_per_user")
    fields = read_object(document, pointer, required=("kind",), optional=("column", *caps))
    kind = cast(UnitKind, read_choice(fields["kind"], f"{pointer}/kind", get_args(UnitKind)))
    if kind == "record":
        read_object(document, pointer, required=("kind",))
        return UnitOfPrivacy("record")
    read_object(document, pointer, required=("kind", "column"), optional=caps)
    name = fields["column"]
    column = next((column for column in columns if column.name == name), None)
    if column is None:
        raise InvalidParameter(f"{pointer}/column", "no column has this name")
    if column.shape or column.type not in UNIT_TYPES:
        raise InvalidParameter(
            f"{pointer}/column", f"a user is named by a plain column of {' or '.join(UNIT_TYPES)}"
        )
    values: dict[str, int] = {}
    for cap in caps:
        if cap in fields:
            at = f"{pointer}/{cap}"
            values[cap] = read_integer(fields[cap], at, low=1, high=CAP_MOST)
    if ("max_groups_per_user" in values) != ("max_rows_per_user_group" in values):
        missing = next(cap for cap in caps[:2] if cap not in values)
        raise InvalidParameter(f"{pointer}/{missing}", "the two caps of queries come together")
    if not values:
        raise InvalidParameter(
            f"{pointer}/max_groups_per_user", "a user unit needs enforced caps on its rows"
        )
    return UnitOfPrivacy(
        kind,
        column.name,
        values.get("max_groups_per_user"),
        values.get("max_rows_per_user_group"),
        values.get("max_rows_per_user"),
    )


def parse_relation(document: object, pointer: str = "/relation") -> Relation:
    """Validate the neighbouring relation (L8).

    Raises:
        InvalidParameter: not one of the three relations.
    """
    return cast(Relation, read_choice(document, pointer, get_args(Relation)))


def parse_nominal_size(document: object, pointer: str = "/nominal_size") -> int:
    """Validate the declared public size, in units of privacy (R17).

    Raises:
        InvalidParameter: not an integer from 1 to 10**12.
    """
    return read_integer(document, pointer, low=1, high=10**12)


def parse_source(document: object, pointer: str = "/source") -> Source:
    """Validate where the rows lie; the path stays below the root of its connection.

    Raises:
        InvalidParameter: with the pointer to the value that is wrong.
    """
    fields = read_object(document, pointer, required=("connection", "path", "format"))
    path = read_text(fields["path"], f"{pointer}/path", most=1024)
    parts = PurePosixPath(path).parts
    if path.startswith("/") or "\\" in path or ":" in path or ".." in parts or not parts:
        raise InvalidParameter(f"{pointer}/path", "a plain path below the connection's root")
    if any(sign in path for sign in "*?[]"):
        raise InvalidParameter(f"{pointer}/path", "a path names one file; patterns are refused")
    return Source(
        connection=read_text(fields["connection"], f"{pointer}/connection", most=200),
        path=path,
        format=cast(
            SourceFormat, read_choice(fields["format"], f"{pointer}/format", get_args(SourceFormat))
        ),
    )
