"""An officer sees what is in danger, why, and what waits."""

import pytest

from tests.api.world import budget_body, open_root, register, reservation_body
from tests.web.visit import House


@pytest.fixture(scope="module")
def busy(house: House) -> House:
    """One budget nearly used up, one hardly touched, one proposal that waits."""
    world = house.world
    for name, units in (("trips", 90), ("visits_with_a_rather_long_name_of_their_own", 10)):
        dataset = register(world, name=name)
        root = open_root(world, dataset)
        body = reservation_body(dataset, root, max_units=units)
        world.made("/reservations", body, by="ml_engineer")
    waiting = register(world, name="waiting")
    world.made("/budgets", budget_body(waiting), by="compliance_officer")
    return house


def test_an_officer_finds_the_budget_in_danger_first_and_what_waits_for_her(busy: House) -> None:
    with busy.visited("second_officer") as visit:
        page = visit.page
        cards = page.get_by_role("article")
        cards.nth(1).wait_for()
        assert "trips: for life" in cards.nth(0).inner_text()
        assert "Nearly used up" in cards.nth(0).inner_text()
        assert "0.1 left of 1" in cards.nth(0).inner_text()
        assert "per user" in cards.nth(0).inner_text()
        assert "visits_with_a_rather_long_name" in cards.nth(1).inner_text()
        page.get_by_text("asked by compliance_officer").wait_for()
        page.get_by_text("Recomputed just now").wait_for()
        assert page.title() == "Overview · Epsilon Ledger"


def test_the_keyboard_alone_signs_in_and_reaches_the_proposal(busy: House) -> None:
    with busy.visited(None) as visit:
        page = visit.page
        page.goto(f"{busy.address}/approvals")
        page.get_by_role("textbox", name="Name").focus()
        page.keyboard.type("second_officer")
        page.keyboard.press("Tab")
        page.keyboard.type("correct horse battery")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Overview").wait_for()
        assert page.url.endswith("/approvals")  # back to where the way led
        page.get_by_role("link", name="Overview").focus()
        page.keyboard.press("Enter")
        link = page.get_by_role("link", name="open for life")
        link.wait_for()
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").startswith("open for life"):
                break
        page.keyboard.press("Enter")
        page.wait_for_url("**/approvals/*")


def test_who_gives_a_wrong_password_is_told_so_in_words(house: House) -> None:
    with house.visited(None) as visit:
        page = visit.page
        page.goto(f"{house.address}/sign-in")
        page.get_by_role("textbox", name="Name").fill("auditor")
        page.get_by_role("textbox", name="Password").fill("no such password")
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_text("The name or the password is not right.").wait_for()
