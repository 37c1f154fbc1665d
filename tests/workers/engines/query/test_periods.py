"""The unit is what a user has in one block; what came late belongs where it came (R8)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.errors import InvalidParameter
from app.domain.partitions import Ranges, TimeBlocks
from app.domain.queries import QueryPlan
from tests.workers.engines.query.made import SALT, plan_for
from tests.workers.engines.query.test_bounding import keeps_the_bound
from workers.engines.api import ChosenBlocks, Input, ReservedPart, RowsFile, Work
from workers.engines.query.table import bounded_table

VISITS: dict[str, Any] = {
    "name": "visits",
    "access": "private",
    "source": {"connection": "demo", "path": "visits.csv", "format": "csv"},
    "columns": [
        {"name": "who", "type": "string"},
        {"name": "day", "type": "date", "nullable": True},
        {"name": "ward", "type": "string", "domain": ["a", "b", "c"], "domain_source": "public"},
        {"name": "cost", "type": "int64", "bounds": {"low": "0", "high": "10"}, "grid": "1"},
    ],
    "unit_of_privacy": {
        "kind": "user_period",
        "column": "who",
        "max_groups_per_user": 2,
        "max_rows_per_user_group": 2,
    },
    "relation": "add_remove",
    "nominal_size": 20,
    "blocks": {
        "kind": "time",
        "column": "day",
        "period": "week",
        "time_zone": "Europe/Helsinki",
        "first_day": "2024-01-01",
        "grace_days": 0,
    },
}
COLUMNS: list[dict[str, Any]] = VISITS["columns"]
FIRST = date(2024, 1, 1)
# the first block that was open when each of the two files came
OPEN_FROM = (0, 2)


@dataclass(frozen=True)
class Visit:
    """One row, and which of the two files it came in."""

    file: int
    who: str
    day: date | None
    ward: str
    cost: int

    @property
    def block(self) -> int:
        """Where R8 puts it."""
        own = 0 if self.day is None else (self.day - FIRST).days // 7
        return max(own, OPEN_FROM[self.file])

    @property
    def unit(self) -> tuple[str, int]:
        return self.who, self.block


def visits(seed: int, count: int = 150) -> list[Visit]:
    draw = random.Random(seed)
    return [
        Visit(
            file=draw.randrange(2),
            who=f"p{draw.randrange(6)}",
            day=None if draw.random() < 0.1 else FIRST + timedelta(days=draw.randrange(42)),
            ward=draw.choice("abc"),
            cost=draw.randrange(20),
        )
        for _ in range(count)
    ]


def work_over(
    folder: Path, plan: QueryPlan, on: Dataset, rows: Sequence[Visit], ranges: Ranges
) -> Work:
    folder.mkdir(exist_ok=True)
    files = []
    for number, open_from in enumerate(OPEN_FROM):
        lines = [
            f"{row.who},{row.day or ''},{row.ward},{row.cost}" for row in rows if row.file == number
        ]
        path = folder / f"{number}.csv"
        path.write_text("\n".join(["who,day,ward,cost", *lines]) + "\n")
        files.append(RowsFile(path, "csv", open_from, None))
    return Work(
        job_id=UUID(int=1),
        kind="query",
        spec=plan.spec.to_json(),
        inputs=(Input(on.of_blocks(ranges), 2, files[0].file, ChosenBlocks(ranges, tuple(files))),),
        parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in plan.parts),
        salt=SALT,
        scratch=folder / "scratch",
    )


def asked(measures: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    privacy = {"epsilon": "1", "delta": "0", "noise": "discrete_laplace"}
    return {"v": 1, "measures": measures, "group_by": [], "privacy": privacy, **changes}


@pytest.mark.parametrize("ranges", [((0, 5),), ((1, 1), (3, 4)), ((2, 2),)])
def test_each_period_of_a_user_is_a_unit_by_itself_and_late_rows_join_the_open_one(
    tmp_path: Path, ranges: Ranges
) -> None:
    on, rows = dataset_from_json(VISITS, id="d1"), visits(1)
    plan = plan_for(asked([{"fn": "count_distinct"}]), on)
    assert plan.has_periods
    table = bounded_table(work_over(tmp_path, plan, on, rows, ranges), plan)
    chosen = {block for low, high in ranges for block in range(low, high + 1)}
    expected = len({row.unit for row in rows if row.block in chosen})
    assert table.cells == {(): (expected,)}
    # over more than one block that is more than there are users
    assert len(chosen) == 1 or expected > 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ranges", [((0, 5),), ((1, 1), (3, 4))])
def test_leaving_out_what_a_user_has_in_one_block_moves_no_more_than_its_bounds(
    tmp_path: Path, seed: int, ranges: Ranges
) -> None:
    on, rows = dataset_from_json(VISITS, id="d1"), visits(seed)
    plan = plan_for(
        asked(
            [{"fn": "count"}, {"fn": "sum", "col": "cost"}],
            group_by=[{"col": "ward", "keys": ["a", "b", "c"]}],
        ),
        on,
    )
    whole = bounded_table(work_over(tmp_path, plan, on, rows, ranges), plan).cells
    moved = 0
    for unit in sorted({row.unit for row in rows}):
        rest = [row for row in rows if row.unit != unit]
        without = bounded_table(work_over(tmp_path, plan, on, rest, ranges), plan).cells
        assert keeps_the_bound(whole, without, plan), unit
        # what lies in a block that the job does not name moves nothing at all
        is_chosen = any(low <= unit[1] <= high for low, high in ranges)
        assert is_chosen or without == whole
        moved += without != whole
    assert moved > 5


def test_caps_that_forget_the_period_are_caught_by_the_property(tmp_path: Path) -> None:
    on, rows, ranges = dataset_from_json(VISITS, id="d1"), visits(1), ((0, 5),)
    plan = plan_for(asked([{"fn": "count_distinct"}]), on)
    forgetful = replace(plan, has_periods=False)
    table = bounded_table(work_over(tmp_path, forgetful, on, rows, ranges), forgetful)
    assert table.cells == {(): (6,)}


@pytest.mark.parametrize("column", ["int64", "string"])
def test_a_user_and_a_block_are_never_taken_for_another_pair(tmp_path: Path, column: str) -> None:
    columns = [{**each, **({"type": column} if each["name"] == "who" else {})} for each in COLUMNS]
    on = dataset_from_json({**VISITS, "columns": columns}, id="d1")
    # 1 in block 11 and 11 in block 1 read alike once nothing stands between them
    pairs = [("1", 11), ("11", 1), ("1", 1), ("11", 11), ("111", 0)]
    rows = [Visit(0, who, FIRST + timedelta(weeks=block), "a", 1) for who, block in pairs]
    plan = plan_for(asked([{"fn": "count_distinct"}]), on)
    table = bounded_table(work_over(tmp_path, plan, on, rows, ((0, 11),)), plan)
    assert table.cells == {(): (5,)}


@pytest.mark.parametrize("blocks", [None, {"kind": "none"}, {"kind": "unit_hash", "count": 4}])
def test_a_unit_of_periods_without_time_blocks_is_refused(blocks: Any) -> None:
    with pytest.raises(InvalidParameter) as refused:
        dataset_from_json({**VISITS, "blocks": blocks}, id="d1")
    assert refused.value.pointer.startswith("/blocks")


def test_a_unit_of_periods_has_the_blocks_of_its_calendar() -> None:
    on = dataset_from_json(VISITS, id="d1")
    assert isinstance(on.blocks, TimeBlocks)
    assert on.of_blocks(((0, 2),)).nominal_size == 60
