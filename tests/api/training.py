"""A training job over HTTP: a table of records with a label, its root, and a spec that is right."""

from typing import Any

from tests.api.world import World, open_root, register
from tests.training_document import training_document

COLUMNS = [
    {"name": "age", "type": "int64", "bounds": {"low": "0", "high": "120"}, "grid": "1"},
    {"name": "wage", "type": "float64", "bounds": {"low": "0", "high": "9000"}, "grid": "1"},
    {"name": "stays", "type": "bool", "domain": [False, True], "domain_source": "public"},
]


def training_house(world: World, **changes: Any) -> dict[str, Any]:
    """A dataset of records with an open root, as the inputs of a job name them."""
    fields: dict[str, Any] = {
        "columns": COLUMNS,
        "unit_of_privacy": {"kind": "record"},
    }
    dataset = register(world, name="staff", **{**fields, **changes})
    limit = {"epsilon": "8", "delta": "1e-6"}
    root = open_root(world, dataset, accountant="rdp-mix/1", limit=limit)
    return {"dataset_id": dataset, "version": 1, "budget_id": root, "blocks": "all"}


def training_spec(**changes: Any) -> dict[str, Any]:
    """A spec for it."""
    sampling = {"kind": "poisson", "rate": "0.1"}
    return training_document(
        ["age", "wage"], "stays", **{"sampling": sampling, "steps": 10, **changes}
    )


def training_job(inputs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A job of it."""
    return {
        "kind": "train",
        "inputs": [inputs],
        "spec": training_spec(**changes),
        "purpose": "a test",
    }
