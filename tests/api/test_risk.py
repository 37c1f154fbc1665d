"""Risk over HTTP: the figures of the statements, at steps; deployments like with like alone."""

from decimal import Decimal
from typing import Any

from app.reporting.deployments import REASONS
from app.reporting.statements.figures import risk_figures, trade_off_points
from tests.api.world import World, open_root, register, reservation_body


def spent(world: World) -> str:
    """A root of which a tenth is held."""
    dataset = register(world)
    root = open_root(world, dataset)
    world.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
    return root


def read(world: World, path: str) -> dict[str, Any]:
    answer = world.ask("GET", path, by="auditor")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_risk_as_it_stands_and_at_the_limit_is_that_of_the_statements(world: World) -> None:
    root = spent(world)
    found = read(world, f"/budgets/{root}/risk")
    marked = {mark: step for step in found["steps"] for mark in step["marks"]}
    officer = read(world, f"/budgets/{root}/statement?audience=officer")
    assert marked["consumed"]["risk"] == officer["risk_now"]
    assert marked["limit"]["risk"] == officer["risk_at_limit"]
    auditor = read(world, f"/budgets/{root}/statement?audience=auditor")
    assert marked["consumed"]["trade_off"] == auditor["trade_off"]
    assert (found["unit"], found["relation"]) == (officer["unit"], officer["relation"])


def test_every_step_is_computed_by_the_formulas_of_the_statements_smallest_first(
    on_sqlite: World,
) -> None:
    root = spent(on_sqlite)
    found = read(on_sqlite, f"/budgets/{root}/risk")
    epsilons = [step["risk"]["epsilon"] for step in found["steps"]]
    assert epsilons == sorted(epsilons, key=Decimal)
    assert len(set(epsilons)) == len(epsilons)
    for step in found["steps"]:
        epsilon = step["risk"]["epsilon"]
        assert step["risk"] == risk_figures(epsilon, found["delta"], "add_remove")
        assert step["trade_off"] == trade_off_points(epsilon, found["delta"])


def test_deployments_stand_beside_the_lifetime_figure_like_with_like_alone(
    on_sqlite: World,
) -> None:
    root = spent(on_sqlite)
    share = on_sqlite.made(
        "/budgets",
        {
            "kind": "allocation",
            "parent_id": root,
            "name": "a study",
            "limit": {"epsilon": "0.5", "delta": "0"},
            "accountant": "pure/1",
            "holder": {"project_id": on_sqlite.ids["team"]},
            "reason": "a study",
        },
        by="compliance_officer",
    )["id"]
    found = read(on_sqlite, f"/budgets/{share}/deployments")
    assert found["budget_id"] == root
    consumed = read(on_sqlite, f"/budgets/{root}")["consumed"]
    assert found["own"]["epsilon"] == consumed["epsilon"]
    assert {row["unit"] for row in found["rows"]} <= {found["own"]["unit"]}
    assert found["refused"]
    assert {each["reason"] for each in found["refused"]} <= set(REASONS)
    groups = [group["unit"] for group in found["published"]]
    assert groups == sorted(set(groups))


def test_an_engineer_reads_neither(on_sqlite: World) -> None:
    root = spent(on_sqlite)
    for path in ("risk", "deployments"):
        answer = on_sqlite.ask("GET", f"/budgets/{root}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
