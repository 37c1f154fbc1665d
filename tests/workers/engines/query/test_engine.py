import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.domain.datasets import Dataset
from app.domain.queries import QueryPlan
from tests.workers.engines.query.made import (
    ALL_MEASURES,
    PRIVATE_DEST,
    RECORD,
    dataset,
    plan_for,
    query,
    work_for,
)
from workers.engines.api import ClaimLost, EngineRefused, Outcome
from workers.engines.query.engine import QueryEngine
from workers.engines.query.release import build_samplers, release
from workers.engines.query.table import BoundedTable, Cell, bounded_table
from workers.engines.rows import RowsUnreadable

MONTHS = {"col": "month", "keys": "domain"}
ORIGINS = {"col": "origin", "keys": "domain"}
SCHEMA = (
    "tailnum VARCHAR, dest VARCHAR, month BIGINT, origin VARCHAR, distance BIGINT, dep_delay DOUBLE"
)


class Started:
    """A ledger that remembers, and that can fail at a part or do something at the last one."""

    def __init__(self, fails_at: int | None = None, last: int | None = None) -> None:
        self.parts: list[tuple[int, int]] = []
        self.fails_at = fails_at
        self.last = last
        self.then: Any = None

    def start(self, part: int, started_units: int) -> None:
        if part == self.fails_at:
            raise ClaimLost
        self.parts.append((part, started_units))
        if part == self.last:
            self.then()

    def progress(self, fields: Mapping[str, Any]) -> None:
        raise AssertionError("a query has no progress to tell")


def write(file: Path, rows: list[tuple[Any, ...]]) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE made ({SCHEMA})")
        if rows:
            connection.executemany("INSERT INTO made VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute(f"COPY made TO '{file}' (FORMAT parquet)")
    return file


def run(plan: QueryPlan, on: Dataset, file: Path, scratch: Path) -> Outcome:
    return QueryEngine().prepare(work_for(plan, on, file, scratch)).run(Started())


def shape(outcome: Outcome) -> Any:
    """All of a result that may not depend on rows under public keys."""
    document = json.loads(json.dumps(outcome.result))
    for row in document["rows"]:
        for cell in row["cells"]:
            del cell["value"]
            if cell["measure"].startswith("mean"):
                del cell["half_width_95"]
    return document


@pytest.mark.parametrize("fails_at", [0, 1, 4])
def test_a_start_that_fails_leaves_the_file_unopened(tmp_path: Path, fails_at: int) -> None:
    plan = plan_for(query(), dataset())
    assert len(plan.parts) == 5
    missing = tmp_path / "no-such-file.parquet"
    prepared = QueryEngine().prepare(work_for(plan, dataset(), missing, tmp_path))
    with pytest.raises(ClaimLost):
        prepared.run(Started(fails_at))


def test_every_part_is_started_before_the_file_is_opened(tmp_path: Path) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    file = tmp_path / "late.parquet"
    ledger = Started(last=len(plan.parts) - 1)
    ledger.then = lambda: write(file, [("N1", "ATL", 1, "EWR", 700, 3.0)])
    outcome = QueryEngine().prepare(work_for(plan, on, file, tmp_path)).run(ledger)
    assert ledger.parts == [(part, 1) for part in range(5)]
    assert outcome.result["rows"] == []


def test_a_missing_file_fails_without_a_word_of_the_engine(tmp_path: Path) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    with pytest.raises(RowsUnreadable) as failed:
        run(plan, on, tmp_path / "missing-secret.parquet", tmp_path)
    assert "secret" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_parts_that_are_not_the_plans_are_refused_before_rows(tmp_path: Path) -> None:
    on = dataset()
    cheap = plan_for(query(privacy={"epsilon": "0.5", "delta": "1e-8"}), on)
    dear = plan_for(query(privacy={"epsilon": "5", "delta": "1e-8"}), on)
    work = work_for(dear, on, tmp_path / "x.parquet", tmp_path)
    for parts in (work_for(cheap, on, tmp_path, tmp_path).parts, work.parts[:-1], ()):
        with pytest.raises(EngineRefused):
            QueryEngine().prepare(dataclasses.replace(work, parts=parts))


def test_a_spec_or_a_path_that_is_not_a_plain_query_is_refused(tmp_path: Path) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    work = work_for(plan, on, tmp_path / "x.parquet", tmp_path)
    refused = [
        dataclasses.replace(work, kind="train"),
        dataclasses.replace(work, inputs=()),
        dataclasses.replace(work, spec={**work.spec, "v": 2}),
        work_for(plan, on, tmp_path / "*.parquet", tmp_path),
    ]
    for each in refused:
        with pytest.raises(EngineRefused):
            QueryEngine().prepare(each)


def test_public_keys_give_the_same_cells_whatever_the_rows(flights: Path, tmp_path: Path) -> None:
    on = dataset()
    by: list[dict[str, Any]] = [MONTHS, ORIGINS, {"bin": "distance", "edges": [0, "499.5", 1000]}]
    plan = plan_for(query(ALL_MEASURES, by), on)
    odd = [
        ("N1", "ATL", 99, "EWR", 5, math.nan),
        (None, None, None, None, None, None),
        ("N2", "O'Hare\"; DROP", 1, "it's", -(2**63), math.inf),
    ]
    files = [flights, write(tmp_path / "empty.parquet", []), write(tmp_path / "odd.parquet", odd)]
    shapes = [shape(run(plan, on, file, tmp_path)) for file in files]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]["rows"]) == 12 * 3 * 2
    assert shapes[0]["rows"][1]["keys"] == {
        "month": 1,
        "origin": "EWR",
        "distance": "[499.5, 1000)",
    }
    assert [column["name"] for column in shapes[0]["columns"]] == [
        "month",
        "origin",
        "distance",
        "count",
        "count(dep_delay)",
        "sum(distance)",
        "mean(dep_delay)",
    ]


ODD_ROWS: list[list[tuple[Any, ...]]] = [
    [],
    [(None, None, None, None, None, None)] * 5,
    [(f"N{i}", "ATL", 1, "EWR", 10, value) for i, value in enumerate([math.nan, math.inf, 1e308])],
    [("'; --", "a'b\"c|\\", 1, "EWR", 2**63 - 1, -math.inf), ("x", None, 1, "EWR", 0, 0.0)],
    [("", "", -(2**63), "", -(2**63), -0.0), ("nul\x01", "é\U0001f600", 0, "", 0, 5e-324)],
]


@pytest.mark.parametrize("rows", ODD_ROWS)
@pytest.mark.parametrize("level", [{}, RECORD])
def test_no_content_of_rows_makes_a_query_fail(
    rows: list[tuple[Any, ...]], level: dict[str, Any], tmp_path: Path
) -> None:
    on = dataset(**level)
    file = write(tmp_path / "odd.parquet", rows)
    where = [["not", ["dep_delay", ">", "1e300"]], ["distance", "!=", 3]]
    private = plan_for(query(where=where), on)
    assert run(private, on, file, tmp_path).result["rows"] == []
    public = plan_for(query(where=where, group_by=[ORIGINS]), on)
    assert len(run(public, on, file, tmp_path).result["rows"]) == 3


def test_odd_keys_are_groups_of_their_own(tmp_path: Path) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query([{"fn": "count"}]), on)
    file = write(tmp_path / "odd.parquet", [row for rows in ODD_ROWS for row in rows])
    table = bounded_table(work_for(plan, on, file, tmp_path), plan)
    assert table.cells == {
        ("ATL",): (3,),
        (None,): (6,),
        ("a'b\"c|\\",): (1,),
        ("",): (1,),
        ("é\U0001f600",): (1,),
    }


def test_released_private_keys_are_sorted_and_reach_their_threshold(
    flights: Path, tmp_path: Path
) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query([{"fn": "count"}], [PRIVATE_DEST, MONTHS]), on)
    rows = run(plan, on, flights, tmp_path).result["rows"]
    keys = [(row["keys"]["dest"], row["keys"]["month"]) for row in rows]
    assert len(keys) > 300
    assert keys == sorted(keys)
    threshold = plan.noisy[0].threshold
    assert threshold is not None
    assert min(row["cells"][0]["value"] for row in rows) >= threshold


def test_released_counts_are_near_the_bounded_table_and_are_not_it(
    flights: Path, tmp_path: Path
) -> None:
    on = dataset()
    plan = plan_for(query(ALL_MEASURES, [MONTHS]), on)
    work = work_for(plan, on, flights, tmp_path)
    exact = bounded_table(work, plan).cells
    released = QueryEngine().prepare(work).run(Started()).result["rows"]
    errors = []
    for row in released:
        cell = row["cells"][0]
        error = cell["value"] - exact[(row["keys"]["month"],)][plan.outputs[0].value]
        assert abs(error) < 12 * float(cell["half_width_95"])
        errors.append(error)
    assert len(set(errors)) > 6


@pytest.mark.statistical
@pytest.mark.parametrize("noise", ["discrete_laplace", "discrete_gaussian"])
def test_intervals_cover_the_bounded_value_in_93_to_99_percent(noise: str) -> None:
    on = dataset(**RECORD)
    bins = [
        {"bin": "distance", "edges": list(range(41))},
        {"bin": "dep_delay", "edges": list(range(101))},
    ]
    privacy = {"epsilon": "0.3", "delta": "1e-8", "noise": noise}
    plan = plan_for(query(ALL_MEASURES, bins, privacy=privacy), on)
    # 2,000 values whose mean is 20 minutes: 160 steps above the centre of [-60, 180] by halves.
    by_kind = {"count": 2000, "units": 2000, "sum": 123_456, "centred_sum": -160_000}
    exact = tuple(by_kind[noisy.quantity.kind] for noisy in plan.noisy)
    cells: dict[Cell, tuple[int, ...]] = {(i, j): exact for i in range(40) for j in range(100)}
    document = release(plan, on, BoundedTable(cells), build_samplers(plan))
    truth = [2000, 2000, 123_456, 20]
    for place, true in enumerate(truth):
        inside = [
            abs(row["cells"][place]["value"] - true) <= float(row["cells"][place]["half_width_95"])
            for row in document["rows"]
        ]
        assert 0.93 <= sum(inside) / 4000 <= 0.99


def test_a_mean_over_a_count_that_is_lost_in_noise_has_the_width_of_its_range() -> None:
    on = dataset(**RECORD)
    plan = plan_for(query([{"fn": "mean", "col": "dep_delay"}], []), on)
    document = release(plan, on, BoundedTable({(): (0, 0)}), build_samplers(plan))
    for _ in range(20):
        (cell,) = document["rows"][0]["cells"]
        assert -60 <= cell["value"] <= 180
        if cell["half_width_95"] == "240":
            return
        document = release(plan, on, BoundedTable({(): (0, 0)}), build_samplers(plan))
    raise AssertionError("an empty group was given a narrow interval twenty times")


def test_notes_depend_on_the_plan_alone(flights: Path, tmp_path: Path) -> None:
    on = dataset()
    plan = plan_for(query([{"fn": "count"}], [ORIGINS]), on)
    empty = write(tmp_path / "empty.parquet", [])
    notes = [run(plan, on, file, tmp_path).result["notes"] for file in (flights, empty)]
    assert notes[0] == notes[1] != []


def test_a_result_from_lines_says_that_a_line_is_a_record() -> None:
    for kind, expected in (("csv", 1), ("parquet", 0)):
        on = dataset(source={"connection": "demo", "path": f"x.{kind}", "format": kind})
        plan = plan_for(query([{"fn": "count"}], [ORIGINS]), on)
        notes = release(plan, on, BoundedTable({}), build_samplers(plan))["notes"]
        assert sum("line" in note for note in notes) == expected


def test_the_query_is_written_before_anything_is_started(
    flights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = dataset()
    plan = plan_for(query([{"fn": "count"}], [ORIGINS]), on)
    prepared = QueryEngine().prepare(work_for(plan, on, flights, tmp_path))

    def too_late(*_: object) -> None:
        raise AssertionError("the query was written after the start")

    monkeypatch.setattr("workers.engines.query.table.bounding_query", too_late)
    assert len(prepared.run(Started()).result["rows"]) == 3


def test_nothing_is_left_in_the_scratch_folder(flights: Path, tmp_path: Path) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    work = work_for(plan, on, flights, tmp_path)
    QueryEngine(memory_limit="60MB").prepare(work).run(Started())
    assert list(tmp_path.iterdir()) == []
