import math
import random
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from app.domain.datasets import Dataset
from app.domain.queries import QueryPlan
from tests.workers.engines.query.made import (
    RECORD,
    SALT,
    Table,
    canonical,
    dataset,
    load,
    plan_for,
    query,
    table_of,
    work_for,
)
from workers.engines.query.bounding import bounding_query
from workers.engines.query.table import bounded_table


def moved(whole: Table, without: Table, plan: QueryPlan) -> list[tuple[int, int]]:
    """Per quantity: how many groups differ, and by how much in all."""
    zero = (0,) * len(plan.noisy)
    differences = [
        [abs(a - b) for a, b in zip(whole.get(key, zero), without.get(key, zero), strict=True)]
        for key in whole.keys() | without.keys()
    ]
    return [
        (sum(1 for row in differences if row[index]), sum(row[index] for row in differences))
        for index in range(len(plan.noisy))
    ]


def keeps_the_bound(whole: Table, without: Table, plan: QueryPlan) -> bool:
    return all(
        groups <= plan.groups and total <= plan.groups * noisy.quantity.bound
        for (groups, total), noisy in zip(moved(whole, without, plan), plan.noisy, strict=True)
    )


def some_units(connection: duckdb.DuckDBPyConnection, how_many: int) -> list[str]:
    """Random units, the busiest among them: those are the ones that caps are for."""
    busiest: list[str] = []
    for busy in ("count(DISTINCT dest)", "count(*)"):
        found = connection.execute(
            "SELECT tailnum FROM flights WHERE tailnum IS NOT NULL GROUP BY 1"
            f" ORDER BY {busy} DESC, tailnum"
        ).fetchall()
        busiest += [row[0] for row in found[: how_many // 8]]
    others = sorted({row[0] for row in found} - set(busiest))
    chosen = sorted(set(busiest))
    return chosen + random.Random(5).sample(others, how_many - len(chosen))


def test_leaving_out_any_user_moves_at_most_three_groups_within_their_bounds(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    assert plan.groups == 3
    bounds = {noisy.quantity.kind: noisy.quantity.bound for noisy in plan.noisy}
    assert bounds == {"units": 1, "count": 10, "sum": 50_000, "centred_sum": 2400}
    sql = canonical(plan, on)
    whole = table_of(winter, sql, 1)
    units = some_units(winter, 200)
    changed = 0
    for unit in units:
        without = table_of(winter, sql, 1, f"tailnum <> '{unit}'")
        assert keeps_the_bound(whole, without, plan), unit
        changed += without != whole
    assert changed == len(units)


def test_leaving_out_any_record_moves_one_group_within_its_bound(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query(), on)
    assert plan.groups == 1
    sql = canonical(plan, on)
    whole = table_of(winter, sql, 1)
    for place in random.Random(6).sample(range(1, 24_000), 200):
        without = table_of(winter, sql, 1, f"place <> {place}")
        assert keeps_the_bound(whole, without, plan), place
        assert without != whole


def planted(plan: QueryPlan, on: Dataset, fault: str) -> str:
    """The canonical query with one known mistake in it."""
    tree = bounding_query(plan, on, SALT)
    if fault == "rank":
        window = next(tree.find_all(exp.Window))
        window.set("this", exp.Anonymous(this="RANK"))
        order = window.args["order"]
        order.set("expressions", [exp.Ordered(this=exp.column("count_1"), nulls_first=False)])
    elif fault == "no total clamp":
        for least in list(tree.find_all(exp.Anonymous)):
            if least.name == "LEAST" and least.find_ancestor(exp.Sum):
                least.replace(least.expressions[0].copy())
    elif fault == "no cut":
        place = next(node for node in tree.find_all(exp.LTE) if node.this.name == "place")
        place.replace(exp.true())
    return tree.sql(dialect="duckdb")


@pytest.mark.parametrize("fault", ["rank", "no total clamp", "no cut"])
def test_a_planted_fault_in_the_bounding_is_caught_by_the_property(
    winter: duckdb.DuckDBPyConnection, fault: str
) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    sql = planted(plan, on, fault)
    assert sql != canonical(plan, on)
    whole = table_of(winter, sql, 1)
    assert not all(
        keeps_the_bound(whole, table_of(winter, sql, 1, f"tailnum <> '{unit}'"), plan)
        for unit in some_units(winter, 40)
    )


def test_the_table_does_not_depend_on_threads_or_repetition_but_on_the_salt(
    flights: Path, tmp_path: Path
) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    work = work_for(plan, on, flights, tmp_path)
    one, two, again = (bounded_table(work, plan, threads=n) for n in (1, 2, 2))
    assert one == two == again
    other = bounded_table(work_for(plan, on, flights, tmp_path, salt=b"other"), plan)
    assert other != one


def test_a_small_memory_limit_spills_and_gives_the_same_table(
    flights: Path, tmp_path: Path
) -> None:
    on = dataset()
    plan = plan_for(query(), on)
    work = work_for(plan, on, flights, tmp_path)
    assert bounded_table(work, plan, memory_limit="60MB") == bounded_table(work, plan)


def plain_user_level(rows: list[tuple[Any, ...]], plan: QueryPlan) -> dict[str, int]:
    """Totals per quantity of a single group, written again in plain Python."""
    totals: dict[str, int] = {}
    users: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        if row[0] is not None:
            users.setdefault(row[0], []).append(row)
    for noisy in plan.noisy:
        quantity, cap, total = noisy.quantity, plan.rows, 0
        for mine in users.values():
            place = 2 if quantity.column == "dep_delay" else 1
            values = [row[place] for row in mine]
            held = [v for v in values if v is not None and math.isfinite(v)]
            if quantity.kind == "count":
                total += min(len(mine) if quantity.column is None else len(held), cap)
                continue
            assert quantity.grid is not None
            low, high, grid = quantity.low_step, quantity.high_step, float(quantity.grid)
            steps = [_round(min(max(v, low * grid), high * grid) / grid) for v in held]
            if quantity.kind == "sum":
                least, most = cap * min(low, 0), cap * max(high, 0)
                total += min(max(sum(steps), least), most)
                continue
            centred = sum(step - quantity.centre_step for step in steps)
            if len(steps) > cap:
                centred = int(math.copysign(abs(centred) * cap // len(steps), centred))
            total += centred
        totals[f"{quantity.kind}({quantity.column})"] = total
    return totals


def _round(value: float) -> int:
    """A half goes up, on every engine."""
    return math.floor(value + 0.5)


VALUES = st.one_of(
    st.none(),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, -0.0, 0.25, -60.25, 180.0]),
    st.integers(-400, 800).map(lambda eighths: eighths / 4),
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from(["a", "b", "c'\"|"])),
        st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 6000),
        VALUES,
        st.sampled_from(["EWR", "JFK", "LGA", "?"]),
    ),
    max_size=30,
)
SMALL = {
    "unit_of_privacy": {
        "kind": "user",
        "column": "tailnum",
        "max_groups_per_user": 2,
        "max_rows_per_user_group": 2,
    }
}


SMALL_MEASURES = [
    {"fn": "count"},
    {"fn": "sum", "col": "distance", "lo": "-20", "hi": "5000", "grid": "10"},
    {"fn": "sum", "col": "dep_delay"},
    {"fn": "mean", "col": "dep_delay"},
]


@settings(max_examples=60)
@given(ROWS)
def test_the_integers_are_those_of_the_definition_for_any_rows(
    rows: list[tuple[Any, ...]],
) -> None:
    measures = [SMALL_MEASURES[0], *SMALL_MEASURES[2:]]
    plan = plan_for(query(measures, []), dataset(**SMALL))
    with duckdb.connect() as connection:
        load(connection, rows)
        ((found),) = table_of(connection, canonical(plan, dataset(**SMALL)), 0).values()
    expected = plain_user_level(rows, plan)
    names = [f"{n.quantity.kind}({n.quantity.column})" for n in plan.noisy]
    assert dict(zip(names, found, strict=True)) == expected


@settings(max_examples=40)
@given(ROWS)
def test_no_user_of_any_small_table_moves_it_beyond_the_bounds(
    rows: list[tuple[Any, ...]],
) -> None:
    on = dataset(**SMALL)
    by_origin = [{"col": "origin", "keys": "domain"}]
    plan = plan_for(query(SMALL_MEASURES, by_origin), on)
    sql = canonical(plan, on)
    with duckdb.connect() as connection:
        load(connection, rows)
        whole = table_of(connection, sql, 1)
        assert whole.keys() <= {("EWR",), ("JFK",), ("LGA",)}
        for user in ("a", "b", "c''\"|"):
            condition = f"tailnum IS NULL OR tailnum <> '{user}'"
            assert keeps_the_bound(whole, table_of(connection, sql, 1, condition), plan)
        nameless = table_of(connection, sql, 1, "tailnum IS NOT NULL")
        assert nameless == whole


PEOPLE = {
    "columns": [
        {"name": "who", "type": "int64"},
        {"name": "code", "type": "int64", "keys": "private"},
    ],
    "source": {"connection": "demo", "path": "people.csv", "format": "csv"},
    "unit_of_privacy": {
        "kind": "user",
        "column": "who",
        "max_groups_per_user": 2,
        "max_rows_per_user_group": 1,
    },
}


@pytest.mark.parametrize("seed", range(8))
def test_leaving_out_007_moves_nothing_of_7(tmp_path: Path, seed: int) -> None:
    # Declared int64, both would cast to one person, whose two groups are then chosen anew.
    on = dataset(**PEOPLE)
    by_code = [{"col": "code", "keys": "private"}]
    plan = plan_for(query([{"fn": "count"}], by_code), on)
    draw = random.Random(seed)
    spy = [f"007,{draw.randrange(10**6)}" for _ in range(30)]
    other = [f"7,{draw.randrange(10**6)}" for _ in range(6)]

    def table(lines: list[str]) -> Table:
        file = tmp_path / "people.csv"
        file.write_text("\n".join(["who,code", *lines]) + "\n")
        return bounded_table(work_for(plan, on, file, tmp_path), plan).cells

    whole, without = table(spy + other), table(other)
    assert keeps_the_bound(whole, without, plan)
    assert len(without) == 2


@pytest.mark.parametrize("level", [{}, RECORD])
def test_flights_as_csv_give_the_same_table_as_parquet(
    flights: Path, tmp_path: Path, level: dict[str, Any]
) -> None:
    file = tmp_path / "flights.csv"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM '{flights}') TO '{file}' (FORMAT csv, HEADER)")
    tables = []
    for kind, path in (("parquet", flights), ("csv", file)):
        on = dataset(**level, source={"connection": "demo", "path": path.name, "format": kind})
        plan = plan_for(query(), on)
        tables.append(bounded_table(work_for(plan, on, path, tmp_path), plan))
    assert tables[0] == tables[1]
    assert len(tables[0].cells) > 100


THOUSAND = list(range(1001))
LARGE: list[dict[str, Any]] = [
    {"group_by": [{"bin": "dep_delay", "edges": THOUSAND}, {"bin": "distance", "edges": [0, 9]}]},
    {"group_by": [], "where": [["or", *(["distance", "=", i] for i in range(50))]] * 100},
    {"group_by": [], "where": [["dep_delay", "in", THOUSAND[:1000]]] * 5},
]


@pytest.mark.parametrize("large", LARGE)
def test_the_largest_queries_are_written_in_seconds(large: dict[str, Any]) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query([{"fn": "count"}], **large), on)
    start = time.process_time()
    bounding_query(plan, on, SALT).sql(dialect="duckdb")
    assert time.process_time() - start < 5


def test_the_deepest_and_broadest_predicates_still_run(tmp_path: Path, flights: Path) -> None:
    on = dataset(**RECORD)

    def nested(depth: int) -> list[Any]:
        if depth == 1:
            return ["distance", ">", 100]
        beside = [["distance", "<", i] for i in range(80)]
        return ["or" if depth % 2 else "and", nested(depth - 1), *beside]

    plan = plan_for(query([{"fn": "count"}], [], where=[nested(8)] * 8), on)
    (counted,) = bounded_table(work_for(plan, on, flights, tmp_path), plan).cells.values()
    assert counted == (0,)
