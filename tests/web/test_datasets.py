"""Datasets: what they are, their budgets as a tree, how they came down, and the way to entries."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.api.test_blocks import RECORDS
from tests.api.test_effects import approve, asked, open_window
from tests.api.world import World, open_root, register, reservation_body
from tests.web.visit import WAIT_MS, House, Scheme


def charge(world: World, dataset: str, root: str, blocks: Any = "all") -> None:
    """Ten units, of an outside job that ran to its end."""
    body = reservation_body(dataset, root)
    body["inputs"][0]["blocks"] = blocks
    held = world.made("/reservations", body, by="ml_engineer")
    path, fence = f"/reservations/{held['id']}", held["fence"]
    start = {"fence": fence, "part": 0, "started_units": 10}
    world.made(f"{path}/start", start, by="ml_engineer")
    world.made(f"{path}/commit", {"fence": fence}, by="ml_engineer")


@pytest.fixture(scope="module")
def tree(house: House) -> House:
    """A root that was charged and raised, with a window and a share; blocks; rows without any."""
    expect.set_options(timeout=WAIT_MS)
    world = house.world
    dataset = register(world, purpose="delays")
    root = open_root(world, dataset)
    open_window(world, root)
    share = {
        "kind": "allocation",
        "parent_id": root,
        "name": "for the team",
        "limit": {"epsilon": "0.25", "delta": "0"},
        "accountant": "pure/1",
        "holder": {"project_id": world.ids["team"]},
        "reason": "policy 12",
    }
    world.made("/budgets", share, by="compliance_officer")
    charge(world, dataset, root)
    approve(world, asked(world, root, "raise", limit={"epsilon": "2"}))
    world.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
    world.ids.update(trips=dataset, root=root)
    days = register(world, name="days", **RECORDS, closes_through=9)
    world.ids["days"], blocks = days, open_root(world, days)
    charge(world, days, blocks, {"first": 1, "last": 3})
    world.ids["new"] = register(world, name="new", granted=False)
    return house


def article(page: Page, name: str) -> Any:
    return page.get_by_role("article", name=name, exact=True)


def test_an_engineer_finds_his_share_and_what_is_left_and_changes_nothing(tree: House) -> None:
    with tree.visited("ml_engineer") as visit:
        page = visit.page
        visit.go("/datasets", "Datasets")
        expect(page.get_by_role("cell", name="new", exact=True)).to_have_count(0)  # not granted
        row = page.get_by_role("row").filter(has_text="trips")
        row.get_by_role("link", name="trips").press("Enter")
        page.get_by_role("heading", level=1, name="trips").wait_for()
        expect(article(page, "for the team")).to_contain_text("0.25 left of 0.25 at δ 0 per user")
        assert page.get_by_role("button", name="Change").count() == 0
        assert page.get_by_role("form").count() == 0
        facts = page.get_by_role("region", name="What it is")
        expect(facts).to_contain_text("one user, with all rows, told apart by trips_user")
        columns = page.get_by_role("region", name="Columns of trips")
        expect(columns.get_by_role("row", name="distance")).to_contain_text("0 to 5000")


def test_an_auditor_gets_from_what_was_spent_to_its_entry_in_two_clicks(tree: House) -> None:
    world = tree.world
    timeline = world.ask("GET", f"/budgets/{world.ids['root']}/timeline", by="auditor").json()
    with tree.visited("auditor") as visit:
        page = visit.page
        visit.go(f"/datasets/{world.ids['trips']}", "trips")
        root = article(page, "for life")
        expect(root).to_contain_text("ε 0.1 spent, 0.1 held, 1.8 left of 2 at δ 0 per user")
        drawn = page.get_by_role("img", name="What was left of the budget over time")
        expect(drawn).to_be_visible()
        figure = page.get_by_role("figure").filter(has_text="what is left")
        figure.get_by_role("button", name="As a table").click()
        rows = figure.get_by_role("row").filter(has_text="charged that day")
        told = [row.get_by_role("cell").last.inner_text() for row in rows.all()]
        assert told == [point["consumed"] for point in timeline["points"]]
        (mark,) = timeline["marks"]
        figure.get_by_role("link", name="raised").click()
        page.wait_for_url(f"**/ledger/{world.ids['root']}/{mark['seq']}")
        page.go_back()
        assert root.get_by_role("link", name="entries").get_attribute("href") == (
            f"/ledger?budget={world.ids['root']}"
        )


def test_an_officer_asks_to_raise_a_limit_by_keyboard_alone(tree: House) -> None:
    world = tree.world
    with tree.visited("compliance_officer") as visit:
        page = visit.page
        visit.go(f"/datasets/{world.ids['trips']}", "trips")
        page.get_by_role("button", name="Change for life").press("Enter")
        form = page.get_by_role("dialog")
        expect(form.get_by_label("What to do")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("3")
        form.get_by_role("textbox", name="Reason").focus()
        page.keyboard.type("a further study")
        form.get_by_role("button", name="Ask a second officer").press("Enter")
        form.get_by_role("link", name="what was asked for").press("Enter")
        page.wait_for_url("**/approvals/*")
    waits = world.ask("GET", "/approvals?state=pending&action=raise", by="second_officer").json()
    (waiting,) = waits["items"]
    assert waiting["change"]["to"]["epsilon"] == "3"


def test_an_officer_proposes_the_first_budget_of_new_rows(tree: House) -> None:
    world = tree.world
    with tree.visited("compliance_officer") as visit:
        page = visit.page
        visit.go(f"/datasets/{world.ids['new']}", "new")
        form = page.get_by_role("form", name="Propose the lifetime budget")
        form.get_by_label("Limit, ε").fill("many")
        form.get_by_role("textbox", name="Reason").fill("policy 12")
        form.get_by_role("button", name="Propose").click()
        expect(form.get_by_role("alert")).to_contain_text("/limit/epsilon")
        form.get_by_label("Limit, ε").fill("4")
        form.get_by_role("button", name="Propose").click()
        proposed = article(page, "lifetime")
        expect(proposed).to_contain_text("waits for a second person")
        proposed.get_by_role("link", name="Among the approvals").click()
        page.get_by_role("row").filter(has_text="lifetime").wait_for()


def test_blocks_are_shaded_by_what_they_used_and_told_in_a_table(tree: House) -> None:
    with tree.visited("auditor") as visit:
        page = visit.page
        visit.go(f"/datasets/{tree.world.ids['days']}", "days")
        strip = page.get_by_role("img", name="What 10 blocks have used")
        expect(strip.locator("[data-heat='a quarter']")).to_have_count(1)
        figure = page.get_by_role("figure").filter(has_text="the darker")
        figure.get_by_role("button", name="As a table").press("Enter")
        told = [row.inner_text().split() for row in figure.get_by_role("row").all()[1:]]
        assert told == [
            ["0", "2020-01-01", "closed", "0"],
            ["1", "to", "3", "2020-01-02", "closed", "0.1"],
            ["4", "to", "9", "2020-01-05", "closed", "0"],
        ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_shows_all_of_it(tree: House, scheme: Scheme) -> None:
    with tree.visited("compliance_officer", scheme=scheme, width_px=390) as visit:
        page = visit.page
        for path, heading in (
            ("/datasets", "Datasets"),
            (f"/datasets/{tree.world.ids['trips']}", "trips"),
            (f"/datasets/{tree.world.ids['days']}", "days"),
        ):
            visit.go(path, heading)
            page.get_by_role("region").first.wait_for()
            assert visit.overflow_px() == 0
            assert visit.axe() == []
        page.get_by_role("button", name="Change for life").click()
        page.get_by_role("dialog").get_by_role("textbox", name="Reason").wait_for()
        assert visit.axe() == []
