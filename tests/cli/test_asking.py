"""What people ask for from a terminal is what the service was asked, and costs what it says."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.cli.budgets import in_tree_order, sparkline
from app.cli.given import read_document
from tests.api.test_client import settle
from tests.api.training import training_house, training_spec
from tests.api.world import World, open_root, register
from tests.cli.conftest import Terminal

SignIn = Callable[[str], Terminal]
SQL = "SELECT COUNT(*) FROM trips"
RELEASED: dict[str, Any] = {
    "columns": [
        {"name": "month", "kind": "key", "type": "int64"},
        {"name": "count", "kind": "measure", "type": "number"},
    ],
    "rows": [
        {
            "keys": {"month": month},
            "cells": [
                {
                    "measure": "count",
                    "value": 100 * month,
                    "half_width_95": "29.5",
                    "mechanism": "discrete_laplace",
                }
            ],
        }
        for month in (1, 2)
    ],
    "notes": ["bounds cut values off"],
}


@pytest.fixture
def house(on_sqlite: World) -> World:
    on_sqlite.ids["trips"] = register(on_sqlite)
    on_sqlite.ids["root"] = open_root(on_sqlite, on_sqlite.ids["trips"])
    return on_sqlite


def test_a_question_in_sql_is_admitted_on_the_only_budget_and_charged_what_was_said(
    house: World, sign_in: SignIn
) -> None:
    terminal = sign_in("ml_engineer")
    asked = ["--epsilon", "0.25", "--purpose", "delays", "--no-wait"]
    admitted = terminal.json("query", SQL, *asked)
    job = house.ask("GET", f"/jobs/{admitted['id']}").json()
    assert job["purpose"] == "delays"
    assert job["inputs"][0]["budget_id"] == house.ids["root"]
    held = terminal.json("budgets")[0]["consumed"]
    assert held["epsilon"] == "0.25"


def test_a_quote_charges_nothing_and_says_what_would_fit(house: World, sign_in: SignIn) -> None:
    terminal = sign_in("ml_engineer")
    said = terminal.run("quote", SQL, "--epsilon", "3")
    assert said.exit_code == 0, said.output
    assert "would be refused now" in said.output
    assert '"epsilon": "1"' in said.output
    assert terminal.json("quote", SQL, "--epsilon", "0.5")["admitted_now"] is True
    assert terminal.json("budgets")[0]["consumed"]["epsilon"] == "0"


def test_a_refused_query_ends_with_its_own_code_and_the_whole_problem_for_programs(
    house: World, sign_in: SignIn
) -> None:
    terminal = sign_in("ml_engineer")
    asked = ["query", SQL, "--epsilon", "1.5", "--purpose", "too much"]
    said = terminal.run(*asked)
    assert said.exit_code == 3
    assert "what fits" in said.output
    problem = terminal.json(*asked, exit_code=3)
    assert problem["code"] == "budget-exceeded"
    assert problem["fits"]["epsilon"] == "1"
    assert terminal.json("jobs", "list") == []


def test_a_released_table_is_printed_with_its_error_and_written_whole(
    house: World, sign_in: SignIn, tmp_path: Path
) -> None:
    terminal = sign_in("ml_engineer")
    asked = ["--epsilon", "0.25", "--purpose", "delays", "--no-wait"]
    job_id = terminal.json("query", SQL, *asked)["id"]
    assert terminal.run("jobs", "result", job_id).exit_code == 3
    settle(house, job_id, document=RELEASED)
    file = tmp_path / "table.csv"
    said = terminal.run("jobs", "watch", job_id)
    assert said.exit_code == 0, said.output
    for text in ("200", "29.5", "discrete_laplace", "bounds cut values off"):
        assert text in said.output
    folder = tmp_path / "files"
    terminal.run("jobs", "result", job_id, "--csv", str(file), "--folder", str(folder))
    assert [line.split(",")[1] for line in file.read_text().splitlines()[1:]] == ["100", "200"]
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    # the same question again is answered by what was released
    again = terminal.run("query", SQL, "--epsilon", "0.25", "--purpose", "delays")
    assert again.exit_code == 0, again.output
    assert "nothing is charged" in again.output


def test_a_cancelled_job_ends_its_watcher_with_a_code_of_its_own(
    house: World, sign_in: SignIn
) -> None:
    terminal = sign_in("ml_engineer")
    job_id = terminal.json("query", SQL, "--epsilon", "0.1", "--purpose", "p", "--no-wait")["id"]
    assert terminal.run("jobs", "cancel", job_id).exit_code == 0
    said = terminal.run("jobs", "watch", job_id)
    assert said.exit_code == 6
    assert "0 of 1 units were started" in said.output


def test_of_two_budgets_that_could_pay_none_is_chosen_for_a_person(
    house: World, sign_in: SignIn
) -> None:
    for name in ("first", "second"):
        body = {
            "kind": "allocation",
            "parent_id": house.ids["root"],
            "name": name,
            "limit": {"epsilon": "0.5", "delta": "0"},
            "accountant": "pure/1",
            "holder": {"project_id": house.ids["team"]},
            "reason": "policy 12",
        }
        house.made("/budgets", body, by="compliance_officer")
    terminal = sign_in("ml_engineer")
    asked = ["query", SQL, "--epsilon", "0.1", "--purpose", "p", "--no-wait"]
    said = terminal.run(*asked)
    assert said.exit_code == 2
    assert "first" in said.output
    assert "second" in said.output
    admitted = terminal.json(*asked, "--budget", "second")
    held = {each["name"]: each["consumed"]["epsilon"] for each in terminal.json("budgets")}
    assert held == {"for life": "0.1", "first": "0", "second": "0.1"}, admitted


def test_two_officers_open_a_budget_from_two_terminals_and_one_alone_does_not(
    house: World, sign_in: SignIn
) -> None:
    change = {"action": "raise", "limit": {"epsilon": "2"}, "reason": "more queries"}
    etag = house.ask("GET", f"/budgets/{house.ids['root']}", by="auditor").headers["ETag"]
    asked = house.ask(
        "POST",
        f"/budgets/{house.ids['root']}/changes",
        change,
        by="compliance_officer",
        headers={"If-Match": etag},
    ).json()
    own = sign_in("compliance_officer")
    assert asked["approval_id"] in own.run("approvals").output
    decide = ["approve", asked["approval_id"], "--reason", "agreed"]
    assert own.run(*decide, "--yes").exit_code == 4
    second = sign_in("second_officer")
    assert second.run(*decide, typed="n\n").exit_code == 130
    said = second.run(*decide, typed="y\n")
    assert said.exit_code == 0, said.output
    assert '"epsilon": "2"' in said.output
    assert second.json("budgets")[0]["limit"]["epsilon"] == "2"


def test_a_job_in_yaml_names_its_dataset_and_keeps_every_digit(
    house: World, sign_in: SignIn, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "dataset: trips\nspec:\n  v: 1\n  measures: [{fn: count}]\n"
        "  privacy: {epsilon: 0.10, delta: '0', noise: discrete_laplace}\n"
    )
    assert read_document(str(file))["spec"]["privacy"]["epsilon"] == "0.10"
    terminal = sign_in("ml_engineer")
    quoted = terminal.json("quote", str(file))
    assert quoted["charges"][0]["asked"]["epsilon"] == "0.1"


def test_a_training_is_asked_for_by_a_file_and_its_model_is_fetched(
    on_sqlite: World, sign_in: SignIn, tmp_path: Path
) -> None:
    training_house(on_sqlite)
    file, folder = tmp_path / "run.yaml", tmp_path / "model"
    file.write_text(json.dumps({"dataset": "staff", "spec": training_spec()}))
    terminal = sign_in("ml_engineer")
    assert terminal.run("train", str(file)).exit_code == 2  # it says no purpose
    asked = terminal.json("train", str(file), "--purpose", "who stays", "--no-wait")
    job = on_sqlite.ask("GET", f"/jobs/{asked['id']}").json()
    assert (job["kind"], job["purpose"]) == ("train", "who stays")
    settle(on_sqlite, asked["id"])
    watched = terminal.json("jobs", "watch", asked["id"])
    assert [each["name"] for each in watched["artifacts"]] == ["model.safetensors"]
    fetched = terminal.run("jobs", "result", asked["id"], "--folder", str(folder))
    assert fetched.exit_code == 0, fetched.output
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    # where a file cannot be put, one line says so
    lost = terminal.run("jobs", "result", asked["id"], "--folder", str(file))
    assert (lost.exit_code, len(lost.output.splitlines())) == (1, 1), lost.output


def test_a_file_that_is_no_job_ends_the_command_before_anything_is_asked(
    sign_in: SignIn, tmp_path: Path
) -> None:
    terminal = sign_in("ml_engineer")
    for text in ("[1, 2]", "a: [", "dataset: trips\n", "\x00"):
        file = tmp_path / "job.yaml"
        file.write_text(text)
        assert terminal.run("quote", str(file)).exit_code == 2, text
    assert terminal.run("quote", str(tmp_path / "missing")).exit_code == 2


def test_every_command_that_asks_the_service_can_answer_as_json(
    house: World, sign_in: SignIn
) -> None:
    terminal = sign_in("compliance_officer")
    for words in (["whoami"], ["datasets"], ["datasets", "trips"], ["budgets"], ["approvals"]):
        assert terminal.json(*words) or words == ["approvals"]
        plain = terminal.run(*words)
        assert plain.exit_code == 0
        with pytest.raises(ValueError, match=r"Expecting|Extra"):
            json.loads(plain.stdout)


def test_a_sparkline_falls_with_what_is_left_and_never_rises_above_the_limit() -> None:
    points = [{"consumed": each} for each in ("0", "0.5", "0.99", "1")]
    assert sparkline(points, Decimal(1)) == "█▅▁▁"


def test_a_budget_stands_below_its_parent_and_no_budget_is_lost() -> None:
    found: list[dict[str, Any]] = [
        {"id": "leaf", "parent_id": "middle"},
        {"id": "root", "parent_id": None},
        {"id": "middle", "parent_id": "root"},
        {"id": "orphan", "parent_id": "hidden"},
    ]
    shown = [(each["id"], depth) for each, depth in in_tree_order(found)]
    assert shown == [("root", 0), ("middle", 1), ("leaf", 2), ("orphan", 0)]
