"""Every form that training refuses by name, over HTTP: nothing is held or written after it (R28).

The installed models are judged by a real examination, as a worker that starts judges them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.session import database_now, transaction
from app.services.models import installed_models, record_verdict
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.test_bad_input import counts
from tests.api.training import COLUMNS, training_house, training_job, training_spec
from tests.api.world import TestClient, World, build
from tests.installing import install, reached
from workers.examining import examine

ADAPTIVE = {"quantile": "0.5", "learning_rate": 0.2, "count_noise": "5"}
LOOK = {"mode": "flat", "profile": {"quantile": "0.5", "epsilon": "1"}}
MLP = {"name": "mlp", "hidden": [4]}
# what is asked -> a word of the form that the refusal names
BY_NAME: dict[str, dict[str, Any]] = {
    "sketch": {"model": {**MLP, "lora": {"rank": 2, "sketch": True}}},
    "sketch LoRA": {"model": {**MLP, "adapter": "sketch"}},
    "mix rows": {"model": {**MLP, "batch_norm": True}},
    "shuffled": {"sampling": {"kind": "shuffled", "rate": "0.1"}},
    "fixed-size": {"sampling": {"kind": "fixed_size", "batch": 64}},
    "best of N": {"best_of": 5},
    "one charge": {"seeds": [1, 2, 3]},
    "microbatch": {"clip": {"mode": "microbatch", "norm_l2": "1"}},
    "claimed per example": {"clip": {"mode": "flat", "norm_l2": "1", "microbatches": 4}},
    "integer grid": {"noise": {"noise_multiplier": "2", "kind": "integer_grid"}},
    "each layer by itself": {"clip": {"mode": "per_layer", "norm_l2": "1", "adaptive": ADAPTIVE}},
}
PACKAGE = ("tried_uncovered", "tried_batch_norm", "tried_batch_mean", "tried_memory", "tried_liar")


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A house on SQLite, with models that nobody can train privately, and a worker's verdicts."""
    install(tmp_path / "packages", PACKAGE)
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    with reached(tmp_path / "packages"):
        installed_models.cache_clear()
        with TestClient(app_over(settings)) as client:
            make_session = client.app.state.services.make_session  # type: ignore[attr-defined]
            for entry in installed_models().entries.values():
                verdict = examine(entry)
                with transaction(make_session) as session:
                    record_verdict(session, entry, verdict, now=database_now(session))
            yield build(client, folder)
    installed_models.cache_clear()


def refused(world: World, inputs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """How a job is refused; a quote of it is refused alike, and neither leaves a row."""
    before, said = counts(world), []
    quote = {"inputs": [inputs], "spec": training_spec(**changes)}
    for path, body in (("/quotes", quote), ("/jobs", training_job(inputs, **changes))):
        answer = world.ask("POST", path, body)
        assert answer.status_code in (409, 422), answer.text
        said.append({**answer.json(), "instance": None})
    assert counts(world) == before
    assert said[0]["code"] == said[1]["code"]
    document: dict[str, Any] = said[1]
    return document


def test_no_form_of_r28_is_priced_or_leaves_a_row(house: World) -> None:
    inputs = training_house(house)
    for word, changes in BY_NAME.items():
        found = refused(house, inputs, **changes)
        assert found["code"] == "refused-by-name", changes
        assert word in found["form"], found
        assert found["instead"]


def test_no_model_of_which_a_worker_has_found_a_fault_leaves_a_row(house: World) -> None:
    inputs = training_house(house)
    words = {
        "tried_uncovered": "no rule",
        "tried_batch_norm": "BatchNorm",
        "tried_batch_mean": "rows of a batch meet",
        "tried_memory": "keeps something of the rows",
        "tried_liar": "description says",
    }
    for name in PACKAGE:
        found = refused(house, inputs, model={"name": name})
        assert found["code"] == "model-not-accepted"
        assert words[name] in found["problem"]
        assert found["remedy"]


def test_what_has_no_price_for_these_units_leaves_no_row(house: World) -> None:
    columns = [*COLUMNS, {"name": "person", "type": "string"}]
    unit = {"kind": "user", "column": "person", "max_rows_per_user": 4}
    users = training_house(house, columns=columns, unit_of_privacy=unit)
    assert refused(house, users, clip=LOOK)["code"] == "refused-by-name"
    assert refused(house, users, user={"rows_most": 5})["code"] == "invalid-parameter"


def test_no_sampled_training_where_a_unit_is_replaced_leaves_a_row(house: World) -> None:
    replaced = training_house(house, relation="replace_one")
    assert refused(house, replaced)["code"] == "mechanism-not-priced"


@pytest.mark.parametrize("model", [{"name": "logistic"}, MLP])
def test_lora_without_an_installed_base_leaves_no_row(house: World, model: dict[str, Any]) -> None:
    found = refused(house, training_house(house), model={**model, "lora": {"rank": 2}})
    assert found["code"] == "invalid-parameter"
    assert found["errors"][0]["pointer"] == "/spec/model/lora"
    assert "administrator" in str(found)
