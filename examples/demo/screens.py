"""`dev.py screens [--folder FOLDER]`: a picture of every page, with the demo's house in it.

Each at the width of a desk and of a phone; the overview in the dark too. Needs Chromium.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from app.api.page import BuiltPage
from app.client import EpsilonLedger
from examples.demo import people
from examples.demo.playing import played
from examples.demo.stage import Terminal

FOLDER = Path("docs") / "screens"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZES: Mapping[str, ViewportSize] = {
    "1440": {"width": 1440, "height": 900},
    "390": {"width": 390, "height": 844},
}
WAIT_MS = 60_000
# name of the picture: who looks, and where; what is in braces is one of the demo's
PAGES: Mapping[str, tuple[str | None, str]] = {
    "overview": ("Olga", "/"),
    "datasets": ("Olga", "/datasets"),
    "dataset": ("Olga", "/datasets/{flights}"),
    "ledger": ("Aiko", "/ledger?budget={root}"),
    "entry": ("Aiko", "/ledger/{root}/2"),
    "jobs": ("Elif", "/jobs"),
    "job-query": ("Elif", "/jobs/{query}"),
    "job-training": ("Elif", "/jobs/{train}"),
    "job-new": ("Elif", "/jobs/new?dataset={flights}"),
    "approvals": ("Omar", "/approvals"),
    "approval": ("Omar", "/approvals/{approval}"),
    "inbox": ("Olga", "/inbox"),
    "risk": ("Aiko", "/risk?budget={root}"),
    "reports": ("Aiko", "/reports"),
    "report": ("Aiko", "/reports/{report}"),
    "attestations": ("Olga", "/reports/attestations"),
    "people": ("admin", "/admin/people"),
    "projects": ("admin", "/admin/projects"),
    "keys": ("admin", "/admin/keys"),
    "connections": ("admin", "/admin/connections"),
    "webhooks": ("admin", "/admin/webhooks"),
    "audit": ("Aiko", "/admin/audit"),
    "account": ("Elif", "/account"),
    "sign-in": (None, "/sign-in"),
    "invitation": (None, "/sign-in/invitation#ei_none"),
}


def main() -> int:
    """Play the demo and take the pictures; 0 where all were taken."""
    parser = argparse.ArgumentParser(prog="dev.py screens", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put them")
    folder: Path = parser.parse_args().folder
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.stderr.write("screens: needs Chromium, for example `apt-get install chromium`\n")
        return 1
    if not BuiltPage().is_built:
        sys.stderr.write("screens: needs the built page, and Node.js 20.19 or newer to build it\n")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        house, cast, _ = stack.enter_context(played(Terminal(), home=home / "demo"))
        passwords = people.passwords(house.url, house.admin_key or "", cast.ids)
        with EpsilonLedger(house.url, cast.auditor_key) as auditor:
            places = named(auditor, cast)
        playwright = stack.enter_context(sync_playwright())
        chromium = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--no-proxy-server"]
        )
        # a cookie that wants https is kept for a page of one's own machine by its name alone
        address = house.url.replace("127.0.0.1", "localhost")
        take(chromium, address, passwords, places, folder)
        chromium.close()
    return 0


def named(auditor: EpsilonLedger, cast: people.Cast) -> dict[str, str]:
    """The demo's things by the names that stand in `PAGES`."""

    def first(path: str, **query: str) -> str:
        found: str = auditor.get(path, limit=1, **query)["items"][0]["id"]
        return found

    return {
        "flights": cast.datasets["flights"],
        "root": cast.roots["flights"],
        "query": first("/v1/jobs", kind="query", state="settled"),
        "train": first("/v1/jobs", kind="train", state="settled"),
        "approval": first("/v1/approvals", state="pending"),
        "report": first("/v1/reports"),
    }


def take(
    chromium: Browser,
    address: str,
    passwords: Mapping[str, str],
    places: Mapping[str, str],
    folder: Path,
) -> None:
    """One picture a page and size, and the overview in the dark."""
    for person in dict.fromkeys(person for person, _ in PAGES.values()):
        context = chromium.new_context(reduced_motion="reduce", color_scheme="light")
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        if person is not None:
            sign_in(page, address, person, passwords[person])
        for name, (who, place) in PAGES.items():
            if who != person:
                continue
            for width, size in SIZES.items():
                page.set_viewport_size(size)
                show(page, f"{address}{place.format(**places)}")
                page.screenshot(path=folder / f"{name}-{width}.png")
                if name == "overview":
                    page.emulate_media(color_scheme="dark")
                    show(page, f"{address}{place}")
                    page.screenshot(path=folder / f"{name}-dark-{width}.png")
                    page.emulate_media(color_scheme="light")
            sys.stdout.write(f"  {name}\n")
        context.close()


def sign_in(page: Page, address: str, name: str, password: str) -> None:
    """Come in by the page's own way."""
    page.goto(f"{address}/sign-in")
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("textbox", name="Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("navigation", name="Pages").wait_for(state="attached")


def show(page: Page, address: str) -> None:
    """Open a page and wait until all that it asked for has come and is drawn."""
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_load_state("networkidle")
    expect(page.locator(".mantine-Skeleton-root")).to_have_count(0, timeout=WAIT_MS)
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")


if __name__ == "__main__":
    sys.exit(main())
