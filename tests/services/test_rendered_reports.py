"""Reports of real ledgers: they meet the schema, and every form of them can be set and read."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.domain.ledger import canonical_bytes
from app.reporting.rendering import to_html, to_pdf
from app.reporting.report import build
from app.reporting.schema import report_schema
from tests.divided import spend
from tests.planned import open_plan
from tests.reported import GAUSSIAN, gathered, settle, signed_by
from tests.reporting.rendering.pdf_pages import overlapping, text_boxes
from tests.world import World


def require_readable(report: dict[str, Any]) -> str:
    """Check a report in its three forms; gives the page."""
    stored = json.loads(canonical_bytes(report))
    validator = jsonschema_rs.Draft202012Validator(report_schema(), validate_formats=True)
    assert [f"{each.instance_path}: {each.message}" for each in validator.iter_errors(stored)] == []
    page = to_html(stored)
    assert page == to_html(report)
    for (width, height), boxes in text_boxes(to_pdf(stored)):
        assert all(40 <= box.left <= box.right <= width - 40 for box in boxes)
        assert all(40 <= box.bottom <= box.top <= height - 40 for box in boxes)
        assert overlapping(boxes, 0.5) == []
    return page.decode("utf-8")


def test_jobs_outside_runs_and_work_under_way_can_be_read(world: World, tmp_path: Path) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    team = world.open_allocation(root, "2", accountant="rdp-mix/1", delta="1e-7")
    settle(world, world.submit(team)["id"])
    world.reserve(team, GAUSSIAN, 5)
    signed_by(world, tmp_path).make()
    report = build(gathered(world))
    page = require_readable(report)
    assert report["guarantee"]["lifetime"]["consumed"]["epsilon"] in page
    assert "is not the one computed here" not in page


@pytest.mark.parametrize(("accountant", "delta"), [("pure/1", "0"), ("basic/1", "1e-6")])
def test_budgets_that_only_sum_can_be_read(
    world: World, tmp_path: Path, accountant: str, delta: str
) -> None:
    root = world.open_root(accountant, "4", delta)
    settle(world, world.submit(root)["id"])
    signed_by(world, tmp_path).make()
    require_readable(build(gathered(world)))


def test_a_root_without_any_work_can_be_read(world: World, tmp_path: Path) -> None:
    world.open_root("gdp/1", "4", "1e-6")
    signed_by(world, tmp_path).make()
    page = require_readable(build(gathered(world)))
    assert "Nothing was run." in page


def test_blocks_and_a_plan_can_be_read_and_their_figures_stand_apart(
    days: World, tmp_path: Path
) -> None:
    root = days.open_root("rdp-mix/1", "4", "1e-6")
    open_plan(days, root)
    spend(days, root, 3, ((0, 2),))
    spend(days, root, 1, ((1, 1),))
    signed_by(days, tmp_path).make()
    report = build(gathered(days))
    page = require_readable(report)
    assert "each has the whole limit" in page
    (plan,) = report["guarantee"]["if_fixed_in_advance"]["plans"]
    assert plan["if_fixed_in_advance"]["epsilon"] in page.split("If fixed in advance</h3>")[1]
