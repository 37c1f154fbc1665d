"""Histograms, quantiles and top keys: weights that no unit moves beyond its bound."""

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import duckdb
import pytest
from sqlglot import exp

from app.domain.datasets import Dataset
from app.domain.queries import QueryPlan, Spread
from app.domain.queries.quantities import Tally
from tests.workers.engines.query.made import (
    PRIVATE_DEST,
    RECORD,
    SALT,
    dataset,
    plan_for,
    query,
)
from tests.workers.engines.query.test_bounding import some_units
from workers.engines.query.bounding import spread_query
from workers.engines.query.table import Weights, weights_of

QUANTILE: dict[str, Any] = {"fn": "quantile", "col": "dep_delay", "q": ["0.5"], "bins": 64}
HISTOGRAM: dict[str, Any] = {
    "fn": "histogram",
    "col": "distance",
    "edges": [0, 200, "500.5", 1000, 3000],
}
TOP: dict[str, Any] = {"fn": "top_k", "col": "origin", "k": 2}
SPREAD: list[dict[str, Any]] = [QUANTILE, HISTOGRAM, TOP]
ORIGINS = {"col": "origin", "keys": "domain"}


def weights(
    connection: duckdb.DuckDBPyConnection,
    plan: QueryPlan,
    spread: Spread | Tally,
    condition: str = "TRUE",
    sql: str | None = None,
    on: Dataset | None = None,
) -> Weights:
    text = sql or spread_query(plan, spread, on or dataset(), SALT).sql(dialect="duckdb")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW input_rows AS SELECT * FROM flights WHERE {condition}"
    )
    keys = len(plan.spec.group_by)
    return weights_of(spread, keys, connection.execute(text).fetchall())


def keeps_the_bound(
    whole: Weights, without: Weights, plan: QueryPlan, spread: Spread | Tally
) -> bool:
    """R24: at most L0 groups; in each at most the bound, in L1 for rows, per bin for units."""
    changed = 0
    for cell in whole.keys() | without.keys():
        one, other = whole.get(cell, {}), without.get(cell, {})
        moved = [abs(one.get(b, 0) - other.get(b, 0)) for b in one.keys() | other.keys()]
        changed += any(moved)
        per_bin = isinstance(spread, Spread) and spread.counts == "units"
        most = max(moved, default=0) if per_bin else sum(moved)
        if most > spread.bound:
            return False
    return changed <= plan.groups


@pytest.mark.parametrize("keys", [[PRIVATE_DEST], [ORIGINS], []])
def test_leaving_out_any_user_moves_the_weights_within_their_bounds(
    winter: duckdb.DuckDBPyConnection, keys: list[dict[str, Any]]
) -> None:
    leave_out(winter, keys, 24)


@pytest.mark.long
@pytest.mark.parametrize("keys", [[PRIVATE_DEST], [ORIGINS], []])
def test_leaving_out_any_of_200_users_moves_the_weights_within_their_bounds(
    winter: duckdb.DuckDBPyConnection, keys: list[dict[str, Any]]
) -> None:
    leave_out(winter, keys, 200)


def leave_out(
    connection: duckdb.DuckDBPyConnection, keys: list[dict[str, Any]], how_many: int
) -> None:
    plan = plan_for(query(SPREAD, keys, bounds={"max_groups": 2, "max_rows": 3}), dataset())
    assert [spread.bound for spread in plan.spreads] == [3 * 1024, 3 * 1024, 1]
    units = some_units(connection, how_many)
    for spread in plan.spreads:
        whole = weights(connection, plan, spread)
        changed = 0
        for unit in units:
            without = weights(connection, plan, spread, f"tailnum <> '{unit}'")
            assert keeps_the_bound(whole, without, plan, spread), unit
            changed += without != whole
        # A user without a known delay or beyond the last edge moves nothing.
        assert changed >= 0.8 * len(units)


def test_leaving_out_any_record_moves_one_weight_by_one(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query(SPREAD, [PRIVATE_DEST]), on)
    for spread in plan.spreads:
        assert spread.bound == 1
        whole = weights(winter, plan, spread, on=on)
        for place in random.Random(8).sample(range(1, 24_000), 25):
            without = weights(winter, plan, spread, f"place <> {place}", on=on)
            assert keeps_the_bound(whole, without, plan, spread), place


@pytest.mark.parametrize("fault", ["no cut", "no scaling", "weights joined on the unit alone"])
def test_a_planted_fault_in_the_weights_is_caught_by_the_property(
    winter: duckdb.DuckDBPyConnection, fault: str
) -> None:
    plan = plan_for(query([HISTOGRAM], bounds={"max_groups": 2, "max_rows": 3}), dataset())
    (spread,) = plan.spreads
    tree = spread_query(plan, spread, dataset(), SALT)
    if fault == "no cut":
        next(n for n in tree.find_all(exp.LTE) if n.this.name == "place").replace(exp.true())
    elif fault == "no scaling":
        case = next(n for n in tree.find_all(exp.Case) if n.find(exp.IntDiv))
        case.replace(case.args["default"].copy())
    else:
        same = next(n for n in tree.find_all(exp.NullSafeEQ))
        same.replace(exp.true())
    sql = tree.sql(dialect="duckdb")
    assert sql != spread_query(plan, spread, dataset(), SALT).sql(dialect="duckdb")
    whole = weights(winter, plan, spread, sql=sql)
    assert not all(
        keeps_the_bound(
            whole,
            weights(winter, plan, spread, f"tailnum <> '{unit}'", sql=sql),
            plan,
            spread,
        )
        for unit in some_units(winter, 40)
    )


def test_uncapped_weights_are_the_plain_counts_of_the_bins(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query(SPREAD, []), on)
    histogram, quantile, top = plan.spreads
    known = "dep_delay IS NOT NULL"
    rows = winter.execute(f"SELECT dep_delay, distance, origin FROM flights WHERE {known}")
    delays, distances, origins = zip(*rows.fetchall(), strict=True)
    width = 240 / 64
    placed = Counter(min(int((min(max(d, -60), 180) + 60) // width), 63) for d in delays)
    assert weights(winter, plan, quantile, known, on=on) == {(): dict(placed)}
    ends = [0, 200, 500.5, 1000, 3000]
    expected = {
        place: sum(low <= d < high for d in distances)
        for place, (low, high) in enumerate(pairwise(ends))
    }
    assert weights(winter, plan, histogram, known, on=on) == {(): expected}
    named = Counter(["EWR", "JFK", "LGA"].index(origin) for origin in origins)
    assert weights(winter, plan, top, known, on=on) == {(): dict(named)}


@pytest.mark.parametrize("most", [1, 3])
def test_a_unit_beyond_its_cap_weighs_its_share_in_every_bin(most: int) -> None:
    bounds = {"max_groups": 1, "max_rows": most}
    plan = plan_for(query([{**HISTOGRAM, "edges": [0, 10, 20]}], [], bounds=bounds), dataset())
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE flights (tailnum VARCHAR, distance BIGINT)")
        rows = [("a", 5)] * 9 + [("a", 15)] * 3 + [("b", 5), ("b", 99), (None, 5)]
        connection.executemany("INSERT INTO flights VALUES (?, ?)", rows)
        (spread,) = plan.spreads
        found = weights(connection, plan, spread)
    # 12 rows of "a" within the edges count as `most`: 9/12 and 3/12 of them; "b" has one.
    assert found == {(): {0: 9 * most * 1024 // 12 + 1024, 1: 3 * most * 1024 // 12}}


def test_a_unit_counts_once_for_a_key_however_many_rows_it_has() -> None:
    plan = plan_for(query([TOP], []), dataset())
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE flights (tailnum VARCHAR, origin VARCHAR)")
        rows = [("a", "EWR")] * 90 + [("a", "JFK"), ("b", "JFK"), ("c", "?"), ("c", None)]
        connection.executemany("INSERT INTO flights VALUES (?, ?)", rows)
        (spread,) = plan.spreads
        assert weights(connection, plan, spread) == {(): {0: 1, 1: 2}}
