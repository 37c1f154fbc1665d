"""Statements over HTTP: one for each audience, each with its end, for those who may read them."""

import pytest

from app.reporting.statements import FOOTER
from tests.api.world import World, open_root, register, reservation_body


@pytest.mark.parametrize("audience", ["subject", "officer", "auditor"])
def test_a_budget_has_a_statement_for_each_audience(world: World, audience: str) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    world.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    answer = world.ask("GET", f"/budgets/{budget}/statement?audience={audience}", by="auditor")
    said = answer.json()
    assert (answer.status_code, said["audience"], said["footer"]) == (200, audience, FOOTER)
    assert "50 times in 100" in said["text"][0] or audience == "auditor"
    assert said["assumptions"]
    assert said["limits"]


def test_an_audience_that_nobody_writes_for_is_refused(world: World) -> None:
    budget = open_root(world, register(world))
    answer = world.ask("GET", f"/budgets/{budget}/statement?audience=press", by="auditor")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")
