"""Faults that other engines had, planted here: each is caught before or by the property."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp

from app.domain.errors import BoundsRequired
from app.domain.mechanisms.parsing import DiscreteLaplace
from app.domain.queries import parse_query
from tests.workers.engines.query.made import (
    PRIVATE_DEST,
    SALT,
    canonical,
    dataset,
    plan_for,
    query,
    table_of,
    work_for,
)
from tests.workers.engines.query.test_bounding import keeps_the_bound, some_units
from workers.engines.api import EngineRefused
from workers.engines.query.bounding import bounding_query
from workers.engines.query.engine import QueryEngine
from workers.engines.query.noise import vector_noise


def test_a_budget_that_is_not_split_and_a_key_count_that_is_not_charged_are_refused(
    tmp_path: Path,
) -> None:
    on = dataset()
    measures = [{"fn": "count"}, {"fn": "sum", "col": "distance"}]
    plan = plan_for(query(measures), on)
    work = work_for(plan, on, tmp_path / "x.parquet", tmp_path)
    QueryEngine().prepare(work)
    alone = plan_for(query(measures[:1], []), on).parts[0]
    whole = dataclasses.replace(work.parts[1], mechanism=alone.mechanism)
    hidden = work.parts[1:]
    for parts in ((work.parts[0], whole, work.parts[2]), hidden):
        with pytest.raises(EngineRefused):
            QueryEngine().prepare(dataclasses.replace(work, parts=parts))


def test_half_the_noise_is_refused_by_the_map_of_the_sampler() -> None:
    plan = plan_for(query([{"fn": "count"}], []), dataset())
    for noisy in plan.noisy:
        vector_noise(noisy)
        with pytest.raises(EngineRefused):
            vector_noise(dataclasses.replace(noisy, scale=noisy.scale / 2))


def test_a_threshold_on_rows_moves_further_than_its_charge_for_units(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    plan = plan_for(query([{"fn": "count"}]), dataset())
    guard, count = plan.noisy
    assert (guard.quantity.kind, guard.quantity.bound) == ("units", 1)
    faulty = dataclasses.replace(plan, noisy=(dataclasses.replace(count, threshold=9), count))
    # what the guard was charged for is a count that a unit moves by 1 in each of its groups
    charged = dataclasses.replace(plan, noisy=(guard, count))
    sql = canonical(faulty, dataset())
    whole = table_of(winter, sql, 1)
    assert not all(
        keeps_the_bound(whole, table_of(winter, sql, 1, f"tailnum <> '{unit}'"), charged)
        for unit in some_units(winter, 16)
    )


def test_groups_cut_by_a_salt_of_the_data_move_with_the_rows_of_others(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    plan = plan_for(query([{"fn": "count"}]), dataset())
    tree = bounding_query(plan, dataset(), SALT)
    numbered = next(window for window in tree.find_all(exp.Window))
    # salt from the data: how many groups there are in all decides which of a unit's are cut
    everyone = exp.Subquery(this=exp.select(exp.Count(this=exp.Star())).from_("pre"))
    key = exp.Anonymous(this="hash", expressions=[exp.column("key_0"), everyone])
    numbered.set("order", exp.Order(expressions=[exp.Ordered(this=key)]))
    sql = tree.sql(dialect="duckdb")
    whole = table_of(winter, sql, 1)
    assert not all(
        keeps_the_bound(whole, table_of(winter, sql, 1, f"tailnum <> '{unit}'"), plan)
        for unit in some_units(winter, 16)
    )


def test_no_float_is_summed_and_no_noise_is_drawn_in_sql() -> None:
    on = dataset()
    plan = plan_for(query(), on)
    tree = bounding_query(plan, on, SALT)
    for total in tree.find_all(exp.Sum):
        assert total.find(exp.Cast) is None or "DOUBLE" not in total.sql(dialect="duckdb")
    steps = [alias for alias in tree.find_all(exp.Alias) if alias.alias.startswith("value_")]
    assert steps
    for step in steps:
        text = step.sql(dialect="duckdb")
        # a float is asked whether it is finite, and becomes a whole number of steps or a 1
        assert "DOUBLE" not in text or "CAST(FLOOR(" in text or "THEN 1 END" in text
    assert "RANDOM" not in tree.sql(dialect="duckdb").upper()


def test_missing_bounds_never_mean_no_noise() -> None:
    columns = [{"name": "tailnum", "type": "string"}, {"name": "pay", "type": "int64"}]
    for fn in ("sum", "mean", "variance", "stdev"):
        with pytest.raises(BoundsRequired):
            parse_query(query([{"fn": fn, "col": "pay"}], []), dataset(columns=columns))


def test_a_mechanism_of_less_sensitivity_than_the_plan_is_not_that_of_the_plan(
    tmp_path: Path,
) -> None:
    on = dataset()
    plan = plan_for(query([{"fn": "count"}], [PRIVATE_DEST]), on)
    work = work_for(plan, on, tmp_path / "x.parquet", tmp_path)
    real = work.parts[1].mechanism
    assert isinstance(real, DiscreteLaplace)
    # clamping the sum alone would be a sensitivity of one group's bound
    cheaper = DiscreteLaplace(
        real.scale, str(Decimal(real.sensitivity_l1) / 3), sampler="opendp/0.16"
    )
    parts = (work.parts[0], dataclasses.replace(work.parts[1], mechanism=cheaper))
    with pytest.raises(EngineRefused):
        QueryEngine().prepare(dataclasses.replace(work, parts=parts))
