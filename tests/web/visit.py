"""Somebody's visit to the page: signed in, watched for what goes wrong beside the test."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.api.test_sign_in import PASSWORD
from tests.api.world import World
from tests.browser import AXE, TAGS

WAIT_MS = 30_000  # a busy machine is slow, not wrong
Scheme = Literal["light", "dark"]


@dataclass
class House:
    """world: people, keys and what is in it. address: where the page is served.

    sessions: what the browsers of those who have signed in once keep; passwords are slow to check.
    """

    world: World
    address: str
    browser: Browser
    sessions: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def visited(
        self, name: str | None, *, scheme: Scheme = "light", width_px: int = 1440
    ) -> Iterator["Visit"]:
        """A browser of somebody's own; signed in unless `name` is None."""
        size: Any = {"width": width_px, "height": 900}
        session = None if name is None else self.sessions.get(name)
        context = self.browser.new_context(
            color_scheme=scheme, viewport=size, storage_state=session
        )
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        visit = Visit(self, page)
        page.on("console", visit.heard)
        page.on("pageerror", lambda error: visit.faults.append(str(error)))
        try:
            if session is not None:
                visit.go("/", "Overview")
            elif name is not None:
                visit.sign_in(name)
                self.sessions[name] = context.storage_state()
            yield visit
        finally:
            context.close()
        assert visit.faults == []


@dataclass
class Visit:
    """page: what Playwright drives. faults: errors that the console told of."""

    house: House
    page: Page
    faults: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        # a refusal that the page explains is no fault of the page
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def sign_in(self, name: str) -> None:
        self.page.goto(f"{self.house.address}/sign-in")
        self.page.get_by_role("textbox", name="Name").fill(name)
        self.page.get_by_role("textbox", name="Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.get_by_role("heading", level=1, name="Overview").wait_for()

    def go(self, path: str, heading: str) -> None:
        """Open a place of the page and wait for its heading."""
        self.page.goto(f"{self.house.address}{path}")
        self.page.get_by_role("heading", level=1, name=heading).wait_for()

    def settled(self) -> None:
        """Wait until nothing on the page says that it is loading."""
        # asked from outside: the page's own policy lets nobody look again and again from within
        expect(self.page.locator(".mantine-Skeleton-root")).to_have_count(0, timeout=WAIT_MS)

    def axe(self) -> list[str]:
        """What axe-core finds wrong with the page as it stands."""
        self.settled()
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})")
        assert len(found["passes"]) > 10
        return [
            f"{each['id']}: {each['help']} at {node['target']}: {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def overflow_px(self) -> int:
        """By how much the page is wider than its window."""
        self.settled()
        wider: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider
