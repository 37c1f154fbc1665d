"""Training whose unit is a user, over HTTP: priced in users, and refused without a cap."""

from typing import Any

from tests.api.training import COLUMNS, training_house, training_job, training_spec
from tests.api.world import World

USER = {"kind": "user", "column": "person"}


def _house(world: World, **caps: int) -> dict[str, Any]:
    columns = [*COLUMNS, {"name": "person", "type": "string"}]
    return training_house(world, columns=columns, unit_of_privacy={**USER, **caps})


def test_a_job_by_users_is_charged_as_one_by_records_of_its_own_dataset(on_sqlite: World) -> None:
    inputs = _house(on_sqlite, max_rows_per_user=8)
    body = {"inputs": [inputs], "spec": training_spec()}
    quote = on_sqlite.ask("POST", "/quotes", body)
    assert quote.status_code == 200, quote.text
    job = on_sqlite.made("/jobs", training_job(inputs), by="ml_engineer")
    assert job["spec"]["user"] == {"rows_most": 8, "each_step": "all"}
    assert job["spec"]["normalise_by"] == 100  # rate 0.1 of 1000 users


def test_a_dataset_without_a_cap_on_rows_asks_for_one(on_sqlite: World) -> None:
    inputs = _house(on_sqlite, max_groups_per_user=3, max_rows_per_user_group=10)
    answer = on_sqlite.ask("POST", "/jobs", training_job(inputs))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/spec/user/rows_most"
    capped = on_sqlite.ask("POST", "/jobs", training_job(inputs, user={"rows_most": 5}))
    assert capped.status_code == 202, capped.text
