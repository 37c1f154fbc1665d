"""The list of budgets comes in pages: all of what a caller may read, once each, and no more."""

from typing import Any

from app.client import EpsilonLedger
from tests.api.world import World, open_root, register


def allocations(world: World, root: str, count: int, **changes: Any) -> list[str]:
    """Some open allocations below a root, oldest first."""
    body = {
        "kind": "allocation",
        "parent_id": root,
        "limit": {"epsilon": "0.5", "delta": "0"},
        "accountant": "pure/1",
        "reason": "a team",
        **changes,
    }
    return [
        world.made("/budgets", {**body, "name": f"a{n}"}, by="compliance_officer")["id"]
        for n in range(count)
    ]


def pages(world: World, query: str, *, by: str, path: str = "budgets") -> list[list[str]]:
    """The ids of a list, page by page."""
    found: list[list[str]] = []
    cursor = ""
    while True:
        answer = world.ask("GET", f"/{path}?{query}{cursor}", by=by)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        found.append([each["id"] for each in document["items"]])
        if document["next"] is None:
            return found
        cursor = f"&cursor={document['next']}"


def test_pages_give_every_budget_once_in_order_and_end(world: World) -> None:
    root = open_root(world, register(world))
    made = [root, *allocations(world, root, 4)]
    assert pages(world, "limit=2", by="auditor") == [made[:2], made[2:4], made[4:]]
    # a list whose last page is full says so by an empty one
    assert pages(world, "limit=5", by="auditor") == [made, []]
    assert pages(world, "", by="auditor") == [made]


def test_pages_of_an_engineer_are_not_thinned_by_budgets_of_others(world: World) -> None:
    root = open_root(world, register(world))
    others = world.made("/projects", {"name": "others"}, by="admin")["id"]
    allocations(world, root, 3, holder={"project_id": others})
    own = allocations(world, root, 2, holder={"project_id": world.ids["team"]})
    assert pages(world, "limit=1", by="ml_engineer") == [[root], own[:1], own[1:], []]
    assert pages(world, "limit=1", by="stranger") == [[]]


def test_pages_of_one_dataset_hold_no_other(world: World) -> None:
    first, second = (register(world, name=name) for name in ("trips", "rides"))
    one, two = open_root(world, first), open_root(world, second)
    assert pages(world, f"dataset_id={first}&limit=1", by="auditor") == [[one], []]
    assert pages(world, f"dataset_id={second}", by="auditor") == [[two]]


def test_a_cursor_of_another_list_or_of_a_hidden_budget_opens_nothing(world: World) -> None:
    root = open_root(world, register(world, granted=False))
    cursor = world.ask("GET", "/budgets?limit=1", by="auditor").json()["next"]
    assert world.ask("GET", f"/budgets?cursor={cursor}", by="stranger").status_code == 404
    entries = world.ask("GET", f"/budgets/{root}/entries?limit=1", by="auditor").json()["next"]
    for wrong in (entries, "nonsense", "0"):
        answer = world.ask("GET", f"/budgets?cursor={wrong}", by="auditor")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")
    for limit in ("0", "201"):
        assert world.ask("GET", f"/budgets?limit={limit}", by="auditor").status_code == 422


def test_the_client_walks_the_pages(on_sqlite: World) -> None:
    root = open_root(on_sqlite, register(on_sqlite))
    made = [root, *allocations(on_sqlite, root, 3)]
    transport = on_sqlite.client._transport
    with EpsilonLedger("http://testserver", on_sqlite.keys["auditor"], transport=transport) as it:
        assert [each["id"] for each in it.pages("/v1/budgets", limit=2)] == made
