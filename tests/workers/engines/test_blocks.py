"""A job reads the rows of its blocks and no other, by a rule over each row alone (R8)."""

import hashlib
import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import duckdb
import pytest

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.partitions import HashBlocks, Ranges, hash_block
from workers.engines.api import ChosenBlocks, Input, RowsFile
from workers.engines.rows import RowsUnreadable, attach_rows

Kind = Literal["csv", "parquet"]
ZONE = "Europe/Berlin"
TIME = {
    "kind": "time",
    "column": "at",
    "period": "day",
    "time_zone": ZONE,
    "first_day": "2026-03-27",
    "grace_days": 0,
}


def dataset(at: str = "timestamp") -> Dataset:
    return dataset_from_json(
        {
            "name": "visits",
            "access": "private",
            "columns": [{"name": "at", "type": at}, {"name": "id", "type": "int64"}],
            "source": {"connection": "c", "path": "visits.csv", "format": "csv"},
            "unit_of_privacy": {"kind": "record"},
            "relation": "add_remove",
            "nominal_size": 100,
            "blocks": TIME,
        },
        id="d",
    )


def users(count: int = 8) -> Dataset:
    return dataset_from_json(
        {
            "name": "buyers",
            "access": "private",
            "columns": [{"name": "who", "type": "string"}, {"name": "id", "type": "int64"}],
            "source": {"connection": "c", "path": "buyers.csv", "format": "csv"},
            "unit_of_privacy": {
                "kind": "user",
                "column": "who",
                "max_groups_per_user": 1,
                "max_rows_per_user_group": 9,
            },
            "relation": "add_remove",
            "nominal_size": 100,
            "blocks": {"kind": "unit_hash", "count": count},
        },
        id="d9",
    )


def write(file: Path, kind: Kind, name: str, type_: str, rows: list[tuple[Any, int]]) -> None:
    if kind == "csv":
        lines = [f"{'' if value is None else value},{id_}" for value, id_ in rows]
        file.write_text("\n".join([f"{name},id", *lines]) + "\n")
        return
    with duckdb.connect() as connection:
        connection.execute(f'CREATE TABLE t ("{name}" {type_}, id BIGINT)')
        if rows:
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        connection.execute(f"COPY t TO '{file}' (FORMAT parquet)")


def ids(
    on: Dataset,
    files: tuple[RowsFile, ...],
    ranges: Ranges,
    tmp_path: Path,
    *,
    only_id: bool = True,
) -> list[int]:
    source = Input(on, len(files), files[-1].file, ChosenBlocks(ranges, files))
    columns = on.columns[1:] if only_id else on.columns
    with attach_rows(source, columns, spill=tmp_path / "spill") as connection:
        rows = connection.execute("SELECT id FROM input_rows ORDER BY id").fetchall()
    return [int(row[0]) for row in rows]


def by_block(
    on: Dataset, files: tuple[RowsFile, ...], blocks: int, tmp_path: Path
) -> dict[int, list[int]]:
    return {block: ids(on, files, ((block, block),), tmp_path) for block in range(blocks)}


def moment(day: int, hour: int, minute: int = 0) -> datetime:
    """In March 2026, as a file has it: UTC without saying so."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC).replace(tzinfo=None)


def own_block(at: datetime) -> int:
    return (at.replace(tzinfo=UTC).astimezone(ZoneInfo(ZONE)).date() - date(2026, 3, 27)).days


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_lies_in_the_block_of_its_time_and_in_no_other(kind: Kind, tmp_path: Path) -> None:
    chance = random.Random(1)
    # over the night in which the clocks of Berlin go forward
    start = moment(26, 23)
    moments = [start + timedelta(seconds=chance.randrange(4 * 86400 - 7200)) for _ in range(300)]
    moments += [start, start + timedelta(days=1), start + timedelta(seconds=-1)]
    moments += [moment(28, 22, 59), moment(28, 23), moment(29, 22)]
    file = tmp_path / f"rows.{kind}"
    write(file, kind, "at", "TIMESTAMP", [(each, id_) for id_, each in enumerate(moments)])
    found = by_block(dataset(), (RowsFile(file, kind),), 4, tmp_path)
    expected = defaultdict(list)
    for id_, each in enumerate(moments):
        expected[max(own_block(each), 0)].append(id_)
    assert found == {block: expected[block] for block in range(4)}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_date_lies_in_the_block_of_its_day(kind: Kind, tmp_path: Path) -> None:
    file = tmp_path / f"rows.{kind}"
    days = [date(2026, 3, 27) + timedelta(days=n % 5) for n in range(20)]
    write(file, kind, "at", "DATE", [(each, id_) for id_, each in enumerate(days)])
    files = (RowsFile(file, kind),)
    assert ids(dataset("date"), files, ((1, 2), (4, 4)), tmp_path) == [
        n for n in range(20) if n % 5 in (1, 2, 4)
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_late_row_lies_in_the_block_that_was_open_when_it_came(
    kind: Kind, tmp_path: Path
) -> None:
    first, second = tmp_path / f"first.{kind}", tmp_path / f"second.{kind}"
    day = moment(27, 12)
    early = [(day + timedelta(days=n), n) for n in range(3)]
    late = [(day, 10), (None, 11), (day - timedelta(days=400), 12), (day + timedelta(days=2), 13)]
    write(first, kind, "at", "TIMESTAMP", early)
    write(second, kind, "at", "TIMESTAMP", late)
    # the first version closed blocks 0 and 1
    files = (RowsFile(first, kind, 0), RowsFile(second, kind, 2))
    assert by_block(dataset(), files, 4, tmp_path) == {
        0: [0],
        1: [1],
        2: [2, 10, 11, 12, 13],
        3: [],
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_that_leaves_changes_its_own_block_and_no_other(kind: Kind, tmp_path: Path) -> None:
    chance = random.Random(2)
    start = moment(27, 0)
    rows: list[tuple[Any, int]] = [
        (start + timedelta(hours=chance.randrange(96)), id_) for id_ in range(40)
    ]
    rows[5] = (None, 5)
    file = tmp_path / f"rows.{kind}"
    write(file, kind, "at", "TIMESTAMP", rows)
    files = (RowsFile(file, kind, 1),)
    before = by_block(dataset(), files, 5, tmp_path)
    assert sorted(id_ for each in before.values() for id_ in each) == list(range(40))
    for gone in (0, 5, 17, 39):
        write(file, kind, "at", "TIMESTAMP", [row for row in rows if row[1] != gone])
        after = by_block(dataset(), files, 5, tmp_path)
        changed = [block for block in before if before[block] != after[block]]
        assert len(changed) == 1
        assert set(before[changed[0]]) - set(after[changed[0]]) == {gone}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_user_lies_in_one_block_by_the_public_rule(kind: Kind, tmp_path: Path) -> None:
    chance = random.Random(3)
    names = ["ann", "bob", "7", "007", "", "é", "a b", *(f"u{n}" for n in range(60))]
    rows: list[tuple[Any, int]] = [(chance.choice(names), id_) for id_ in range(200)]
    rows[3] = (None, 3)
    file = tmp_path / f"rows.{kind}"
    write(file, kind, "who", "VARCHAR", rows)
    on, partition = users(), HashBlocks(8)
    files = (RowsFile(file, kind),)
    found = by_block(on, files, 8, tmp_path)
    expected = defaultdict(list)
    for who, id_ in rows:
        # a CSV has no empty text: it is a missing one
        if who is not None and not (kind == "csv" and who == ""):
            expected[hash_block("d9", who, partition)].append(id_)
    assert found == {block: expected[block] for block in range(8)}
    gone = rows[0][0]
    write(file, kind, "who", "VARCHAR", [row for row in rows if row[0] != gone])
    after = by_block(on, files, 8, tmp_path)
    assert [b for b in found if found[b] != after[b]] == [hash_block("d9", gone, partition)]


def test_the_same_user_lies_elsewhere_in_another_dataset() -> None:
    blocks = HashBlocks(4096)
    assert hash_block("d1", "ann", blocks) != hash_block("d2", "ann", blocks)
    counts = [0] * 16
    for n in range(4800):
        counts[hash_block("d", f"user {n}", HashBlocks(16))] += 1
    assert 200 < min(counts) <= max(counts) < 400


def test_the_deciding_column_is_read_whether_it_is_wanted_or_not(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    write(file, "csv", "at", "", [("2026-03-27T12:00:00", 1), ("2026-03-28T12:00:00", 2)])
    files = (RowsFile(file, "csv"),)
    for only_id in (True, False):
        assert ids(dataset(), files, ((1, 1),), tmp_path, only_id=only_id) == [2]


def test_a_file_that_is_not_what_was_declared_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    write(file, "csv", "at", "", [("2026-03-27T12:00:00", 1)])
    part = RowsFile(file, "csv", 0, hashlib.sha256(file.read_bytes()).hexdigest())
    assert ids(dataset(), (part,), ((0, 0),), tmp_path) == [1]
    with pytest.raises(RowsUnreadable):
        ids(dataset(), (replace(part, sha256="0" * 64),), ((0, 0),), tmp_path)
