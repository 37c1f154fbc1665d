"""One served house per module with people who have passwords, and a browser to visit it with."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from app.api.page import BuiltPage
from app.main import create_app
from app.services import signing
from app.settings import Settings
from tests.api.serving import serving
from tests.api.test_sign_in import invited
from tests.api.world import TestClient, World, build
from tests.browser import browser
from tests.web.visit import House

PEOPLE = ("ml_engineer", "compliance_officer", "second_officer", "auditor", "admin")


# no longer than a module: its loop would be in the way of whatever else wants one in this process
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window; left out where it or the built page is missing."""
    program = browser()
    if not BuiltPage().is_built:
        if os.environ.get("TEST_BROWSER"):
            pytest.fail("the page is not built: `python3 dev.py test` builds it first")
        pytest.skip("needs the built page: `python3 dev.py test` builds it where Node.js is")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def house(
    chromium: Browser, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house on SQLite, served on a port of its own."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(migrated_sqlite, folder / "ledger.sqlite3")
    files = folder / "files"
    files.mkdir()
    settings = Settings(database_url=f"sqlite:///{folder / 'ledger.sqlite3'}", home=folder / "home")
    signing.create(settings.key_file)
    with TestClient(create_app(settings)) as client:
        world: World = build(client, files)
        me = world.ask("GET", "/me", by="admin").json()
        world.ids["admin"] = me["principal"]["id"] if "principal" in me else me["id"]
        for name in PEOPLE:
            invited(world, name)
        with serving(world) as address:
            yield House(world, address.replace("127.0.0.1", "localhost"), chromium)
