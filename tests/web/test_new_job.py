"""A new job in a real browser: written by a form, priced as one types, sent once."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.api.test_sign_in import PASSWORD
from tests.api.training import training_house
from tests.api.world import World, open_root, register, reservation_body
from tests.web.visit import WAIT_MS, House, Scheme

A_JOB = re.compile(r"/jobs/[0-9a-f-]{36}$")
COLUMNS = [
    {"name": "month", "type": "int64", "domain": [1, 2, 3], "domain_source": "public"},
    {"name": "destination", "type": "string", "keys": "private"},
    {"name": "distance", "type": "int64", "bounds": {"low": "0", "high": "5000"}, "grid": "1"},
]
CAPS = {"max_groups_per_user": 3, "max_rows_per_user_group": 10}


@pytest.fixture(scope="module", autouse=True)
def _patience() -> None:
    expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def asked(house: House) -> House:
    """Three tables of users and one of records, each with an open root."""
    world = house.world
    for name, epsilon in (("trips", "4"), ("visits", "1"), ("stays", "1")):
        user = f"{name}_user"
        dataset = register(
            world,
            name=name,
            columns=[{"name": user, "type": "string"}, *COLUMNS],
            unit_of_privacy={"kind": "user", "column": user, **CAPS},
        )
        world.ids[name] = dataset
        world.ids[f"{name} root"] = open_root(world, dataset, epsilon=epsilon)
    world.ids["staff"] = training_house(world)["dataset_id"]
    return house


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until something has the focus."""
    for _ in range(80):
        if target.evaluate("it => it === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail("the Tab key does not lead there")


def lose(route: Route) -> None:
    """Let a request be done, and its answer be lost."""
    route.fetch()
    route.abort()


def sent_job(world: World, page: Page) -> dict[str, Any]:
    """The job whose page this is, as the service has it."""
    page.wait_for_url(A_JOB)
    job: dict[str, Any] = world.ask("GET", f"/jobs/{page.url.rsplit('/', 1)[1]}").json()
    return job


def test_a_query_is_written_by_its_form_priced_as_one_types_and_sent_by_mouse(
    asked: House,
) -> None:
    with asked.visited("ml_engineer") as visit:
        page = visit.page
        visit.go("/jobs/new", "New job")
        page.get_by_label("Dataset").select_option("trips")
        quote = page.get_by_role("region", name="Quote")
        status = quote.get_by_role("status")
        expect(status).to_have_text("A quote needs ε per user.")
        page.get_by_role("textbox", name="ε per user").fill("0.5")
        expect(status).to_have_text("It fits now: ε 0.5 at δ 0 per user.")
        page.get_by_role("button", name="Add a group").click()
        page.get_by_label("Group by").select_option("month")
        page.get_by_role("button", name="Add a figure").click()
        second = page.get_by_role("group", name="Figure 2")
        second.get_by_label("Figure", exact=True).select_option("Sum")
        second.get_by_label("Of").select_option("distance")
        second.get_by_label("To").fill("900")
        page.get_by_role("button", name="Add a condition").click()
        page.get_by_label("Column").select_option("destination")
        page.get_by_label("Value").fill("it's here")
        sql = page.get_by_role("textbox", name="SQL")
        expect(sql).to_have_value(
            "SELECT month, COUNT(*), SUM(CLAMP(distance, 0, 900))\nFROM trips\n"
            "WHERE destination = 'it''s here'\nGROUP BY month"
        )
        errors = quote.get_by_role("region", name="How far off each figure is")
        expect(errors.get_by_role("row", name="sum(distance)")).to_contain_text("±")
        expect(quote.get_by_text("All 3 groups are shown")).to_be_visible()
        row = quote.get_by_role("row", name="for life (lifetime)")
        expect(row.get_by_role("cell")).to_have_text(["ε 0.5, δ 0", "ε 4, δ 0", "ε 3.5, δ 0"])
        page.get_by_role("button", name="Send the query").click()
        expect(page.get_by_role("alert")).to_contain_text("a purpose")
        purpose = page.get_by_role("textbox", name="Purpose")
        expect(purpose).to_be_focused()
        purpose.fill("delays by month")
        page.get_by_role("button", name="Send the query").click()
        job = sent_job(asked.world, page)
        assert (job["kind"], job["purpose"]) == ("query", "delays by month")
        assert job["spec"]["where"] == [["destination", "=", "it's here"]]
        assert [each["fn"] for each in job["spec"]["measures"]] == ["count", "sum"]

        # the same once more, with less: the form is filled in like it
        visit.go(f"/jobs/new?like={job['id']}&epsilon=0.25", "New job")
        expect(page.get_by_role("textbox", name="ε per user")).to_have_value("0.25")
        expect(page.get_by_label("Value")).to_have_value("it's here")
        expect(status).to_have_text("It fits now: ε 0.25 at δ 0 per user.")


def test_the_keyboard_alone_writes_sql_hears_why_it_is_refused_and_sends(asked: House) -> None:
    with asked.visited("ml_engineer") as visit:
        page = visit.page
        visit.go(f"/jobs/new?dataset={asked.world.ids['visits']}", "New job")
        epsilon = page.get_by_role("textbox", name="ε per user")
        epsilon.wait_for()
        page.get_by_label("Project").focus()
        tab_to(page, page.get_by_role("tab", name="Query"))
        tab_to(page, epsilon)
        page.keyboard.type("0.1")
        sql = page.get_by_role("textbox", name="SQL")
        tab_to(page, sql)
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type("SELECT MAX(distance) FROM visits")
        expect(page.get_by_text("the form no longer follows")).to_be_visible()
        expect(page.get_by_label("Figure", exact=True)).to_be_disabled()
        expect(page.get_by_role("region", name="Quote").get_by_role("status")).to_have_text(
            "This has no price."
        )
        expect(sql).to_have_attribute("aria-invalid", "true")
        # a refusal takes nothing away
        expect(sql).to_have_value("SELECT MAX(distance) FROM visits")
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type("SELECT COUNT(*), MEDIAN(distance) FROM visits")
        fits = page.get_by_text("It fits now")
        expect(fits).to_be_visible()
        tab_to(page, page.get_by_role("textbox", name="Purpose"))
        page.keyboard.type("a median")
        send = page.get_by_role("button", name="Send the query")
        tab_to(page, send)
        # the first answer is lost on its way: sent again, it is the same job and charged once
        page.route("**/v1/jobs", lose, times=1)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        tab_to(page, send)
        page.keyboard.press("Enter")
        job = sent_job(asked.world, page)
        jobs = asked.world.ask("GET", "/jobs?mine=true").json()["items"]
        assert [each["purpose"] for each in jobs].count("a median") == 1
        assert [each["fn"] for each in job["spec"]["measures"]] == ["count", "quantile"]


def test_a_refused_quote_says_what_would_fit_and_that_is_sent(asked: House) -> None:
    world = asked.world
    with asked.visited("ml_engineer") as visit:
        page = visit.page
        visit.go(f"/jobs/new?dataset={world.ids['stays']}", "New job")
        epsilon = page.get_by_role("textbox", name="ε per user")
        page.get_by_role("textbox", name="Purpose").fill("how many stay")
        # a session that ends meanwhile takes nothing of it away
        page.context.clear_cookies()
        epsilon.fill("3")
        page.get_by_role("textbox", name="Name").fill("ml_engineer")
        page.get_by_role("textbox", name="Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_text("What you typed before is still here.")).to_be_visible()
        refusal = page.get_by_role("region", name="It does not fit now")
        expect(refusal).to_contain_text(
            "for life: asks ε 3 at δ 0 per user, and ε 1 at δ 0 per user is left"
        )
        refusal.get_by_role("button", name="Ask for more").click()
        limit = refusal.get_by_role("textbox", name="New limit of “for life”")
        expect(limit).to_have_value("3")
        expect(limit).to_be_focused()
        refusal.get_by_role("button", name="Send the request").click()
        expect(refusal.get_by_role("link", name="The request")).to_be_visible()
        waits = world.ask("GET", "/approvals?state=pending", by="auditor").json()["items"]
        assert [each["change"]["to"]["epsilon"] for each in waits] == ["3"]

        refusal.get_by_role("button", name="Take what fits: a target of ε 1, δ 0").click()
        expect(epsilon).to_have_value("1")
        send = page.get_by_role("button", name="Send the query")
        expect(send).to_be_focused()
        expect(page.get_by_text("It fits now: ε 1 at δ 0 per user.")).to_be_visible()

        # somebody else is faster: refused as it is sent, and nothing that was typed is lost
        body = reservation_body(world.ids["stays"], world.ids["stays root"], max_units=40)
        world.made("/reservations", body, by="ml_engineer")
        page.keyboard.press("Enter")
        late = page.get_by_role("button", name="Take what fits: a target of ε 0.6, δ 0")
        expect(late.first).to_be_visible()
        expect(page.get_by_role("textbox", name="Purpose")).to_have_value("how many stay")
        late.first.click()
        send.click()
        assert sent_job(world, page)["spec"]["privacy"]["epsilon"] == "0.6"


def test_a_training_run_is_calibrated_from_epsilon_and_sent(asked: House) -> None:
    with asked.visited("ml_engineer") as visit:
        page = visit.page
        visit.go(f"/jobs/new?dataset={asked.world.ids['staff']}&kind=train", "New job")
        page.get_by_label("Model").select_option("mlp")
        page.get_by_role("textbox", name="Widths of the hidden layers").fill("8, x")
        page.get_by_role("combobox", name="Label", exact=True).select_option("stays")
        page.get_by_role("checkbox", name="age", exact=True).check()
        page.get_by_role("checkbox", name="wage").check()
        page.get_by_role("textbox", name="Steps", exact=True).fill("20")
        page.get_by_role("textbox", name="Sampling rate").fill("0.1")
        expect(page.get_by_text("About 100 of 1000 records a step")).to_be_visible()
        page.get_by_role("textbox", name="Target ε per record").fill("2")
        page.get_by_role("textbox", name="at δ").fill("1e-6")
        widths = page.get_by_role("textbox", name="Widths of the hidden layers")
        expect(widths).to_have_attribute("aria-invalid", "true")
        widths.fill("8, 4")
        solved = page.get_by_text(re.compile(r"takes a noise multiplier of \d"))
        expect(solved).to_be_visible()
        row = page.get_by_role("row", name="for life (lifetime)")
        expect(row.get_by_role("cell").first).to_have_text(re.compile(r"^ε 2\.\d+, δ 1e-6$"))
        page.get_by_role("button", name="Keep this noise").click()
        noise = page.get_by_role("textbox", name="Noise multiplier")
        kept = noise.input_value()
        expect(page.get_by_text("It fits now")).to_be_visible()
        page.get_by_role("textbox", name="Purpose").fill("who stays")
        page.get_by_role("button", name="Send the training run").click()
        job = sent_job(asked.world, page)
        assert job["spec"]["noise"] == {"noise_multiplier": kept}
        assert job["spec"]["model"] == {"name": "mlp", "hidden": [8, 4], "classes": 2}

        visit.go(f"/jobs/new?like={job['id']}&steps=5", "New job")
        expect(page.get_by_role("textbox", name="Steps", exact=True)).to_have_value("5")
        expect(page.get_by_role("checkbox", name="wage")).to_be_checked()
        expect(page.get_by_text("It fits now")).to_be_visible()


def test_axe_finds_nothing_on_either_tab_and_nothing_is_wider_than_a_phone(asked: House) -> None:
    with asked.visited("ml_engineer") as visit:
        page = visit.page
        visit.go(f"/jobs/new?dataset={asked.world.ids['visits']}", "New job")
        page.get_by_role("button", name="Add a group").click()
        page.get_by_label("Group by").select_option("month")
        page.get_by_role("textbox", name="ε per user").fill("9")
        page.get_by_role("button", name="Ask for more").click()
        assert visit.axe() == []
        in_scheme(page, "dark")
        assert visit.axe() == []
        page.set_viewport_size({"width": 390, "height": 844})
        assert visit.overflow_px() == 0
        page.get_by_role("tab", name="Training run").click()
        page.get_by_label("Model").select_option("transformer_lm")
        page.get_by_text("Canaries, evaluation and the machine").click()
        assert visit.overflow_px() == 0
        page.set_viewport_size({"width": 1440, "height": 900})
        assert visit.axe() == []
        in_scheme(page, "light")
        assert visit.axe() == []


def in_scheme(page: Page, scheme: Scheme) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
