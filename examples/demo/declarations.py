"""What the demo registers and asks: the JSON that a team would send."""

from typing import Any

MONTHS = list(range(1, 13))
FLIGHTS_NOMINAL_SIZE = 4_000  # aircraft: a public declaration, not a count
DIGITS_NOMINAL_SIZE = 1_400

FLIGHTS: dict[str, Any] = {
    "name": "flights",
    "access": "private",
    "population": "us-airframes",
    "purpose": "delay statistics",
    "source": {"connection": "demo", "path": "flights.parquet", "format": "parquet"},
    "columns": [
        {"name": "tailnum", "type": "string", "nullable": True},
        {"name": "carrier", "type": "string", "keys": "private"},
        {
            "name": "origin",
            "type": "string",
            "domain": ["EWR", "JFK", "LGA"],
            "domain_source": "public",
        },
        {"name": "dest", "type": "string", "keys": "private"},
        {"name": "month", "type": "int64", "domain": MONTHS, "domain_source": "public"},
        {
            "name": "distance",
            "type": "int64",
            "bounds": {"low": "0", "high": "5000"},
            "grid": "1",
        },
    ],
    "unit_of_privacy": {
        "kind": "user",
        "column": "tailnum",
        "max_groups_per_user": 3,
        "max_rows_per_user_group": 30,
    },
    "relation": "add_remove",
    "blocks": {"kind": "none"},
    "nominal_size": FLIGHTS_NOMINAL_SIZE,
    "new_people": True,
    "trust_model": "central",
    "raw_viewers": ["data platform team"],
    "retain_until": "2027-12-31",
}
DIGITS_COLUMNS: list[dict[str, Any]] = [
    {
        "name": "pixels",
        "type": "float32",
        "shape": [64],
        "bounds": {"low": "0", "high": "16"},
    },
    {
        "name": "digit",
        "type": "int64",
        "domain": list(range(10)),
        "domain_source": "public",
    },
]
DIGITS: dict[str, Any] = {
    "name": "digits",
    "access": "private",
    "population": "writers of digits",
    "purpose": "digit reader",
    "source": {"connection": "demo", "path": "digits-train.parquet", "format": "parquet"},
    "columns": DIGITS_COLUMNS,
    "unit_of_privacy": {"kind": "record"},
    "relation": "add_remove",
    "blocks": {"kind": "none"},
    "nominal_size": DIGITS_NOMINAL_SIZE,
    "new_people": True,
}
DIGITS_TEST: dict[str, Any] = {
    "name": "digits-test",
    "access": "public",
    "source": {"connection": "demo", "path": "digits-test.parquet", "format": "parquet"},
    "columns": DIGITS_COLUMNS,
}


def flights_by_origin(epsilon: str) -> dict[str, Any]:
    """Flights and their mean distance from each airport: public keys, so every group is shown."""
    return {
        "v": 1,
        "where": [],
        "group_by": [{"col": "origin", "keys": "domain"}],
        "measures": [
            {"fn": "count"},
            {"fn": "mean", "col": "distance", "lo": "0", "hi": "5000", "grid": "1"},
        ],
        "bounds": {"max_groups": 3, "max_rows": 30},
        "privacy": {"epsilon": epsilon, "delta": "0", "noise": "auto"},
        "confidence": "0.95",
    }


def summer_destinations(epsilon: str) -> dict[str, Any]:
    """Summer flights by destination: private keys, shown only where enough aircraft went."""
    return {
        "v": 1,
        "where": [["month", "in", [6, 7, 8]]],
        "group_by": [{"col": "dest", "keys": "private"}],
        "measures": [{"fn": "count"}],
        "bounds": {"max_groups": 3, "max_rows": 10},
        "privacy": {"epsilon": epsilon, "delta": "1e-9", "noise": "auto"},
        "confidence": "0.95",
    }


def digit_reader(test_dataset_id: str) -> dict[str, Any]:
    """DP-SGD on the digits, its noise solved for the budget's own filter at (8, 1e-5)."""
    return {
        "v": 1,
        "algorithm": "dp_sgd",
        "model": {"name": "mlp", "hidden": [128], "classes": 10},
        "features": ["pixels"],
        "label": "digit",
        "loss": "cross_entropy",
        "sampling": {"kind": "poisson", "rate": "0.5"},
        "steps": 100,
        "clip": {"mode": "flat", "norm_l2": "0.5"},
        "noise": {"target": {"epsilon": "8", "delta": "1e-5", "from": "empty"}},
        "optimizer": {"name": "sgd", "learning_rate": 1.0, "momentum": 0.9},
        "physical_batch_max": 512,
        "evaluation": {"dataset_id": test_dataset_id, "every_steps": 10},
        "chunk_steps": 10,
        "device": "cpu",
    }
