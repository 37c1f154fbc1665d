from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engines.query.made import (
    FLIGHTS,
    RECORD,
    canonical,
    dataset,
    load,
    plan_for,
    query,
    table_of,
)


@settings(max_examples=60)
@given(st.text(max_size=20), st.booleans())
def test_any_text_reaches_the_engine_as_itself_and_as_nothing_else(
    text: str, as_predicate: bool
) -> None:
    text = text.replace("\x00", "")
    described = dict(FLIGHTS["columns"][3], domain=[text, text + "'"])
    on = dataset(**RECORD, columns=[*FLIGHTS["columns"][:3], described, *FLIGHTS["columns"][4:]])
    where = [["origin", "=", text]] if as_predicate else []
    keys = [] if as_predicate else [{"col": "origin", "keys": [text]}]
    sql = canonical(plan_for(query([{"fn": "count"}], keys, where=where), on), on)
    with duckdb.connect() as connection:
        load(connection, [("a", 1, 1.0, text), ("a", 1, 1.0, text + "'"), ("a", 1, 1.0, "'")])
        table = table_of(connection, sql, len(keys))
    assert table == {() if as_predicate else (text,): (2 if text == "'" else 1,)}


def test_columns_that_bear_our_own_names_are_still_the_columns_of_the_file() -> None:
    names = ["unit", "key_0", "count_1", "value_1", "place", "input_rows", "src", "sum_1"]
    columns = [{"name": "who", "type": "string"}]
    columns += [{"name": name, "type": "int64", "keys": "private"} for name in names]
    on = dataset(columns=columns, unit_of_privacy={**FLIGHTS["unit_of_privacy"], "column": "who"})
    measures = [{"fn": "sum", "col": "value_1", "lo": "0", "hi": "100"}]
    keys = [{"col": name, "keys": "private"} for name in ("unit", "key_0", "place")]
    where = [["src", "=", 7], ["count_1", "=", 3], ["input_rows", "=", 6], ["sum_1", "=", 8]]
    sql = canonical(plan_for(query(measures, keys, where=where), on), on)
    with duckdb.connect() as connection:
        declared = ", ".join(f"{name} BIGINT" for name in names)
        connection.execute(f"CREATE TABLE flights (who VARCHAR, {declared})")
        connection.execute("INSERT INTO flights VALUES ('a', 1, 2, 3, 4, 5, 6, 7, 8)")
        assert table_of(connection, sql, 3) == {(1, 2, 5): (1, 4)}


def test_keys_and_literals_of_every_type_meet_their_values() -> None:
    columns = [
        {"name": "tailnum", "type": "string"},
        {"name": "night", "type": "bool", "domain": [True, False], "domain_source": "public"},
        {"name": "day", "type": "date", "domain": ["2013-01-31"], "domain_source": "public"},
        {"name": "code", "type": "int64", "keys": "private"},
        {"name": "seen", "type": "date", "keys": "private"},
        {"name": "left", "type": "timestamp"},
        {"name": "part", "type": "float32"},
    ]
    on = dataset(**{**RECORD, "columns": columns})
    keys: list[dict[str, Any]] = [{"col": name, "keys": "domain"} for name in ("night", "day")]
    keys += [{"col": name, "keys": "private"} for name in ("code", "seen")]
    where: list[Any] = [
        ["left", ">=", "2013-01-31T08:00:00"],
        ["day", "between", ["2013-01-01", "2013-12-31"]],
        ["night", "=", True],
        ["part", "in", ["0.5", 2]],
    ]
    sum_of_part = {"fn": "sum", "col": "part", "lo": "-1", "hi": "1", "grid": "0.25"}
    plan = plan_for(query([{"fn": "count"}, sum_of_part], keys, where=where), on)
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE flights AS SELECT * FROM (VALUES"
            " ('a', TRUE, DATE '2013-01-31', 9, DATE '0044-03-15 (BC)',"
            "  TIMESTAMP '2013-01-31 08:00:00', 0.5::FLOAT),"
            " ('b', TRUE, DATE '2013-01-31', NULL, NULL, TIMESTAMP 'infinity', 2::FLOAT),"
            " ('c', TRUE, DATE '2013-01-30', 9, NULL, TIMESTAMP 'infinity', 2::FLOAT),"
            " ('d', TRUE, DATE 'infinity', 9, NULL, TIMESTAMP 'infinity', 2::FLOAT),"
            " ('e', TRUE, DATE '2013-01-31', 9, NULL, TIMESTAMP '2013-01-31 07:59:59', 2::FLOAT)"
            ') AS t(tailnum, night, day, code, seen, "left", part)'
        )
        assert table_of(connection, canonical(plan, on), 4) == {
            (True, "2013-01-31", 9, "0044-03-15 (BC)"): (1, 2),
            (True, "2013-01-31", None, None): (1, 4),
        }


PREDICATES: list[tuple[list[Any], str]] = [
    (["origin", "in", ["EWR", "it's"]], "origin IN ('EWR', 'it''s')"),
    (["origin", "!=", "EWR' OR 'a'='a"], "origin <> 'EWR'' OR ''a''=''a'"),
    (["dep_delay", "is_null"], "dep_delay IS NULL"),
    (["not", ["dep_delay", "is_null"]], "dep_delay IS NOT NULL"),
    (["dep_delay", "between", ["-0.5", 12]], "dep_delay BETWEEN -0.5 AND 12"),
    (["not", ["dep_delay", ">=", "1e1"]], "dep_delay < 10"),
    (
        ["or", ["month", "=", 1], ["and", ["distance", "<", 300], ["origin", "=", "JFK"]]],
        "month = 1 OR (distance < 300 AND origin = 'JFK')",
    ),
    (["distance", ">", -(2**63)], "TRUE"),
]


@pytest.mark.parametrize(("predicate", "condition"), PREDICATES)
def test_a_predicate_keeps_the_rows_that_its_sql_meaning_keeps(
    winter: duckdb.DuckDBPyConnection, predicate: list[Any], condition: str
) -> None:
    on = dataset(**RECORD)
    plan = plan_for(query([{"fn": "count"}], [], where=[predicate]), on)
    ((found,),) = table_of(winter, canonical(plan, on), 0).values()
    expected = winter.execute(f"SELECT count(*) FROM flights WHERE {condition}").fetchone()
    assert expected is not None
    assert 0 < found == expected[0]


def test_bins_hold_the_rows_between_their_edges_and_no_others(
    winter: duckdb.DuckDBPyConnection,
) -> None:
    on = dataset(**RECORD)
    for column, edges in (("distance", [200, "500.5", 1000]), ("dep_delay", ["-10.5", 0, 60])):
        plan = plan_for(query([{"fn": "count"}], [{"bin": column, "edges": edges}]), on)
        table = table_of(winter, canonical(plan, on), 1)
        for index in range(2):
            expected = winter.execute(
                f"SELECT count(*) FROM flights"
                f" WHERE {column} >= {edges[index]} AND {column} < {edges[index + 1]}"
            ).fetchone()
            assert expected == table[(index,)]
        assert len(table) == 2
