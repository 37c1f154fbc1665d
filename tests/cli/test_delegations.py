"""From a shell: an officer hands over a right, another uses it, and it is taken back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.api.world import World, budget_body, register
from tests.cli.conftest import Terminal, on_sqlite, sign_in, url

__all__ = ["on_sqlite", "sign_in", "url"]


def test_a_right_is_handed_over_used_and_taken_back(
    on_sqlite: World, sign_in: Callable[[str], Terminal]
) -> None:
    house = on_sqlite
    made = house.made("/people", {"name": "third", "roles": ["compliance_officer"]}, by="admin")
    key = house.made("/api-keys", {"principal_id": made["id"]}, by="admin")["key"]
    house.ids["third"], house.keys["third"] = made["id"], key
    until = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    asked = house.made("/budgets", budget_body(register(house)), by="compliance_officer")
    handed = sign_in("third").json(
        "delegate", house.ids["second_officer"], "--until", until, "--reason", "leave"
    )
    second = sign_in("second_officer")
    words = ("--on-behalf-of", made["id"], "--reason", "as she would", "--yes")
    decided = second.json("approve", asked["approval_id"], *words)
    assert decided["state"] == "used"
    shown = second.run("delegations").output
    assert handed["id"] in shown
    assert "in force" in shown
    (ended,) = second.json("delegations", "--end", handed["id"])
    assert ended["ended_by"] == house.ids["second_officer"]
    assert "not in force" in second.run("delegations").output
