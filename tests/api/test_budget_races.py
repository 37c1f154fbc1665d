"""Equal requests for a budget that meet: one budget, one answer (R16)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from httpx import Response

from tests.api.world import World, budget_body, open_root, register


def test_equal_requests_for_a_budget_at_one_time_make_one_budget(world: World) -> None:
    dataset = register(world)
    other = register(world, name="trains")
    parent = open_root(world, dataset)
    allocation = {**budget_body(dataset), "kind": "allocation", "parent_id": parent}
    del allocation["dataset_id"]

    for key, body in (("root", budget_body(other)), ("allocation", allocation)):

        def send(_: int, body: dict[str, Any] = body, key: str = key) -> Response:
            return world.ask("POST", "/budgets", body, by="compliance_officer", key=key)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        assert {(answer.status_code, answer.content) for answer in answers} == {
            (202 if key == "root" else 201, answers[0].content)
        }
    assert len(world.ask("GET", "/budgets", by="auditor").json()["items"]) == 3
