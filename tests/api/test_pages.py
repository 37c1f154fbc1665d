"""Lists of datasets and approvals come in pages too: what a caller may know, once each."""

from uuid import uuid4

from tests.api.test_budget_pages import pages
from tests.api.world import World, open_root, register


def test_pages_give_every_dataset_that_the_caller_may_know_once(world: World) -> None:
    shown = [register(world, name=name) for name in ("zebras", "apes")]
    hidden = register(world, name="mice", granted=False)
    shown.append(register(world, name="bees"))
    everything = [*shown[:2], hidden, shown[2]]
    pairs = [everything[:2], everything[2:]]
    assert [
        each for each in pages(world, "limit=2", by="auditor", path="datasets") if each
    ] == pairs
    # what an engineer may not know neither shows nor thins a page
    assert pages(world, "limit=1", by="ml_engineer", path="datasets") == [
        *([each] for each in shown),
        [],
    ]


def test_pages_give_every_approval_that_the_caller_may_see_once(world: World) -> None:
    root = open_root(world, register(world))
    asked = [ask_for_more(world, root, f"{2 + n}") for n in range(3)]
    found = pages(world, "state=pending&limit=2", by="auditor", path="approvals")
    assert found == [asked[:2], asked[2:]]
    assert pages(world, "limit=2", by="ml_engineer", path="approvals") == [asked[:2], asked[2:]]
    assert pages(world, "limit=2", by="stranger", path="approvals") == [[]]


def test_a_cursor_of_something_hidden_or_of_another_list_opens_nothing(world: World) -> None:
    root = open_root(world, register(world, granted=False))
    ask = world.ask
    for path in ("datasets", "approvals"):
        cursor = ask("GET", f"/{path}?limit=1", by="auditor").json()["next"]
        assert ask("GET", f"/{path}?cursor={cursor}", by="stranger").status_code == 404
        other = ask("GET", f"/budgets/{root}/entries?limit=1", by="auditor").json()["next"]
        answer = ask("GET", f"/{path}?cursor={other}", by="auditor")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


def ask_for_more(world: World, budget_id: str, epsilon: str) -> str:
    """An engineer's proposal to raise a budget."""
    version = world.ask("GET", f"/budgets/{budget_id}", by="auditor").json()["version"]
    answer = world.ask(
        "POST",
        f"/budgets/{budget_id}/changes",
        {"action": "raise", "limit": {"epsilon": epsilon}, "reason": "a wave"},
        headers={"If-Match": f'"{version}"', "Idempotency-Key": uuid4().hex},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["approval_id"])
