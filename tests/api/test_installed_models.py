"""An installed model over HTTP: nothing is reserved for one that no worker has accepted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.session import database_now, transaction
from app.services.models import Verdict, installed_models, record_verdict
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.training import training_house, training_job, training_spec
from tests.api.world import TestClient, World, build
from tests.installing import install, reached


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A house on SQLite with the package installed, and no worker."""
    install(tmp_path / "packages", ("tried_good", "tried_batch_mean"))
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    with reached(tmp_path / "packages"):
        installed_models.cache_clear()
        with TestClient(app_over(settings)) as client:
            yield build(client, folder)
    installed_models.cache_clear()


def _found(world: World, name: str, verdict: Verdict) -> None:
    """What a worker would write."""
    make_session = world.client.app.state.services.make_session  # type: ignore[attr-defined]
    with transaction(make_session) as session:
        entry = installed_models().entries[name]
        record_verdict(session, entry, verdict, now=database_now(session))


REFUSED = Verdict(
    accepted=False, module="first", problem="rows of a batch meet", remedy="let each see itself"
)


def test_a_model_that_no_worker_has_examined_is_refused_before_anything_is_reserved(
    house: World,
) -> None:
    inputs, model = training_house(house), {"name": "tried_good"}
    quote = {"inputs": [inputs], "spec": training_spec(model=model)}
    for path, body in (("/quotes", quote), ("/jobs", training_job(inputs, model=model))):
        answer = house.ask("POST", path, body)
        assert answer.status_code == 409
        assert answer.json()["code"] == "model-not-accepted"
        assert "start a worker" in answer.json()["remedy"]
    assert house.ask("GET", "/jobs").json()["items"] == []


def test_a_refused_model_is_refused_with_its_module_and_remedy(house: World) -> None:
    _found(house, "tried_batch_mean", REFUSED)
    inputs = training_house(house)
    answer = house.ask("POST", "/jobs", training_job(inputs, model={"name": "tried_batch_mean"}))
    assert answer.status_code == 409
    assert (answer.json()["module"], answer.json()["remedy"]) == (REFUSED.module, REFUSED.remedy)


def test_an_accepted_model_is_admitted_with_every_option_explicit(house: World) -> None:
    _found(house, "tried_good", Verdict(accepted=True))
    answer = house.ask(
        "POST", "/jobs", training_job(training_house(house), model={"name": "tried_good"})
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["model"] == {"name": "tried_good", "width": 4, "classes": 2}


def test_a_model_that_a_later_worker_refuses_is_refused_again(house: World) -> None:
    inputs, model = training_house(house), {"name": "tried_good"}
    _found(house, "tried_good", Verdict(accepted=True))
    assert house.ask("POST", "/jobs", training_job(inputs, model=model)).status_code == 202
    _found(house, "tried_good", REFUSED)
    assert house.ask("POST", "/jobs", training_job(inputs, model=model)).status_code == 409


def test_the_list_says_which_models_are_installed_and_which_may_be_used(house: World) -> None:
    _found(house, "tried_good", Verdict(accepted=True))
    items = house.ask("GET", "/models").json()["items"]
    said = {each["name"]: (each["installed"], each["accepted"]) for each in items}
    assert said["mlp"] == (False, True)
    assert said["tried_good"] == (True, True)
    assert said["tried_batch_mean"] == (True, False)
