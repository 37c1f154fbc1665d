"""The demo, as a newcomer runs it: every claim that it prints is checked against the facts."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from app.api.page import BuiltPage
from tests.browser import browser
from tests.patience import wait_until

ROOT = Path(__file__).parents[2]
WAIT_MS = 60_000
SERVING = re.compile(r"open (http://127\.0\.0\.1:\d+)/ and sign in as\n")
WAY_IN = re.compile(r"^  (\w+) +([a-z ]+?) +password (\w+)$", re.MULTILINE)


@dataclass
class Played:
    """A demo that goes on serving: its document, and what it said beside."""

    document: str
    aside: str

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.document)
        return found

    @property
    def url(self) -> str:
        found = SERVING.search(self.aside)
        assert found is not None, self.aside
        return found[1]

    @property
    def passwords(self) -> dict[str, tuple[str, str]]:
        """Name and password by what the person is."""
        return {what: (name, password) for name, what, password in WAY_IN.findall(self.aside)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Run to its end once, and served on; told to stop it ends well."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EPSILON_")
    }
    with subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--json"],
        cwd=tmp_path_factory.mktemp("newcomer"),
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said = {"stdout": "", "stderr": ""}

        def read(name: str, stream: IO[str]) -> None:
            for line in stream:
                said[name] += line

        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            Thread(target=read, args=("stdout", process.stdout)),
            Thread(target=read, args=("stderr", process.stderr)),
        ]
        for reader in readers:
            reader.start()
        try:
            wait_until(
                lambda: (
                    process.poll() is not None
                    or (said["stdout"].endswith("\n}\n") and "/v1/budgets" in said["stderr"])
                ),
                what="the demo serves",
                within_s=240,
            )
            assert process.poll() is None, said["stderr"]
            yield Played(said["stdout"], said["stderr"])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                ended = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            for reader in readers:
                reader.join()
    assert ended == 0, said["stderr"]


@pytest.mark.processes
def test_the_demo_governs_real_data_from_registration_to_refusal(demo: Played) -> None:
    facts = demo.facts
    assert facts["query"]["worst_error_in_half_widths"] <= 5
    assert facts["charge"]["independent_repricing_agrees"]
    assert facts["refusal"]["type"] == "/problems/budget-exceeded"
    assert facts["resubmitted"]["fits"]
    assert facts["resubmitted"]["one_more"] == 409
    assert facts["training"]["accuracy"] >= 0.88
    assert facts["training"]["seconds"] <= 60
    assert float(facts["training"]["epsilon"]) <= 8
    assert facts["training"]["independent_repricing_agrees"]
    assert facts["report"]["state"] == "ready"
    assert facts["report"]["status_counts"]["satisfied"] > 0
    figure = facts["training"]["if_fixed_in_advance"]
    assert 4 < float(figure["epsilon"]) < float(facts["training"]["epsilon"])
    assert figure["delta"] == "1e-5"
    assert facts["chain"]["verified"]


@pytest.mark.processes
def test_the_document_of_the_demo_holds_no_way_in(demo: Played) -> None:
    assert len(demo.passwords) == 5
    secrets = [password for _, password in demo.passwords.values()]
    secrets += re.findall(r"EPSILON_API_KEY=(\S+)", demo.aside)
    assert len(set(secrets)) == 6
    assert [each for each in secrets if each in demo.document] == []


@pytest.mark.processes
def test_whom_the_demo_names_sees_its_data_on_the_page(demo: Played) -> None:
    program = browser()
    if not BuiltPage().is_built:
        pytest.skip("needs the built page: `python3 dev.py test` builds it where Node.js is")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--no-proxy-server"]
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        for what in ("officer", "auditor", "engineer"):
            name, password = demo.passwords[what]
            page = chromium.new_context(base_url=demo.url).new_page()
            page.goto("/", timeout=WAIT_MS)
            page.get_by_role("textbox", name="Name").fill(name)
            page.get_by_role("textbox", name="Password").fill(password)
            page.get_by_role("button", name="Sign in", exact=True).click()
            cards = page.get_by_role("article")
            expect(cards.filter(has_text="delay team")).to_contain_text("Nearly used up")
            expect(cards.filter(has_text="digits, for life")).to_contain_text("left of 8")
            if what != "engineer":
                expect(page.get_by_text("asked by Olga")).to_be_visible()
        chromium.close()
