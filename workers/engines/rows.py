"""Attaches the file of a dataset, and nothing else, to a fresh database in memory.

The connection reads that one file, or the job's own copy of an object: external access is off, the
configuration is locked, and no extension is loaded. Values come in the declared types by a cast
that gives NULL instead of failing, because an error that depends on one row is an output. What is
left, a file that is no Parquet or a row too large for the memory of the job, is named among the
limits of every statement.

CSV is never given to the database's own reader: `workers.engines.lines` says why.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import duckdb
import numpy as np
from sqlglot import exp

from app.domain.columns import Column
from app.domain.errors import DomainError
from workers.engines.api import Input, RowsFile
from workers.engines.blocks import block_number, deciding_column, is_in_blocks, moment
from workers.engines.files import bring, check_path, is_declared
from workers.engines.lines import read_columns, read_header

TABLE = "input_rows"
# Columns of our own; no declared column has a name with a space in it.
BLOCK = "row block"
POSITION = "row position"
_MOMENT = "row moment"
_LINES = "file_lines"
_BATCH = "file_batch"

_SQL_TYPES = {
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "float32": "FLOAT",
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
# Integers that a file may hold and that fit BIGINT each as itself.
_INTEGERS = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
)
_NESTED = ("STRUCT", "MAP", "UNION", "VARIANT")


@dataclass(eq=False)
class RowsUnreadable(DomainError):
    """The rows could not be read or computed; the engine's own words can quote them, so none."""

    code: ClassVar[str] = "failed-after-touch"


@dataclass(frozen=True, slots=True)
class Attached:
    """One table of a job: an input, the name it is read by, and the wanted columns.

    with_position: the place of each row in its file, from 0, stands beside it as `row position`;
        only where `has_positions` says so.
    """

    source: Input
    table: str
    columns: Sequence[Column]
    with_position: bool = False


def has_positions(source: Input) -> bool:
    """Whether the rows of an input have places: those of one Parquet file, read whole."""
    return source.blocks is None and source.dataset.source.format == "parquet"


@contextmanager
def attach_rows(
    source: Input,
    columns: Sequence[Column],
    *,
    spill: Path,
    threads: int = 2,
    memory_limit: str = "2GB",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """One input as the view `input_rows`: see `attach_tables`."""
    table = Attached(source, TABLE, columns)
    with attach_tables(
        [table], spill=spill, threads=threads, memory_limit=memory_limit
    ) as connection:
        yield connection


@contextmanager
def attach_tables(
    tables: Sequence[Attached],
    *,
    spill: Path,
    threads: int = 2,
    memory_limit: str = "2GB",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with each input's columns, in their declared types, as a view of its own.

    Of a dataset with blocks it holds the rows of the job's blocks and no other: what becomes of a
    row depends on that row and its file alone, so a unit that leaves changes its own block (R8).
    Where units are users' periods, the number of a row's block stands beside it as `row block`.

    Copies objects and reads private rows: call it only after the units are started (L2). The unit
    column is the exception to the types: it comes as it stands in the file, so that a cast never
    makes one unit of two (`007` and `7`), and NULL where its text is not UTF-8.

    Args:
        tables: the inputs; nothing but their files can be read.
        spill: a folder for what does not fit into `memory_limit`; inside the job's scratch.
        threads: worker threads of the database.
        memory_limit: such as `2GB`.

    Raises:
        RowsUnreadable: a column is not in the file's own schema, a file is not what was declared,
            or any failure of the file or the database, here or in the body, with no text.
    """
    parts = [part for table in tables for part in table.source.files]
    files = [part.file for part in parts]
    for file in files:
        check_path(file)
    connection: duckdb.DuckDBPyConnection | None = None
    try:
        for part in parts:
            bring(part)
        connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "temp_directory": str(spill),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,
            },
        )
        paths = exp.Array(expressions=[exp.Literal.string(str(file)) for file in files])
        connection.execute(f"SET allowed_paths = {paths.sql(dialect='duckdb')}")
        connection.execute("SET enable_external_access = false")
        # A time with a zone must not be read in the zone of the machine.
        connection.execute("SET TimeZone = 'UTC'")
        for table in tables:
            connection.execute(_view_of(connection, table).sql(dialect="duckdb"))
        connection.execute("SET lock_configuration = true")
        yield connection
    except (duckdb.Error, OSError):
        raise RowsUnreadable from None
    finally:
        if connection is not None:
            connection.close()


def _view_of(connection: duckdb.DuckDBPyConnection, table: Attached) -> exp.Create:
    source = table.source
    parts = [
        _rows_of(connection, source, part, table.columns, f"{_LINES}_{table.table}_{number}")
        for number, part in enumerate(source.files)
    ]
    rows = parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)
    if table.with_position and has_positions(source):
        place = exp.column("file_row_number", quoted=True)
        rows = rows.select(exp.alias_(place, POSITION, quoted=True), copy=False)
    if _has_periods(source) and source.blocks is not None:
        names: list[exp.Expr] = [exp.column(each.name, quoted=True) for each in table.columns]
        block = block_number(source.dataset, source.blocks.ranges, _MOMENT)
        rows = exp.select(*names, exp.alias_(block, BLOCK, quoted=True)).from_(rows.subquery("all"))
    return exp.Create(this=exp.to_table(table.table), kind="VIEW", expression=rows)


def _rows_of(
    connection: duckdb.DuckDBPyConnection,
    source: Input,
    part: RowsFile,
    columns: Sequence[Column],
    lines: str,
) -> exp.Select:
    """The wanted columns of one file, as far as its rows lie in the job's blocks."""
    if not is_declared(part):
        raise RowsUnreadable
    read = _csv_rows if part.format == "csv" else _parquet_rows
    partition, chosen = source.dataset.blocks, source.blocks
    if partition is None or chosen is None:
        return read(connection, source, part, columns, lines)
    column = deciding_column(source.dataset)
    with_it = columns if column in columns else (*columns, column)
    inner = read(connection, source, part, with_it, lines).subquery("of_file")
    names: list[exp.Expr] = [exp.column(each.name, quoted=True) for each in columns]
    if _has_periods(source):
        names.append(exp.alias_(moment(source.dataset, part.open_from), _MOMENT, quoted=True))
    condition = is_in_blocks(source.dataset, chosen.ranges, part.open_from)
    return (
        exp.select(*(names or [exp.alias_(exp.Literal.number(1), "row")]))
        .from_(inner)
        .where(condition)
    )


def _csv_rows(
    connection: duckdb.DuckDBPyConnection,
    source: Input,
    part: RowsFile,
    columns: Sequence[Column],
    lines: str,
) -> exp.Select:
    """Copies the wanted fields of every line, as text, into a table that spills with the job."""
    fields = [f"field_{index}" for index in range(max(1, len(columns)))]
    with part.file.open("rb") as file:
        header = [name.lower() for name in read_header(file)]
        # A query that only counts still needs one field a line.
        places = [_only_place(header, column) for column in columns] or [0]
        _load(connection, file, places, lines, fields)
    values: list[exp.Expr] = [
        exp.column(field)
        if _is_unit(source, column)
        else _cast(exp.column(field), _declared_type(column))
        for column, field in zip(columns, fields, strict=False)
    ]
    return _selected(columns, values, exp.to_table(lines))


def load_lines(connection: duckdb.DuckDBPyConnection, file: Path, table: str) -> tuple[str, ...]:
    """Copy every field of a CSV file, as text, into a table; gives its columns, as the file does.

    A table is made only where each column has a name of its own.
    """
    with file.open("rb") as opened:
        names = read_header(opened)
        if len({name.lower() for name in names} - {""}) == len(names):
            _load(connection, opened, range(len(names)), table, names)
    return names


def _load(
    connection: duckdb.DuckDBPyConnection,
    file: BinaryIO,
    places: Sequence[int],
    table: str,
    names: Sequence[str],
) -> None:
    fields = [exp.to_identifier(name, quoted=True).sql(dialect="duckdb") for name in names]
    declared = ", ".join(f"{field} VARCHAR" for field in fields)
    connection.execute(f"CREATE TABLE {table} ({declared})")
    # Every value is text or missing; no type may be guessed from a sample of them.
    connection.execute("SET pandas_analyze_sample = 0")
    for batch in read_columns(file, places):
        arrays = [np.array(values, dtype=object) for values in batch]
        connection.register(_BATCH, dict(zip(names, arrays, strict=True)))
        connection.execute(f"INSERT INTO {table} SELECT * FROM {_BATCH}")  # noqa: S608
        connection.unregister(_BATCH)


def _only_place(header: Sequence[str], column: Column) -> int:
    name = column.name.lower()
    if header.count(name) != 1:
        raise RowsUnreadable
    return header.index(name)


def _parquet_rows(
    connection: duckdb.DuckDBPyConnection,
    source: Input,
    part: RowsFile,
    columns: Sequence[Column],
    _lines: str,
) -> exp.Select:
    reader = read_parquet(part.file)
    everything = exp.select("*").from_(reader).sql(dialect="duckdb")
    # The reader also answers to names of its own, such as the number of a row: none is a column.
    described = connection.execute(f"DESCRIBE {everything}").fetchall()
    types = {str(row[0]).lower(): str(row[1]) for row in described}
    if any(column.name.lower() not in types for column in columns):
        raise RowsUnreadable
    values = [
        unit_value(column.name, types[column.name.lower()])
        if _is_unit(source, column)
        else _parquet_value(column, types[column.name.lower()])
        for column in columns
    ]
    return _selected(columns, values, reader.copy())


def read_parquet(file: Path) -> exp.Table:
    """The rows of a Parquet file, as they are read everywhere here."""
    return _call(
        "read_parquet",
        exp.Literal.string(str(file)),
        hive_partitioning=exp.false(),
        # By default one text that is not UTF-8 fails the whole query.
        utf8_validation=exp.Literal.string("replace"),
    )


def _parquet_value(column: Column, found: str) -> exp.Expr:
    value: exp.Expr = exp.column(column.name, quoted=True)
    if found == "VARCHAR":
        # The reader puts "?" for what is not UTF-8, but skips row groups by the raw bytes: a
        # comparison pushed into it would let other rows decide about such a row. This holds it up.
        marked = exp.Anonymous(this="contains", expressions=[value, exp.Literal.string("?")])
        joined = exp.DPipe(this=value.copy(), expression=exp.Literal.string(""), safe=True)
        value = exp.Case().when(marked, joined).else_(value.copy())
    return _cast(value, _declared_type(column))


def unit_value(name: str, found: str) -> exp.Expr:
    """The unit as a value that is equal for equal values of the file alone.

    Args:
        name: the column of a Parquet file that names the user.
        found: its type there.

    Raises:
        RowsUnreadable: two values of the type could print alike.
    """
    value = exp.column(name, quoted=True)
    if found in _INTEGERS:
        return _cast(value, "BIGINT")
    if found.endswith("]") or found.startswith(_NESTED):
        raise RowsUnreadable
    if found != "VARCHAR":
        return _cast(value, "VARCHAR")
    # Two names that are not UTF-8 could both read "?"; then neither is one.
    marked = exp.Anonymous(this="contains", expressions=[value, exp.Literal.string("?")])
    return exp.Case().when(exp.Not(this=marked), value.copy())


def _has_periods(source: Input) -> bool:
    unit = source.dataset.unit
    return unit is not None and unit.kind == "user_period"


def _is_unit(source: Input, column: Column) -> bool:
    unit = source.dataset.unit
    return unit is not None and unit.column == column.name


def _selected(
    columns: Sequence[Column], values: Sequence[exp.Expr], source: exp.Expr
) -> exp.Select:
    selected = [
        exp.alias_(value, column.name, quoted=True)
        for column, value in zip(columns, values, strict=True)
    ]
    query = exp.select(*(selected or [exp.alias_(exp.Literal.number(1), "row")]))
    return query.from_(source)


def _cast(value: exp.Expr, to: str) -> exp.Expr:
    return exp.TryCast(this=value, to=exp.DataType.build(to, dialect="duckdb"))


def _declared_type(column: Column) -> str:
    return _SQL_TYPES[column.type] + "[]" * len(column.shape)


def _call(name: str, path: exp.Expr, **options: exp.Expr) -> exp.Table:
    settings = [
        exp.PropertyEQ(this=exp.to_identifier(key), expression=value)
        for key, value in options.items()
    ]
    return exp.Table(this=exp.Anonymous(this=name, expressions=[path, *settings]))
