"""How many groups and rows units have: no unit moves a tally by more than its one entry."""

import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlglot import exp

from app.domain.datasets import Dataset, dataset_from_json
from app.domain.partitions import Ranges
from app.domain.profiles import ProfilePlan, parse_profile, plan_profile
from app.domain.queries.quantities import Tally
from tests.workers.engines.query.made import PRIVATE_DEST, RECORD, SALT, dataset, work_for
from tests.workers.engines.query.test_bounding import some_units
from tests.workers.engines.query.test_periods import VISITS, visits, work_over
from tests.workers.engines.query.test_spreads import keeps_the_bound, weights
from workers.engines.api import EngineRefused
from workers.engines.query.bounding import spread_query
from workers.engines.query.dialects import DIALECTS, SQLITE
from workers.engines.query.table import Weights, bounded_table, weights_of

ORIGINS = {"col": "origin", "keys": ["EWR", "JFK"]}
FAR = {"bin": "distance", "edges": [0, 500, 1000]}
GROUPINGS: list[dict[str, Any]] = [
    {"by": [], "rows_most": 16},
    {"by": [PRIVATE_DEST], "groups_most": 6, "rows_most": 8},
    {"by": [ORIGINS, FAR]},
]


def planned(on: Dataset | None = None, **changes: Any) -> ProfilePlan:
    on = on or dataset()
    document = {
        "v": 1,
        "groupings": GROUPINGS,
        "values": [],
        "privacy": {"epsilon": "1", "delta": "0"},
        **changes,
    }
    return plan_profile(parse_profile(document, on), on)


def tallies(plan: ProfilePlan) -> Iterator[Tally]:
    for spread in plan.query.spreads:
        assert isinstance(spread, Tally)
        yield spread


@pytest.fixture(scope="module")
def few(winter: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The flights of 240 aircraft, so that each of 200 is left out quickly."""
    units = some_units(winter, 240)
    rows = winter.execute(
        "SELECT tailnum, dest, origin, distance FROM flights WHERE tailnum IN (SELECT unnest(?))",
        [units],
    ).fetchall()
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            "CREATE TABLE flights (tailnum VARCHAR, dest VARCHAR, origin VARCHAR, distance BIGINT)"
        )
        connection.executemany("INSERT INTO flights VALUES (?, ?, ?, ?)", rows)
        yield connection


def test_leaving_out_any_of_200_users_moves_every_tally_by_one_entry(
    few: duckdb.DuckDBPyConnection,
) -> None:
    leave_out(few, planned(groupings=GROUPINGS[:2]))


@pytest.mark.long
def test_leaving_out_any_of_200_users_of_a_month_moves_every_tally_by_one_entry(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    leave_out(winter, planned())


def leave_out(connection: duckdb.DuckDBPyConnection, plan: ProfilePlan) -> None:
    units = some_units(connection, 200)
    bounds = [tally.bound for tally in tallies(plan)]
    assert bounds == [1, 1, 1024, 1, 1024][: len(bounds)]
    for tally in tallies(plan):
        whole = weights(connection, plan.query, tally)
        moved = 0
        for unit in units:
            without = weights(connection, plan.query, tally, f"tailnum <> '{unit}'")
            assert keeps_the_bound(whole, without, plan.query, tally), unit
            moved += without != whole
        # somebody without a flight between the edges is no entry of the last two
        assert moved > 0.6 * len(units)


FAULTS = {
    "no share": "each group of a unit is a whole entry",
    "rows for units": "each row of a unit is an entry",
    "groups for units": "each group of a unit is an entry of its own",
    "bins of the data": "the bins depend on the rows of others",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_in_a_tally_is_caught_by_the_property(
    winter: duckdb.DuckDBPyConnection, fault: str
) -> None:
    plan = planned()
    of_rows, of_groups, shares, *_ = tallies(plan)
    tally = {"no share": shares, "rows for units": of_rows}.get(fault, of_groups)
    tree = spread_query(plan.query, tally, dataset(), SALT)
    if fault == "no share":
        next(tree.find_all(exp.IntDiv)).replace(exp.Literal.number(1024))
    elif fault == "rows for units":
        pre = next(cte for cte in tree.find_all(exp.CTE) if cte.alias == "pre")
        pre.set("this", exp.select("unit", "1 AS counted").from_("src"))
    elif fault == "groups for units":
        pre = next(cte for cte in tree.find_all(exp.CTE) if cte.alias == "pre")
        pre.set("this", exp.select("unit", "held AS counted").from_("fine"))
    else:
        busiest = exp.Subquery(this=exp.select("count(*) % 7").from_("src"))
        for number in list(tree.find_all(exp.LT)):
            number.set("this", exp.Add(this=exp.column("counted"), expression=busiest.copy()))
    sql = tree.sql(dialect="duckdb")
    whole = weights(winter, plan.query, tally, sql=sql)
    assert not all(
        keeps_the_bound(
            whole,
            weights(winter, plan.query, tally, f"tailnum <> '{unit}'", sql=sql),
            plan.query,
            tally,
        )
        for unit in some_units(winter, 40)
    )


def by_hand(rows: list[tuple[Any, ...]], tally: Tally) -> Weights:
    """The definition once more: rows of (unit, group), None for a group that is left out."""
    units: dict[str, Counter[Any]] = defaultdict(Counter)
    for unit, group in rows:
        if unit is not None and group is not None:
            units[unit][group] += 1

    def place(number: int) -> int:
        return sum(number >= edge for edge in tally.bins.edges[1:-1])

    found: Counter[int] = Counter()
    for held in units.values():
        if not tally.by:
            found[place(sum(held.values()))] += 1
        elif tally.of == "groups":
            found[place(len(held))] += 1
        else:
            for number in held.values():
                found[place(number)] += 1024 // len(held)
    return {(): {bin_: weight for bin_, weight in found.items() if weight}}


def test_a_tally_is_that_of_the_definition(winter: duckdb.DuckDBPyConnection) -> None:
    plan = planned()
    rows = winter.execute("SELECT tailnum, dest, origin, distance FROM flights").fetchall()
    groups: list[list[tuple[Any, ...]]] = [
        [(unit, "") for unit, *_ in rows],
        [(unit, dest) for unit, dest, *_ in rows],
        [
            (unit, (origin, distance < 500) if origin != "LGA" and distance < 1000 else None)
            for unit, _, origin, distance in rows
        ],
    ]
    chosen = [groups[0], groups[1], groups[1], groups[2], groups[2]]
    for tally, of in zip(tallies(plan), chosen, strict=True):
        assert weights(winter, plan.query, tally) == by_hand(of, tally)


def test_a_unit_beyond_the_last_bin_is_in_it_and_a_missing_key_is_a_group() -> None:
    plan = planned(groupings=[{"by": [PRIVATE_DEST], "groups_most": 2, "rows_most": 3}])
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE flights (tailnum VARCHAR, dest VARCHAR)")
        held = [("a", "X")] * 9 + [("a", None), ("a", "Y"), ("b", None), (None, "X")]
        connection.executemany("INSERT INTO flights VALUES (?, ?)", held)
        groups, rows = tallies(plan)
        assert weights(connection, plan.query, groups) == {(): {0: 1, 1: 1}}
        assert weights(connection, plan.query, rows) == {(): {0: 2 * (1024 // 3) + 1024, 2: 341}}


def test_sqlite_gives_the_same_tallies(winter: duckdb.DuckDBPyConnection) -> None:
    plan = planned()
    rows = winter.execute("SELECT tailnum, dest, origin, distance FROM flights").fetchall()
    with sqlite3.connect(":memory:") as other:
        other.execute(
            "CREATE TABLE input_rows (tailnum TEXT, dest TEXT, origin TEXT, distance INTEGER)"
        )
        other.executemany("INSERT INTO input_rows VALUES (?, ?, ?, ?)", rows)
        for tally in tallies(plan):
            sql = spread_query(plan.query, tally, dataset(), SALT, SQLITE).sql(dialect="sqlite")
            found = weights_of(tally, 0, other.execute(sql).fetchall())
            assert found == weights(winter, plan.query, tally)
    other.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tally_is_written_for_every_engine(dialect: Any) -> None:
    plan = planned()
    for tally in tallies(plan):
        text = spread_query(plan.query, tally, dataset(), SALT, dialect).sql(dialect=dialect.name)
        assert text.count("SELECT") >= 4


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("ranges", [((0, 5),), ((1, 1), (3, 4))])
def test_what_a_user_has_in_one_block_is_one_entry_of_every_tally(
    tmp_path: Path, seed: int, ranges: Ranges
) -> None:
    on, rows = dataset_from_json(VISITS, id="d1"), visits(seed)
    by_ward = [{"col": "ward", "keys": "domain"}]
    plan = planned(on, groupings=[{"by": []}, {"by": by_ward}])
    assert plan.query.has_periods
    whole = bounded_table(work_over(tmp_path, plan.query, on, rows, ranges), plan.query)
    units = sorted({row.unit for row in rows})
    chosen = {unit for unit in units if any(low <= unit[1] <= high for low, high in ranges)}
    # one entry for each period of each user, not for each user
    assert sum(whole.spreads[0][()].values()) == len(chosen)
    for unit in random.Random(seed).sample(units, 12):
        rest = [row for row in rows if row.unit != unit]
        without = bounded_table(work_over(tmp_path, plan.query, on, rest, ranges), plan.query)
        for place, tally in enumerate(tallies(plan)):
            one, other = whole.spreads[place], without.spreads[place]
            assert keeps_the_bound(one, other, plan.query, tally)
            assert (one != other) == (unit in chosen)


def test_periods_that_are_forgotten_are_caught_by_the_property(tmp_path: Path) -> None:
    on, rows, ranges = dataset_from_json(VISITS, id="d1"), visits(1), ((0, 5),)
    plan = planned(on, groupings=[{"by": []}])
    forgetful = replace(plan.query, has_periods=False)
    table = bounded_table(work_over(tmp_path, forgetful, on, rows, ranges), forgetful)
    assert sum(table.spreads[0][()].values()) == 6


def test_records_are_not_tallied(winter: duckdb.DuckDBPyConnection) -> None:
    plan = planned()
    tally = next(tallies(plan))
    with pytest.raises(EngineRefused):
        spread_query(replace(plan.query, unit_column=None), tally, dataset(**RECORD), SALT)


def test_tallies_over_slices_of_units_are_those_over_all(flights: Path, tmp_path: Path) -> None:
    plan = planned()
    many = planned(dataset(nominal_size=300_000))
    tables = [
        bounded_table(work_for(each.query, on, flights, tmp_path), each.query)
        for each, on in ((plan, dataset()), (many, dataset(nominal_size=300_000)))
    ]
    assert tables[0] == tables[1]
    assert sum(tables[0].spreads[0][()].values()) == 4043
