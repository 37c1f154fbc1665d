"""Slices of units change what a query costs and never what it says, however a file is ordered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.datasets import Dataset
from app.domain.queries import QueryPlan
from tests.workers.engines.query.made import dataset, plan_for, query, work_for
from workers.engines.query.slices import Slice, Slicing, _ranges, slicing_of
from workers.engines.query.table import BoundedTable, bounded_table, prepare_table
from workers.engines.rows import RowsUnreadable

MANY = {"nominal_size": 300_000}
MEASURES: list[dict[str, Any]] = [
    {"fn": "count"},
    {"fn": "sum", "col": "distance"},
    {"fn": "mean", "col": "dep_delay"},
    {"fn": "quantile", "col": "distance", "bins": 8, "q": ["0.5"]},
    {"fn": "top_k", "col": "origin", "k": 2},
]
BOUNDS = {"max_groups": 2, "max_rows": 4}
# Three stretches of rows; 60,000 users with five rows each, in four groups.
MADE = (
    "SELECT 'N' || lpad((i % 60000)::VARCHAR, 5, '0') AS tailnum,"
    " chr(65 + (i * 7 % 13 % 4)::INT) AS dest, 1 AS month,"
    " CASE i % 3 WHEN 0 THEN 'EWR' WHEN 1 THEN 'JFK' ELSE 'LGA' END AS origin,"
    " i * 37 % 4999 AS distance, (i % 200 - 50) / 2 AS dep_delay FROM range(300000) AS rows(i)"
)
ORDERS = {
    "sorted": "ORDER BY tailnum",
    "scattered": "ORDER BY hash(distance, tailnum, 1)",
    # Every stretch but the last says of itself that its units are all below those of the next.
    "sorted but for one unit": "ORDER BY tailnum = 'N00000' AND distance > 2000, tailnum",
}


@pytest.fixture(scope="module", params=ORDERS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slices") / "rows.parquet"
    write(path, f"{MADE} {ORDERS[request.param]}")
    return path


def write(path: Path, rows: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20480)")


def planned(on: Dataset) -> QueryPlan:
    return plan_for(query(MEASURES, [{"col": "dest", "keys": "private"}], bounds=BOUNDS), on)


def tables_of(file: Path, folder: Path) -> tuple[BoundedTable, BoundedTable, BoundedTable]:
    """All rows at once; as the engine divides them; by hash alone."""
    few, many = dataset(), dataset(**MANY)
    plan = planned(many)
    whole = bounded_table(work_for(plan, few, file, folder), plan)
    work = work_for(plan, many, file, folder)
    prepared = prepare_table(plan, work, memory_limit="2GB")
    assert set(prepared.statements) == {"hash", "range"}
    hashed = replace(prepared, statements={"hash": prepared.statements["hash"]})
    return whole, bounded_table(work, plan, prepared), bounded_table(work, plan, hashed)


def test_slices_add_up_to_the_table_of_all_rows_whatever_their_order(
    file: Path, tmp_path: Path
) -> None:
    whole, divided, hashed = tables_of(file, tmp_path)
    assert divided == whole
    assert hashed == whole
    assert len(whole.cells) == 4


def test_a_unit_that_leaves_a_file_which_lies_about_its_order_moves_its_bound_at_most(
    tmp_path: Path,
) -> None:
    on = dataset(**MANY)
    plan = planned(on)
    lie = ORDERS["sorted but for one unit"]
    tables = []
    for name, where in (("all", "TRUE"), ("without", "tailnum <> 'N00000'")):
        path = tmp_path / f"{name}.parquet"
        write(path, f"SELECT * FROM ({MADE}) WHERE {where} {lie}")
        tables.append(bounded_table(work_for(plan, on, path, tmp_path), plan).cells)
    held, without = tables
    changed = [cell for cell in held if held[cell] != without[cell]]
    assert 1 <= len(changed) <= 2
    for place, noisy in enumerate(plan.noisy):
        moved = sum(abs(held[cell][place] - without[cell][place]) for cell in held)
        assert moved <= 2 * noisy.quantity.bound


def test_a_sorted_file_is_read_in_ranges_and_a_scattered_one_is_not(tmp_path: Path) -> None:
    stretches = [(place, 10 * place, 10 * place + 10) for place in range(40)]
    ranges = _ranges(stretches, 8)
    assert ranges is not None
    assert len(ranges) == 8
    assert _ranges([(place, 0, 400) for place in range(40)], 8) is not None  # one slice for all
    assert _ranges([(place, place, 400) for place in range(40)], 8) is None


STRETCHES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30)


@given(ends=STRETCHES, wanted=st.integers(1, 12), unit=st.integers(0, 50))
def test_a_unit_lies_in_one_range_and_its_rows_lie_within_that_ranges_positions(
    ends: list[tuple[int, int]], wanted: int, unit: int
) -> None:
    found = [(place, min(pair), max(pair)) for place, pair in enumerate(ends)]
    slices = _ranges(found, wanted)
    if slices is None:
        return
    stretches = [place for place, low, high in found if low <= unit <= high]
    holding = [each for each in slices if holds(each, unit)]
    assert len(holding) <= 1
    for place in stretches:
        (only,) = holding
        assert only.values["first_row"] <= place * 122_880
        assert only.values["last_row"] >= (place + 1) * 122_880 - 1


def holds(each: Slice, unit: int) -> bool:
    low, high = each.values["low"], each.values["high"]
    return (low is None or unit >= low) and (high is None or unit < high)


def test_the_number_of_slices_follows_from_the_declared_size_and_the_memory_alone() -> None:
    few, many = dataset(), dataset(nominal_size=11_000_000)
    assert slicing_of(planned(few), few, "2GB") is None
    assert slicing_of(planned(many), many, "2GB") == Slicing(hashes=14, ranges=147)
    tight = slicing_of(planned(many), many, "200MB")
    assert tight is not None
    assert tight.hashes > 100
    record = dataset(unit_of_privacy={"kind": "record"}, nominal_size=10**9)
    assert slicing_of(plan_for(query(MEASURES[:1], []), record), record, "2GB") is None


def test_lines_are_read_into_one_database_and_give_the_same_table(tmp_path: Path) -> None:
    csv, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    rows = f"{MADE} LIMIT 20000"
    write(parquet, rows)
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{csv}' (FORMAT csv, HEADER)")
    source = {"connection": "demo", "path": "rows.csv", "format": "csv"}
    few, lines = dataset(), dataset(source=source, **MANY)
    plan = planned(few)
    assert bounded_table(work_for(plan, lines, csv, tmp_path), plan) == bounded_table(
        work_for(plan, few, parquet, tmp_path), plan
    )


def test_a_file_that_breaks_in_a_slice_says_nothing(tmp_path: Path) -> None:
    on = dataset(**MANY)
    plan = planned(on)
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"PAR1 but not for long PAR1")
    with pytest.raises(RowsUnreadable):
        bounded_table(work_for(plan, on, file, tmp_path), plan)
