"""Approvals, the inbox and risk in a real browser: two officers, an auditor, mouse and keyboard."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from app.api.page import FOLDER
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.serving import serving
from tests.api.test_effects import approve, asked, open_window
from tests.api.test_sign_in import PASSWORD, invited
from tests.api.world import TestClient, World, build, open_root, register, reservation_body
from tests.browser import browser

# long, since a busy machine stalls; nothing here claims to be fast
WAIT_MS = 60_000
FIRST, SECOND = "compliance_officer", "second_officer"
Enter = Callable[[str], Page]


@pytest.fixture(scope="module")
def house(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two roots, a window, a share with a long name, and spend; two officers and an auditor."""
    folder = tmp_path_factory.mktemp("house")
    file = folder / "ledger.sqlite3"
    with closing(connect(migrated_sqlite)) as source, closing(connect(file)) as target:
        source.backup(target)
    settings = Settings(database_url=f"sqlite:///{file}", home=folder / "home")
    with TestClient(app_over(settings)) as client:
        world = build(client, folder)
        for name in (FIRST, SECOND, "auditor", "ml_engineer"):
            invited(world, name)
        dataset = register(world)
        root = world.ids["root"] = open_root(world, dataset)
        world.ids["other root"] = open_root(world, register(world, name="a" * 50))
        world.ids["window"] = open_window(world, root)
        world.ids["share"] = world.made(
            "/budgets",
            {
                "kind": "allocation",
                "parent_id": root,
                "name": "the study of delays in winter, with a name that nobody would choose",
                "limit": {"epsilon": "0.5", "delta": "0"},
                "accountant": "pure/1",
                "holder": {"project_id": world.ids["team"]},
                "reason": "a study",
            },
            by=FIRST,
        )["id"]
        world.made("/reservations", reservation_body(dataset, root), by="ml_engineer")
        yield world


@pytest.fixture(scope="module")
def contexts(house: World) -> Iterator[Callable[[str], BrowserContext]]:
    """A browser for each person, in which that person is signed in."""
    path = browser()
    if not (FOLDER / "index.html").is_file():
        pytest.fail("the page is not built: python3 dev.py test builds it")
    found: dict[str, BrowserContext] = {}
    with serving(house) as url, sync_playwright() as playwright:
        chromium: Browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--no-proxy-server"]
        )

        def context_of(name: str) -> BrowserContext:
            if name not in found:
                made = chromium.new_context(base_url=url.replace("127.0.0.1", "localhost"))
                made.set_default_timeout(WAIT_MS)
                page = made.new_page()
                page.goto("/sign-in")
                page.locator("[name=name]").fill(name)
                page.locator("[name=password]").fill(PASSWORD)
                page.get_by_role("button", name="Sign in").click()
                page.get_by_role("navigation", name="Pages").wait_for()
                page.close()
                found[name] = made
            return found[name]

        yield context_of
        for each in found.values():
            each.close()
        chromium.close()


@pytest.fixture
def enter(contexts: Callable[[str], BrowserContext]) -> Iterator[Enter]:
    """A page of somebody who is signed in; what the console calls an error fails the test."""
    expect.set_options(timeout=WAIT_MS)
    errors: list[str] = []
    pages: list[Page] = []

    def open_page(name: str) -> Page:
        page = contexts(name).new_page()
        page.set_viewport_size({"width": 1440, "height": 900})
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []


def limit(world: World, budget: str) -> str:
    epsilon: str = world.ask("GET", f"/budgets/{budget}", by=FIRST).json()["limit"]["epsilon"]
    return epsilon


def test_a_proposal_appears_at_the_second_officer_who_approves_it_by_mouse(
    house: World, enter: Enter
) -> None:
    second = enter(SECOND)
    second.goto("/approvals")
    expect(second.get_by_text("Nothing waits for your decision.")).to_be_visible()
    approval = asked(house, house.ids["other root"], "raise", limit={"epsilon": "2"})
    first = enter(FIRST)
    first.goto(f"/approvals/{approval}")
    expect(first.get_by_text("Nobody approves their own change")).to_be_visible()
    expect(first.get_by_role("button", name="Approve")).to_have_count(0)
    # no reload: it comes by itself
    waiting = second.get_by_role("region", name="Waiting for you")
    waiting.get_by_role("link", name="Raise a limit").click()
    change = second.get_by_role("row", name="limit ε")
    expect(change.locator("del")).to_have_text("1")
    expect(change.locator("ins")).to_have_text("2")
    lifetime = second.get_by_role("region", name="Lifetime").get_by_role("row", name="Left")
    expect(lifetime.get_by_role("cell")).to_have_text(["ε 1", "ε 2"])
    second.get_by_label("Reason").fill("the study goes on")
    second.get_by_role("button", name="Approve").click()
    decided = second.get_by_role("region", name="Decision")
    expect(decided.get_by_text("approved this")).to_be_visible()
    assert limit(house, house.ids["other root"]) == "2"
    theirs = first.get_by_role("region", name="Decision")
    expect(theirs.get_by_text("Reason: the study goes on")).to_be_visible()


def test_a_change_is_rejected_by_keyboard_alone(house: World, enter: Enter) -> None:
    approval = asked(house, house.ids["window"], "raise", limit={"epsilon": "0.9"})
    page = enter(SECOND)
    page.goto("/approvals")
    link = page.locator(f"a[href='/approvals/{approval}']")
    link.focus()
    page.keyboard.press("Enter")
    page.get_by_label("Reason").focus()
    page.keyboard.type("the month is nearly over")
    for button in ("Approve", "Reject"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=button)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("rejected this")).to_be_visible()
    assert limit(house, house.ids["window"]) == "0.5"


def test_a_budget_that_moved_meanwhile_is_said_in_words_and_nothing_is_decided(
    house: World, contexts: Callable[[str], BrowserContext]
) -> None:
    root = house.ids["other root"]
    approval = asked(house, root, "raise", limit={"epsilon": "3"})
    # a refusal is what the console calls an error
    page = contexts(SECOND).new_page()
    page.goto(f"/approvals/{approval}")
    page.get_by_label("Reason").fill("agreed")
    page.get_by_role("region", name="Lifetime").wait_for()
    tag = house.ask("GET", f"/budgets/{root}", by=FIRST).headers["ETag"]
    rates = {"action": "limit_rate", "rate_limits": {"jobs_per_hour": 100}, "reason": "a flood"}
    moved = house.ask(
        "POST", f"/budgets/{root}/changes", rates, by=FIRST, headers={"If-Match": tag}
    )
    assert moved.is_success, moved.text
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("has changed while you read it")).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_role("button", name="Approve")).to_have_count(0, timeout=WAIT_MS)
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("rejected this")).to_be_visible(timeout=WAIT_MS)
    page.close()
    assert limit(house, root) != "3"


def test_a_question_and_its_answer_stand_under_the_change(house: World, enter: Enter) -> None:
    approval = asked(house, house.ids["window"], "raise", limit={"epsilon": "0.6"})
    page = enter(SECOND)
    page.goto(f"/approvals/{approval}")
    page.get_by_role("textbox", name="Comment").fill("For whom is it?")
    page.get_by_role("textbox", name="Comment").press("Tab")
    page.keyboard.press("Enter")
    said = page.get_by_role("region", name="Comments")
    expect(said.get_by_text("For whom is it?", exact=True)).to_be_visible()
    expect(page.get_by_role("textbox", name="Comment")).to_have_value("")


def test_risk_is_told_at_three_levels(house: World, enter: Enter) -> None:
    page = enter("auditor")
    page.goto(f"/risk?budget={house.ids['root']}")
    statement = page.get_by_role("region", name="Statement")
    written_for = page.get_by_role("radiogroup", name="Written for")
    expect(written_for.get_by_role("radio", name="Auditor")).to_be_checked()
    shown = {}
    for audience, level in (("Auditor", "auditor"), ("Officer", "officer"), ("Person", "subject")):
        written_for.get_by_text(audience).click()
        path = f"/budgets/{house.ids['root']}/statement?audience={level}"
        shown[level] = house.ask("GET", path, by="auditor").json()["text"]
        for paragraph in shown[level]:
            expect(statement.get_by_text(paragraph, exact=True)).to_be_visible()
    assert shown["subject"] != shown["officer"] != shown["auditor"]


def test_the_slider_moves_by_keyboard_through_figures_of_the_service(
    house: World, enter: Enter
) -> None:
    steps = house.ask("GET", f"/budgets/{house.ids['root']}/risk", by="auditor").json()["steps"]
    at = next(n for n, step in enumerate(steps) if "consumed" in step["marks"])
    page = enter("auditor")
    page.goto(f"/risk?budget={house.ids['root']}")
    slider = page.get_by_role("slider")
    guess = page.get_by_role("row", name="A guess about a coin toss")
    slider.focus()
    for key, to in (("ArrowRight", at + 1), ("ArrowLeft", at), ("ArrowLeft", at - 1)):
        page.keyboard.press(key)
        expect(slider).to_have_attribute("aria-valuenow", str(to))
        best = steps[to]["risk"]["best_guess_per_100"]
        expect(guess).to_contain_text(f"at most {best} times in 100")
    page.keyboard.press("End")
    expect(guess).to_contain_text("nearly always")
    people = page.get_by_role("figure").filter(has_text="100 guesses about one person")
    assert "up to 50 more" in str(people.get_by_role("img").get_attribute("aria-label"))
    people.get_by_role("button", name="As a table").press("Enter")
    expect(people.get_by_role("row", name="Wrong")).to_contain_text("0")


def test_a_share_stands_beside_its_lifetime_and_others_only_like_with_like(
    house: World, enter: Enter
) -> None:
    page = enter(FIRST)
    page.goto(f"/risk?budget={house.ids['share']}")
    expect(page.get_by_role("region", name="for life")).to_contain_text("never renews")
    others = page.get_by_role("region", name="Beside others")
    why = others.get_by_text("Not comparable, and why")
    why.press("Enter")
    expect(others.get_by_text("it protects another unit").first).to_be_visible()


def test_a_line_of_the_inbox_is_marked_as_read_and_leads_to_the_change(
    house: World, enter: Enter
) -> None:
    approval = asked(house, house.ids["window"], "raise", limit={"epsilon": "0.7"})
    page = enter(SECOND)
    page.goto("/inbox")
    line = page.get_by_role("listitem").filter(has=page.locator(f"a[href='/approvals/{approval}']"))
    line.get_by_role("button", name="Mark as read").press("Enter")
    expect(line.get_by_text("unread")).to_have_count(0)
    line.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Raise a limit: trips / by month")).to_be_visible()
    unread = house.ask("GET", "/notifications?unread=true", by="auditor").json()["items"]
    assert approval not in [each["subject"] for each in unread]


def test_one_officer_stops_everything_loudly_and_two_let_it_go_on(
    house: World, enter: Enter
) -> None:
    page = enter(FIRST)
    page.goto("/approvals")
    page.get_by_role("button", name="Emergency: stop everything").press("Enter")
    dialog = page.get_by_role("dialog")
    freeze = dialog.get_by_role("button", name="Freeze everything")
    dialog.get_by_label("Reason").fill("a key was stolen")
    expect(freeze).to_be_disabled()
    dialog.get_by_role("checkbox").press("Space")
    freeze.press("Enter")
    alarm = page.get_by_role("region", name="Emergency")
    expect(alarm).to_contain_text("2 budgets are frozen")
    alarm.get_by_role("button", name="Ask to thaw trips").press("Enter")
    expect(alarm.get_by_text("Asked: another officer decides.")).to_be_visible()
    waits = house.ask("GET", "/approvals?state=pending&action=thaw", by=SECOND).json()["items"]
    assert [each["budget_id"] for each in waits] == [house.ids["root"]]
    approve(house, waits[0]["id"])
    page.reload()
    expect(alarm).to_contain_text("one budget is frozen")
