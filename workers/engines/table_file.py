"""A released table as a Parquet file beside the result, for those who analyse further.

It holds what was released and nothing else: the document is complete before this file is begun.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from app.reporting.result_table import (
    RESULT_PARQUET,
    FieldType,
    ResultTable,
    has_table,
    result_table,
)

log = logging.getLogger(__name__)

# a decimal text has at most 15 digits here, which a double gives back as they were
STORED: Final[dict[FieldType, str]] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "decimal": "DOUBLE",
}
LINES: Final = "result.ndjson"


def keep_table(document: Mapping[str, Any], scratch: Path) -> tuple[str, ...]:
    """Write the result's table into the job's folder, if it has one.

    Returns:
        The name of the file that was written. None where the result is no table, or where writing
        failed: a release that is paid for is not lost for want of a second form of it.
    """
    if not has_table(document):
        return ()
    try:
        write_parquet(result_table(document), scratch)
    except Exception as failed:
        log.warning("job.no_table_file error=%s", type(failed).__name__)
        (scratch / RESULT_PARQUET).unlink(missing_ok=True)
        return ()
    finally:
        (scratch / LINES).unlink(missing_ok=True)
    return (RESULT_PARQUET,)


def write_parquet(table: ResultTable, scratch: Path) -> None:
    """Write a table, its notes in the file's own metadata.

    The rows go through lines of JSON with declared types, so nothing is guessed: integers and
    floats arrive as they are, and a text that looks like a number stays a text.
    """
    import duckdb
    from sqlglot import exp

    def quoted(text: str) -> str:
        return exp.Literal.string(text).sql(dialect="duckdb")

    types = [STORED[column.type] + ("[]" if column.is_list else "") for column in table.columns]
    with (scratch / LINES).open("w", encoding="utf-8") as file:
        for row in table.rows:
            fields = {
                f"c{place}": _stored(value, table.columns[place].type)
                for place, value in enumerate(row)
            }
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")
    declared = ", ".join(f"'c{place}': {quoted(type_)}" for place, type_ in enumerate(types))
    shown = ", ".join(
        f"c{place} AS {exp.to_identifier(column.name, quoted=True).sql(dialect='duckdb')}"
        for place, column in enumerate(table.columns)
    )
    source = (
        f"read_json({quoted(str(scratch / LINES))}, format = 'newline_delimited',"
        f" columns = {{{declared}}}, maximum_object_size = {2**30})"
    )
    with duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    ) as connection:
        query = f"SELECT {shown} FROM {source}"  # noqa: S608 - every part is quoted
        notes = quoted(json.dumps(list(table.notes)))
        connection.execute(
            f"COPY ({query}) TO {quoted(str(scratch / RESULT_PARQUET))}"
            f" (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{notes: {notes}}})"
        )


def _stored(value: Any, type_: FieldType) -> Any:
    if type_ == "decimal" and value is not None:
        return [float(each) for each in value] if isinstance(value, list) else float(value)
    return value
