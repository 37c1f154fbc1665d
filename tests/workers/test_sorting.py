"""A sorted copy costs less and says the same; making one tells nothing of its rows."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

import workers.sorting
from tests.workers.engines.query.made import SALT, dataset, plan_for, query, work_for
from tests.workers.engines.query.test_slices import BOUNDS, MADE, MANY, MEASURES, planned, write
from workers.engines.query.slices import range_slices, slicing_of
from workers.engines.query.table import BoundedTable, bounded_table
from workers.engines.rows import TABLE, Attached, attach_tables
from workers.sorting import SortRefused, main, sort_copy

SCATTERED = f"{MADE} ORDER BY hash(distance, tailnum, 1)"
SECRET = "SHALLNOTBESAID"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.parquet"
    write(file, SCATTERED)
    return file


def answered(file: Path, scratch: Path) -> BoundedTable:
    on = dataset(**MANY)
    plan = planned(on)
    return bounded_table(work_for(plan, on, file, scratch, SALT), plan)


def ranges_of(file: Path, scratch: Path) -> Any:
    """The ranges that the engine finds in a file; None where it hashes."""
    on = dataset(**MANY)
    plan = planned(on)
    work = work_for(plan, on, file, scratch)
    columns = [column for column in on.columns if column.name == "tailnum"]
    attached = Attached(work.inputs[0], TABLE, columns, with_position=True)
    slicing = slicing_of(plan, on, "2GB")
    assert slicing is not None
    with attach_tables([attached], spill=scratch / "spill") as connection:
        return range_slices(connection, "tailnum", slicing)


def test_the_copy_is_read_in_ranges_and_gives_the_same_table_cell_for_cell(
    source: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "sorted.parquet"
    digest = sort_copy(source, copy, "tailnum")
    assert digest == hashlib.sha256(copy.read_bytes()).hexdigest()
    # scattered rows leave one range that holds them all, if any
    assert len(ranges_of(source, tmp_path) or "-") == 1
    assert len(ranges_of(copy, tmp_path)) == 3
    assert answered(copy, tmp_path) == answered(source, tmp_path)


def test_a_copy_is_made_within_its_memory_and_equal_sources_give_equal_copies(
    source: Path, tmp_path: Path
) -> None:
    digests = {
        sort_copy(source, tmp_path / f"{limit}.parquet", "tailnum", memory_limit=limit)
        for limit in ("60MB", "2GB")
    }
    assert len(digests) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2GB.parquet", "60MB.parquet"]


@pytest.mark.parametrize("unit", ["tailnum", "distance"])
def test_the_copy_of_a_file_of_lines_says_what_its_lines_say(tmp_path: Path, unit: str) -> None:
    csv, copy = tmp_path / "rows.csv", tmp_path / "sorted.parquet"
    lines = [
        "tailnum,dest,month,origin,distance,dep_delay",
        "N1,A,1,EWR,007,1.5",
        "N1,A,01,EWR,7,nan",
        'N2,"B, ""x""",two,JFK,7.0,',
        "N3,B,2",
        ",A,1,JFK,7,1",
        "N4,NULL,1,LGA,9,1,extra",
    ]
    csv.write_bytes("\n".join(lines).encode() + b"\nN\xff,A,1,JFK,5,1\n")
    caps = {"kind": "user", "max_groups_per_user": 3, "max_rows_per_user_group": 10}
    few: dict[str, Any] = {"unit_of_privacy": {**caps, "column": unit}}
    described = {"connection": "demo", "path": "rows.csv", "format": "csv"}
    sort_copy(csv, copy, unit)
    on, lined = dataset(**few), dataset(**few, source=described)
    measures = [each for each in MEASURES if each.get("col") != unit]
    plan = plan_for(query(measures, [{"col": "dest", "keys": "private"}], bounds=BOUNDS), on)
    assert bounded_table(work_for(plan, on, copy, tmp_path), plan) == bounded_table(
        work_for(plan, lined, csv, tmp_path), plan
    )


def test_a_text_that_is_not_utf_8_is_nobody_before_and_after(tmp_path: Path) -> None:
    file, copy = tmp_path / "rows.parquet", tmp_path / "sorted.parquet"
    write(file, f"{MADE} LIMIT 1000")
    content = file.read_bytes()
    file.write_bytes(content.replace(b"N00007", b"N0\xff\xfe\xfd7"))
    sort_copy(file, copy, "tailnum")
    assert answered(copy, tmp_path) == answered(file, tmp_path)


def test_a_name_that_a_copy_would_lose_is_refused(tmp_path: Path) -> None:
    csv = tmp_path / "rows.csv"
    csv.write_text(f"who,value\n{SECRET}?,1\n")
    with pytest.raises(SortRefused) as refused:
        sort_copy(csv, tmp_path / "copy.parquet", "who")
    assert SECRET not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    ("name", "content", "unit"),
    [
        ("broken.parquet", f"PAR1{SECRET}PAR1".encode(), "who"),
        ("twice.csv", f"who,WHO\n{SECRET},1\n".encode(), "who"),
        ("nameless.csv", f"who,\n{SECRET},1\n".encode(), "who"),
        ("other.csv", f"other\n{SECRET}\n".encode(), "who"),
        ("missing.parquet", None, "who"),
    ],
)
def test_what_cannot_be_copied_leaves_nothing_and_is_not_quoted(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    unit: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main([str(tmp_path / name), str(tmp_path / "copy.parquet"), "--unit", unit]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert SECRET not in said.err
    assert {path.name for path in tmp_path.iterdir()} <= {name}


def test_nothing_is_replaced_and_the_copy_is_as_well_kept_as_the_original(
    source: Path, tmp_path: Path
) -> None:
    source.chmod(0o600)
    copy = tmp_path / "copy.parquet"
    sort_copy(source, copy, "tailnum")
    assert copy.stat().st_mode & 0o777 == 0o600
    held = copy.read_bytes()
    with pytest.raises(SortRefused, match="already"):
        sort_copy(source, copy, "tailnum")
    assert copy.read_bytes() == held


def test_a_source_that_changes_meanwhile_gives_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.parquet"
    write(file, f"{MADE} LIMIT 1000")
    real = workers.sorting._write

    def changing(source: Path, *rest: Any, **options: Any) -> None:
        real(source, *rest, **options)
        os.utime(source, ns=(1, 1))

    monkeypatch.setattr(workers.sorting, "_write", changing)
    with pytest.raises(SortRefused, match="changed"):
        sort_copy(file, tmp_path / "copy.parquet", "tailnum")
    assert not (tmp_path / "copy.parquet").exists()


def test_the_command_says_the_path_and_the_digest_and_no_count(
    source: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.parquet"
    program = [sys.executable, "-c", "from app.cli import main; main()", "sort-copy"]
    answer = subprocess.run(
        [*program, str(source), str(copy), "--unit", "tailnum"],
        capture_output=True,
        text=True,
        check=True,
    )
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    assert answer.stdout == f"{copy}\nsha256 {digest}\n"
    assert answer.stderr == ""
    with duckdb.connect() as connection:
        groups = connection.execute(
            f"SELECT DISTINCT compression FROM parquet_metadata('{copy}')"
        ).fetchall()
    assert groups == [("ZSTD",)]
