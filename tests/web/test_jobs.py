"""Jobs in a real browser: followed as they run, read when they have ended, asked once more."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Locator, Page, expect

from app.services.witness import WitnessJournal
from app.settings import Settings
from tests.api.training import COLUMNS
from tests.api.world import World, open_root, register, reservation_body
from tests.patience import PATIENCE_S
from tests.training_document import training_document
from tests.web.visit import WAIT_MS, House, Scheme
from workers.context import Context
from workers.engines.api import Engine, JobLedger, Outcome, Plan, Work
from workers.running import engine_of, run_job

SQL = "SELECT stays, COUNT(*), AVG(age), HISTOGRAM(age, 4) FROM staff GROUP BY stays"
STEPS, CHUNK = 40, 10
Document = dict[str, Any]


@dataclass
class Paced:
    """The real engine and the real ledger; after each line of progress it waits to be let on."""

    engine: Engine
    lines: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def prepare(self, work: Work) -> Plan:
        return PacedPlan(self.engine.prepare(work), self)


@dataclass
class PacedPlan:
    plan: Plan
    paced: Paced

    def run(self, ledger: JobLedger) -> Outcome:
        return self.plan.run(PacedLedger(ledger, self.paced))


@dataclass
class PacedLedger:
    ledger: JobLedger
    paced: Paced

    def start(self, part: int, started_units: int) -> None:
        self.ledger.start(part, started_units)

    def progress(self, fields: Mapping[str, Any]) -> None:
        self.ledger.progress(fields)
        assert self.paced.lines.acquire(timeout=PATIENCE_S)


@dataclass
class Jobs:
    """A house with a dataset, what engineers asked of it, and a worker that runs what it is told.

    inputs: of the dataset, by the share of the team below the root.
    """

    house: House
    inputs: Document
    journal: WitnessJournal

    @property
    def world(self) -> World:
        return self.house.world

    def query(self, purpose: str, *, sql: str = SQL) -> str:
        privacy = {"epsilon": "1", "delta": "1e-9", "noise": "auto"}
        return self._asked("query", {"sql": sql, "privacy": privacy}, purpose)

    def training(self, purpose: str) -> str:
        spec = training_document(
            ["age", "wage"],
            "stays",
            sampling={"kind": "poisson", "rate": "0.1"},
            steps=STEPS,
            chunk_steps=CHUNK,
            audit={"canaries": 1000, "delta": "1e-5"},
        )
        return self._asked("train", spec, purpose)

    def _asked(self, kind: str, spec: Document, purpose: str) -> str:
        body = {"kind": kind, "inputs": [self.inputs], "spec": spec, "purpose": purpose}
        made: str = self.world.made("/jobs", {**body, "reuse": False}, by="ml_engineer")["id"]
        return made

    def run(self, job_id: str, paced: Paced | None = None) -> None:
        services = self.world.client.app.state.services  # type: ignore[attr-defined]
        home = services.jobs.home
        settings = Settings(database_url="sqlite://", home=home)
        context = Context(settings, services.make_session, "w", self.journal)
        engines = engine_of if paced is None else lambda _kind: paced
        run_job(context, UUID(job_id), engines=engines)

    @contextmanager
    def running(self, job_id: str) -> Iterator[Paced]:
        """The job in a thread of its own, held after each line of its progress."""
        paced = Paced(engine_of("train"))
        thread = threading.Thread(target=self.run, args=(job_id, paced))
        thread.start()
        try:
            yield paced
        finally:
            paced.lines.release(STEPS)
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def state(self, job_id: str) -> str:
        found: str = self.world.ask("GET", f"/jobs/{job_id}").json()["state"]
        return found


@pytest.fixture(scope="module")
def jobs(house: House) -> Iterator[Jobs]:
    """A dataset of 300 records, its root, and the team's share of that."""
    expect.set_options(timeout=WAIT_MS)
    world = house.world
    rows = "".join(f"{20 + n % 50},{1000 + 10 * n},{str(n % 3 == 0).lower()}\n" for n in range(300))
    (world.folder / "staff.csv").write_text("age,wage,stays\n" + rows, encoding="utf-8")
    dataset = register(
        world,
        name="staff",
        columns=COLUMNS,
        unit_of_privacy={"kind": "record"},
        source={"connection": "files", "path": "staff.csv", "format": "csv"},
    )
    limit = {"epsilon": "30", "delta": "1e-6"}
    root = open_root(world, dataset, accountant="rdp-mix/1", limit=limit)
    share = {
        "kind": "allocation",
        "parent_id": root,
        "name": "retention team",
        "limit": limit,
        "accountant": "rdp-mix/1",
        "holder": {"project_id": world.ids["team"]},
        "reason": "the study",
    }
    leaf = world.made("/budgets", share, by="compliance_officer")["id"]
    inputs = {"dataset_id": dataset, "version": 1, "budget_id": leaf, "blocks": "all"}
    journal = WitnessJournal(world.folder.parent / "witness")
    yield Jobs(house, inputs, journal)
    journal.close()


@pytest.fixture(scope="module")
def counted(jobs: Jobs) -> str:
    """A query that has its answer."""
    job_id = jobs.query("how many stay")
    jobs.run(job_id)
    assert jobs.state(job_id) == "settled"
    return job_id


@pytest.fixture(scope="module")
def stopped(jobs: Jobs) -> str:
    """A job whose budget was frozen between its admission and its start."""
    world = jobs.world
    dataset = register(world, name="visits")
    root = open_root(world, dataset)
    body = {
        "kind": "query",
        "inputs": reservation_body(dataset, root)["inputs"],
        "spec": {"sql": "SELECT COUNT(*) FROM visits", "privacy": privacy("0.6")},
        "purpose": "visits in winter",
    }
    job_id: str = world.made("/jobs", body, by="ml_engineer")["id"]
    change(world, root, {"action": "freeze", "reason": "a question came up"})
    jobs.run(job_id)
    assert jobs.state(job_id) == "failed"
    return job_id


@pytest.fixture(scope="module")
def outgrown(jobs: Jobs) -> str:
    """A job that was cancelled, and whose budget was then used by something else."""
    world = jobs.world
    dataset = register(world, name="trips")
    root = open_root(world, dataset)
    body = {
        "kind": "query",
        "inputs": reservation_body(dataset, root)["inputs"],
        "spec": {"sql": "SELECT COUNT(*) FROM trips", "privacy": privacy("0.6")},
        "purpose": "trips in spring",
    }
    job_id: str = world.made("/jobs", body, by="ml_engineer")["id"]
    world.made(f"/jobs/{job_id}/cancel", None, by="ml_engineer")
    world.made("/reservations", reservation_body(dataset, root, max_units=70), by="ml_engineer")
    return job_id


def privacy(epsilon: str) -> Document:
    return {"epsilon": epsilon, "delta": "0", "noise": "discrete_laplace"}


def change(world: World, budget: str, body: Document) -> None:
    tag = world.ask("GET", f"/budgets/{budget}", by="auditor").headers["ETag"]
    headers = {"If-Match": tag}
    done = world.ask(
        "POST", f"/budgets/{budget}/changes", body, by="compliance_officer", headers=headers
    )
    assert done.is_success, done.text


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def test_a_training_is_found_and_followed_by_mouse_until_its_model_is_there(jobs: Jobs) -> None:
    job_id = jobs.training("who will stay")
    with jobs.house.visited("ml_engineer") as visit:
        page = visit.page
        page.get_by_role("link", name="Jobs", exact=True).click()
        row = page.get_by_role("row", name="who will stay")
        expect(row.get_by_text("waiting")).to_be_visible()
        expect(row.get_by_role("link", name="δ 1e-6 per record held")).to_be_visible()
        row.get_by_role("link", name="who will stay").click()
        progress = section(page, "Progress")
        expect(progress.get_by_text("It waits for a worker. Nothing is spent yet.")).to_be_visible()
        expect(progress.get_by_text("News comes by itself.")).to_be_visible()
        shown = []
        with jobs.running(job_id) as paced:
            for step in range(CHUNK, STEPS, CHUNK):
                line = progress.get_by_text(f"step {step} of {STEPS}; ε").first
                expect(line).to_contain_text(", δ 1e-6 per record so far")
                shown.append(line.inner_text())
                bar = progress.get_by_role("progressbar")
                expect(bar).to_have_attribute("aria-valuenow", str(100 * step // STEPS))
                if step == STEPS - CHUNK:
                    expect(progress.get_by_text("about")).to_contain_text("left")
                    spoken = progress.locator("[aria-live=polite]").last
                    expect(spoken).to_contain_text(f"75%: step {step} of {STEPS}; ε")
                paced.lines.release()
            paced.lines.release()
            # no reload: the end and what was released come by themselves
            expect(section(page, "Audit by 1000 canaries: Consistent")).to_be_visible()
        assert len(set(shown)) == STEPS // CHUNK - 1
        facts = section(page, "The released model")
        expect(facts.get_by_role("row", name="Steps that shaped it")).to_contain_text("40 of 40")
        expect(facts.get_by_role("row", name="If fixed in advance")).to_contain_text("per record")
        page.get_by_role("button", name="Show the model card").click()
        card = section(page, "Model card")
        expect(card.get_by_role("heading", name="Limits")).to_be_visible()
        expect(card.get_by_text("assumes ideal Gaussian noise")).to_be_visible()
        with page.expect_download() as download:
            section(page, "Downloads").get_by_role("link", name="model.safetensors").click()
        assert download.value.path().stat().st_size > 0
        assert visit.axe() == []


def test_an_answer_is_read_by_keyboard_and_leads_to_its_entry_in_the_ledger(
    jobs: Jobs, counted: str
) -> None:
    with jobs.house.visited("ml_engineer") as visit:
        page = visit.page
        visit.go("/jobs", "Jobs")
        page.get_by_role("link", name="how many stay").focus()
        page.keyboard.press("Enter")
        values = section(page, "Released values").get_by_role("table")
        expect(values.get_by_role("row")).to_have_count(3)
        stays = values.get_by_role("row", name="true").get_by_role("cell").all_inner_texts()
        released = jobs.world.ask("GET", f"/jobs/{counted}/result").json()["rows"][1]["cells"]
        assert stays[1] == f"{released[0]['value']:,}"
        assert stays[2] == f"± {float(released[0]['half_width_95']):g}"
        figure = page.get_by_role("figure")
        expect(figure.get_by_role("img").first).to_have_attribute(
            "aria-label", "count: 2 values with their intervals"
        )
        expect(figure.locator(".recharts-errorBar")).to_have_count(2)
        figure.get_by_role("button", name="As a table").focus()
        page.keyboard.press("Enter")
        low = released[0]["value"] - float(released[0]["half_width_95"])
        expect(figure.get_by_role("row", name="true")).to_contain_text(f"{low:,.7g}")
        page.get_by_label("Figure of").select_option("histogram(age)")
        expect(figure.get_by_role("row", name="[0, 30)")).to_be_visible()
        expect(page.get_by_text("GROUP BY stays")).to_be_visible()
        charges = section(page, "What it cost")
        posted = charges.get_by_role("row", name="charged").filter(has_text="retention team")
        expect(posted).to_contain_text("per record")
        posted.get_by_role("link").focus()
        page.keyboard.press("Enter")
        entry = jobs.world.ask("GET", f"/jobs/{counted}").json()["charge"]
        assert entry["kind"] == "posted"
        leaf = jobs.inputs["budget_id"]
        page.wait_for_url(f"**/ledger?budget={leaf}&seq={entry['seq']}**")


def test_a_job_that_a_freeze_has_stopped_says_so_in_words_and_what_it_cost(
    jobs: Jobs, stopped: str
) -> None:
    with jobs.house.visited("ml_engineer") as visit:
        visit.go(f"/jobs/{stopped}", "visits in winter")
        ending = section(visit.page, "A budget on its way was not open any more")
        expect(ending).to_contain_text("all that was held was given back")
        expect(visit.page.get_by_text("for life is frozen")).to_be_visible()
        expect(visit.page.get_by_role("link", name="submit what fits")).to_have_count(0)
        entries = section(visit.page, "What it cost").get_by_role("row")
        expect(entries.filter(has_text="given back")).to_have_count(1)


def test_what_no_longer_fits_leads_to_what_does_and_to_an_officer(
    jobs: Jobs, outgrown: str
) -> None:
    with jobs.house.visited("ml_engineer") as visit:
        page = visit.page
        visit.go(f"/jobs/{outgrown}", "trips in spring")
        again = section(page, "If it were asked now")
        expect(again.get_by_text("there is too little left for it")).to_be_visible()
        scope = again.get_by_role("row", name="for life")
        expect(scope.get_by_role("cell")).to_have_text(
            ["ε 0.6, δ 0 per user", "ε 0.3, δ 0 per user", "no"]
        )
        expect(again.get_by_role("listitem")).to_contain_text("a target of ε 0.3, δ 0 per user")
        reduced = again.get_by_role("link", name="submit what fits").get_attribute("href")
        assert reduced == f"/jobs/new?like={outgrown}&epsilon=0.3"
        again.get_by_role("button", name="Ask for more").click()
        expect(again.get_by_label("New limit")).to_have_value("1.3")
        again.get_by_label("Why it is needed").fill("the spring is longer than the winter")
        again.get_by_role("button", name="Send the request").click()
        again.get_by_role("link", name="The request").click()
        page.wait_for_url("**/approvals/*")
        expect(page.get_by_role("row", name="limit ε").locator("ins")).to_have_text("1.3")


def test_a_job_is_cancelled_by_keyboard_once_it_is_said_what_that_does(jobs: Jobs) -> None:
    job_id = jobs.query("a change of mind")
    with jobs.house.visited("ml_engineer") as visit:
        page = visit.page
        visit.go(f"/jobs/{job_id}", "a change of mind")
        page.get_by_role("button", name="Cancel the job").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Cancel this job?")
        expect(dialog.get_by_text("nothing is charged")).to_be_visible()
        expect(dialog.get_by_role("button", name="Let it go on")).to_be_focused()
        assert visit.axe() == []
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(section(page, "It was stopped")).to_contain_text("all that was held was given back")
        expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)
    assert jobs.state(job_id) == "cancelled"


def test_a_page_whose_stream_is_cut_learns_of_the_end_all_the_same(jobs: Jobs) -> None:
    job_id = jobs.query("over a bad line")
    with jobs.house.visited("auditor") as visit:
        visit.page.route("**/events", lambda route: route.abort())
        visit.go(f"/jobs/{job_id}", "over a bad line")
        expect(visit.page.get_by_text("The line to the service is cut")).to_be_visible()
        expect(visit.page.get_by_role("button", name="Cancel the job")).to_have_count(0)
        jobs.world.made(f"/jobs/{job_id}/cancel", None, by="ml_engineer")
        expect(section(visit.page, "It was stopped")).to_be_visible()
        entries = section(visit.page, "What it cost").get_by_role("row")
        expect(entries.filter(has_text="given back")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(
    jobs: Jobs, counted: str, outgrown: str, scheme: Scheme
) -> None:
    with jobs.house.visited("ml_engineer", scheme=scheme, width_px=390) as visit:
        for path, heading, region in (
            ("/jobs", "Jobs", "Jobs, newest first"),
            (f"/jobs/{counted}", "how many stay", "Released values"),
            (f"/jobs/{outgrown}", "trips in spring", "Budgets on its way"),
        ):
            visit.go(path, heading)
            section(visit.page, region).first.wait_for()
            assert visit.axe() == []
            assert visit.overflow_px() == 0
        visit.page.set_viewport_size({"width": 1440, "height": 900})
        visit.go(f"/jobs/{counted}", "how many stay")
        visit.page.locator(".recharts-errorBar").first.wait_for()
        assert visit.axe() == []


def test_a_list_is_filtered_by_its_address_and_goes_on_where_it_ends(
    jobs: Jobs, stopped: str
) -> None:
    for number in range(51):
        jobs.world.made(
            f"/jobs/{jobs.query(f'one of many, {number}')}/cancel", None, by="ml_engineer"
        )
    with jobs.house.visited("compliance_officer") as visit:
        page = visit.page
        visit.go("/jobs", "Jobs")
        rows = section(page, "Jobs, newest first").get_by_role("row")
        expect(rows).to_have_count(51)
        expect(rows.nth(1)).to_contain_text("one of many, 50")
        page.get_by_role("button", name="Show more").click()
        expect(rows.filter(has_text="one of many, 0")).to_have_count(1)
        page.get_by_label("State").select_option("failed")
        expect(rows).to_have_count(2)
        expect(rows.nth(1)).to_contain_text("visits in winter")
        assert page.url.endswith("?state=failed")
        page.get_by_label("Kind").select_option("train")
        expect(page.get_by_text("No job is like that.")).to_be_visible()
        page.goto(f"{jobs.house.address}/jobs/{UUID(int=7)}")
        expect(page.get_by_role("alert")).to_contain_text("There is nothing here")
