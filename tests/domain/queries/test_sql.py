from typing import Any

import pytest

from app.domain.datasets import Dataset
from app.domain.errors import (
    BoundsRequired,
    DeltaRequired,
    DomainError,
    InvalidParameter,
    RefusedByName,
    SqlNotAccepted,
)
from app.domain.queries import QuerySpec, parse_query
from tests.domain.queries.test_queries import dataset

PRIVACY = {"epsilon": "1", "delta": "1e-10", "noise": "discrete_laplace"}
ALL = "COUNT(*), SUM(distance), AVG(CLAMP(delay, -60, 180, 0.5))"


def read(sql: str, on: Dataset | None = None, **changes: Any) -> QuerySpec:
    return parse_query({"sql": sql, "privacy": PRIVACY, **changes}, on or dataset())


def typed(**parts: Any) -> QuerySpec:
    return parse_query({"v": 1, "privacy": PRIVACY, **parts}, dataset())


SAME: list[tuple[str, dict[str, Any]]] = [
    ("SELECT COUNT(*) FROM flights", {"measures": [{"fn": "count"}]}),
    (
        "select dest, count(f.delay) as n, sum(distance) from flights f\n"
        "group by dest having n > 5 and sum(distance) <= 1e3 order by n desc, dest limit 3",
        {
            "measures": [{"fn": "count", "col": "delay"}, {"fn": "sum", "col": "distance"}],
            "group_by": [{"col": "dest", "keys": "private"}],
            "having": [["count(delay)", ">", "5"], ["sum(distance)", "<=", "1e3"]],
            "order_by": [{"by": "count(delay)", "desc": True}, {"by": "dest"}],
            "limit": 3,
        },
    ),
    (
        "SELECT month, BIN(distance, 0, 500, 1000), COUNT(*) FROM flights"
        " GROUP BY month, BIN(distance, 0, 500, 1000) ORDER BY BIN(distance, 0, 500, 1000)",
        {
            "measures": [{"fn": "count"}],
            "group_by": [
                {"col": "month", "keys": "domain"},
                {"bin": "distance", "edges": [0, 500, 1000]},
            ],
            "order_by": [{"by": "distance"}],
        },
    ),
    (
        "SELECT AVG(distance), VAR_POP(CLAMP(delay, -60, 180, 0.5)), STDDEV_POP(distance),"
        " QUANTILE(CLAMP(delay, -60, 180), 0.9), MEDIAN(distance), TOP_K(month, 2),"
        " HISTOGRAM(CLAMP(delay, 0, 60), 6), COUNT(DISTINCT tailnum) FROM flights",
        {
            "measures": [
                {"fn": "mean", "col": "distance"},
                {"fn": "variance", "col": "delay", "lo": "-60", "hi": "180", "grid": "0.5"},
                {"fn": "stdev", "col": "distance"},
                {"fn": "quantile", "col": "delay", "lo": "-60", "hi": "180", "q": ["0.9"]},
                {"fn": "quantile", "col": "distance", "q": ["0.5"]},
                {"fn": "top_k", "col": "month", "k": 2},
                {"fn": "histogram", "col": "delay", "lo": "0", "hi": "60", "bins": 6},
                {"fn": "count_distinct"},
            ]
        },
    ),
    (
        "SELECT COUNT(*) FROM flights WHERE month IN (1, 2) AND NOT delay IS NULL"
        " AND (delay BETWEEN -1 AND 2.5 OR 500 < distance) AND night = TRUE"
        " AND day >= DATE '2013-01-31' AND \"left\" < TIMESTAMP '2013-01-31 08:00:00'"
        " AND dest <> 'O''Hare; --' AND month IS NOT NULL",
        {
            "measures": [{"fn": "count"}],
            "where": [
                ["month", "in", [1, 2]],
                ["not", ["delay", "is_null"]],
                ["or", ["delay", "between", [-1, "2.5"]], ["distance", ">", 500]],
                ["night", "=", True],
                ["day", ">=", "2013-01-31"],
                ["left", "<", "2013-01-31T08:00:00"],
                ["dest", "!=", "O'Hare; --"],
                ["not", ["month", "is_null"]],
            ],
        },
    ),
]


@pytest.mark.parametrize(("sql", "parts"), SAME)
def test_a_select_is_the_spec_that_it_says_and_nothing_else(
    sql: str, parts: dict[str, Any]
) -> None:
    assert read(sql) == typed(**parts)
    assert read(sql).spec_sha256 == typed(**parts).spec_sha256
    assert "sql" not in read(sql).to_json()


# text, line and column of the first node that is not accepted
REFUSED: list[tuple[str, int, int]] = [
    ("SELECT COUNT(*) FROM flights; DROP TABLE flights", 1, 42),
    ("ATTACH 'x.db'", 1, 1),
    ("DELETE FROM flights", 1, 1),
    ("SELECT COUNT(*) FROM flights UNION SELECT COUNT(*) FROM flights", 1, 1),
    ("WITH c AS (SELECT 1) SELECT COUNT(*) FROM c", 1, 6),
    ("SELECT DISTINCT COUNT(*) FROM flights", 1, 17),
    ("SELECT *\nFROM flights", 1, 8),
    ("SELECT COUNT(*) FROM read_csv('x.csv')", 1, 22),
    ("SELECT COUNT(*) FROM (SELECT 1)", 1, 30),
    ("SELECT COUNT(*) FROM other", 1, 22),
    ("SELECT COUNT(*) FROM main.flights", 1, 22),
    ("SELECT COUNT(*) FROM flights, planes", 1, 31),
    ("SELECT COUNT(*) FROM flights JOIN planes ON TRUE", 1, 35),
    ("SELECT COUNT(*) FROM flights TABLESAMPLE (10)", 1, 22),
    ("SELECT COUNT(*),\n  SUM(distance / 2) FROM flights", 2, 7),
    ("SELECT SUM(CAST(distance AS INT)) FROM flights", 1, 12),
    ("SELECT SUM(CASE WHEN month = 1 THEN 1 END) FROM flights", 1, 12),
    ("SELECT SUM(distance) OVER () FROM flights", 1, 8),
    ("SELECT COUNT(*) FILTER (WHERE month = 1) FROM flights", 1, 8),
    ("SELECT COUNT(DISTINCT dest, month) FROM flights", 1, 8),
    ("SELECT VARIANCE(distance) FROM flights", 1, 8),
    ("SELECT dest FROM flights", 1, 8),
    ("SELECT 5, COUNT(*) FROM flights", 1, 8),
    ("SELECT RANDOM() FROM flights", 1, 8),
    ("SELECT COUNT(*) FROM flights WHERE delay + 1 > 2", 1, 36),
    ("SELECT COUNT(*) FROM flights WHERE delay > distance", 1, 44),
    ("SELECT COUNT(*) FROM flights WHERE UPPER(dest) = 'X'", 1, 36),
    ("SELECT COUNT(*) FROM flights WHERE dest LIKE 'X%'", 1, 36),
    ("SELECT COUNT(*) FROM flights WHERE month IN (SELECT 1)", 1, 36),
    ("SELECT COUNT(*) FROM flights WHERE EXISTS (SELECT 1)", 1, 36),
    ("SELECT COUNT(*) FROM flights WHERE CAST(dest AS INT) = 1", 1, 36),
    ("SELECT COUNT(*) FROM flights WHERE other.delay = 1", 1, 36),
    ("SELECT COUNT(*) FROM flights GROUP BY ROLLUP (dest)", 1, 47),
    ("SELECT COUNT(*) FROM flights GROUP BY month + 1", 1, 39),
    ("SELECT COUNT(*) FROM flights HAVING SUM(distance) > 1", 1, 37),
    ("SELECT COUNT(*) FROM flights HAVING COUNT(*) > SUM(distance)", 1, 48),
    ("SELECT COUNT(*) FROM flights ORDER BY delay", 1, 39),
    ("SELECT COUNT(*) FROM flights LIMIT 1 OFFSET 2", 1, 45),
    ("SELECT COUNT(*) FROM flights LIMIT 1.5", 1, 36),
    ("SELECT COUNT(*) FROM flights QUALIFY TRUE", 1, 8),
    ("SELECT (((", 1, 10),
    ("SELECT ' FROM flights", 1, 21),
    ("(" * 5000, 1, 5000),
    ("-- nothing", 1, 1),
]


@pytest.mark.parametrize(("sql", "line", "column"), REFUSED)
def test_the_first_node_that_is_not_accepted_is_refused_where_it_stands(
    sql: str, line: int, column: int
) -> None:
    with pytest.raises(SqlNotAccepted) as refused:
        read(sql)
    assert refused.value.pointer == "/spec/sql"
    assert (refused.value.line, refused.value.column) == (line, column), refused.value.reason


SPEC: list[tuple[str, type[DomainError], str]] = [
    ("SELECT COUNT(*), SUM(delay) FROM flights", BoundsRequired, "line 1, column 18: "),
    ("SELECT SUM(salary) FROM flights", InvalidParameter, "line 1, column 8: "),
    ("SELECT COUNT(*)\nFROM flights\nWHERE tailnum = 'N1'", InvalidParameter, "line 3, column 7: "),
    ("SELECT COUNT(*) FROM flights WHERE month = '1'", InvalidParameter, "line 1, column 36: "),
    ("SELECT MAX(distance) FROM flights", RefusedByName, "line 1, column 8: "),
    (
        "SELECT origin, COUNT(*) FROM flights GROUP BY origin",
        InvalidParameter,
        "line 1, column 47: ",
    ),
    ("SELECT COUNT(DISTINCT dest) FROM flights", InvalidParameter, "line 1, column 8: "),
]


@pytest.mark.parametrize(("sql", "refusal", "where"), SPEC)
def test_what_the_spec_refuses_is_said_of_its_place_in_the_text(
    sql: str, refusal: type[DomainError], where: str
) -> None:
    with pytest.raises(refusal) as refused:
        read(sql)
    facts = vars(refused.value)
    assert facts["pointer"] == "/spec/sql"
    assert str(facts.get("reason", facts.get("form"))).startswith(where)


def test_the_document_around_the_text_is_read_as_strictly_as_a_spec() -> None:
    with pytest.raises(InvalidParameter) as refused:
        read("SELECT COUNT(*) FROM flights", v=1)
    assert refused.value.pointer == "/spec/v"
    with pytest.raises(InvalidParameter) as refused:
        read("SELECT COUNT(*) FROM flights", bounds={"max_groups": 4})
    assert refused.value.pointer == "/spec/bounds/max_groups"
    with pytest.raises(InvalidParameter) as refused:
        read("x" * 20_001)
    assert refused.value.pointer == "/spec/sql"
    with pytest.raises(DeltaRequired):
        parse_query(
            {"sql": "SELECT COUNT(*) FROM flights GROUP BY dest", "privacy": {"epsilon": "1"}},
            dataset(),
        )
