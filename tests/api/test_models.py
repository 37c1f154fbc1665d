"""The registry over HTTP: what a client needs to write a training spec, and nothing private."""

import pytest

from app.client import EpsilonLedger
from app.domain.training.registry import MODELS
from tests.api.world import World


@pytest.mark.parametrize("by", ["ml_engineer", "auditor", "admin", "worker", "stranger"])
def test_everybody_who_is_signed_in_reads_every_model(on_sqlite: World, by: str) -> None:
    answer = on_sqlite.ask("GET", "/models", by=by)
    assert answer.status_code == 200
    assert [each["name"] for each in answer.json()["items"]] == list(MODELS)


def test_nobody_reads_them_without_a_key(on_sqlite: World) -> None:
    assert on_sqlite.ask("GET", "/models", by=None).status_code == 401


def test_a_model_says_what_it_reads_and_which_options_it_takes(on_sqlite: World) -> None:
    items = on_sqlite.ask("GET", "/models").json()["items"]
    found = {each["name"]: each for each in items}
    assert found["mlp"]["reads"] == ["features"]
    assert found["transformer_lm"]["reads"] == ["text", "tokens"]
    assert found["mlp"]["options"]["required"] == ["hidden"]
    for each in items:
        assert each["title"]
        assert each["options"]["additionalProperties"] is False
        assert "name" not in each["options"]["properties"]


def test_the_client_lists_what_the_route_lists(on_sqlite: World) -> None:
    transport = on_sqlite.client._transport
    with EpsilonLedger(
        "http://testserver", on_sqlite.keys["ml_engineer"], transport=transport
    ) as ledger:
        assert ledger.models() == on_sqlite.ask("GET", "/models").json()["items"]
