"""Queries and runs of every shape that the service admits: no rule about them cries wolf."""

from itertools import product
from typing import Any

import pytest

from app.domain.datasets import dataset_from_json
from app.domain.queries import parse_query, plan_query
from app.domain.training import parse_training
from app.reporting.criteria.records import Records
from app.reporting.criteria.registry import RULES
from tests.reporting.evidence_sample import (
    PUBLIC,
    PUBLIC_ID,
    REGISTERED,
    TRAINING,
    House,
    an_id,
)

MEASURES: list[list[dict[str, Any]]] = [
    [{"fn": "count"}],
    [{"fn": "sum", "col": "distance"}],
    [{"fn": "sum", "col": "distance", "lo": "-5", "hi": "3", "grid": "0.5"}],
    [{"fn": "mean", "col": "distance"}],
    [{"fn": "sum", "col": "distance"}, {"fn": "mean", "col": "distance"}],
    [{"fn": "count"}, {"fn": "sum", "col": "distance"}, {"fn": "variance", "col": "distance"}],
    [{"fn": "stdev", "col": "distance"}, {"fn": "count", "col": "distance"}],
    [{"fn": "quantile", "col": "delay", "q": "0.5"}, {"fn": "count"}],
    [{"fn": "quantile", "col": "delay", "q": ["0.1", "0.25", "0.5", "0.75", "0.9"]}],
    [{"fn": "histogram", "col": "distance", "bins": 8}],
    [{"fn": "count_distinct"}],
    [{"fn": "top_k", "col": "month", "k": 2}],
]
GROUPS: list[list[dict[str, Any]]] = [
    [],
    [{"col": "month", "keys": [1, 2]}],
    [{"col": "month", "keys": "domain"}],
    [{"bin": "distance", "edges": ["0", "100", "5000"]}],
    [{"col": "dest", "keys": "private"}],
]
UNITS: list[tuple[dict[str, Any], str]] = [
    (dict(REGISTERED["unit_of_privacy"]), "add_remove"),
    (dict(REGISTERED["unit_of_privacy"]), "replace_one"),
    ({"kind": "record"}, "add_remove"),
]
PUBLIC_SET = dataset_from_json(PUBLIC, id=PUBLIC_ID)
ABOUT_QUERIES = ("N226-13", "N226-14", "N226-F05", "N226-F12", "N226-F13", "N226-F14", "PRJ-02")


@pytest.mark.parametrize(("unit", "relation"), UNITS, ids=lambda each: str(each)[:30])
def test_no_honest_query_is_called_a_fault(unit: dict[str, Any], relation: str) -> None:
    house = House()
    house.registered |= {"unit_of_privacy": unit, "relation": relation, "nominal_size": 10**6}
    house.relation = relation
    house.dataset = dataset_from_json(house.registered, id=an_id("flights"))
    house.open_root()
    asked = 0
    for number, (measures, groups, delta) in enumerate(product(MEASURES, GROUPS, ("0", "1e-12"))):
        is_private = any(each.get("keys") == "private" for each in groups)
        if is_private and delta == "0":
            continue
        document = {
            "v": 1,
            "group_by": groups,
            "measures": measures,
            "privacy": {"epsilon": "0.5", "delta": delta, "noise": "auto"},
        }
        spec = parse_query(document, house.dataset)
        parts = plan_query(spec, house.dataset).parts
        house.run(f"query {number}", "query", spec.to_json(), parts, ["root"])
        asked += 1
    records = Records(house.evidence())
    assert asked > 80
    for id_ in ABOUT_QUERIES:
        found = RULES[id_](records)
        assert found.state == "satisfied", (id_, found.note, found.evidence[:3])


RUNS: list[tuple[str, dict[str, Any]]] = [
    ("dp_sgd", {"mode": "flat", "norm_l2": "1"}),
    ("dp_sgd", {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "0.1"}}),
    ("dp_sgd", {"mode": "per_layer", "norm_l2": "0.5"}),
    (
        "dp_sgd",
        {
            "mode": "flat",
            "norm_l2": "1",
            "adaptive": {"quantile": "0.5", "learning_rate": 0.2, "count_noise": "20"},
        },
    ),
    ("dp_zo", {"mode": "flat", "norm_l2": "1"}),
]


@pytest.mark.parametrize(("algorithm", "clip"), RUNS, ids=str)
def test_no_honest_run_is_called_a_fault(algorithm: str, clip: dict[str, Any]) -> None:
    house = House()
    house.registered |= {"unit_of_privacy": {"kind": "record"}, "nominal_size": 10**6}
    house.dataset = dataset_from_json(house.registered, id=an_id("flights"))
    house.open_root()
    document = {**TRAINING, "algorithm": algorithm, "clip": clip, "audit": None}
    spec = parse_training(document, house.dataset, {PUBLIC_ID: PUBLIC_SET})
    house.run("run", "train", spec.to_json(), spec.parts(), ["root"])
    records = Records(house.evidence())
    for id_ in ("N226-15", "N226-F05", "N226-F08", "N226-F12", "PRJ-01", "PRJ-04", "PRJ-07"):
        found = RULES[id_](records)
        assert found.state == "satisfied", (id_, found.note)
    assert RULES["PRJ-02"](records).state in ("satisfied", "partly_satisfied")
    assert RULES["N226-F09"](records).state == "not_satisfied"
