"""Every place of the page: for screen readers, in light and dark, on a phone, and who comes in."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from app.api.page import PLACES
from frontend import build
from tests.api.test_sign_in import PASSWORD
from tests.browser import AXE, TAGS
from tests.patience import wait_until
from tests.web.lived_in import live_in
from tests.web.visit import WAIT_MS, House, Visit

ROUTER = build.FRONTEND / "src" / "router.tsx"
OFFICER, AUDITOR, ENGINEER, ADMIN = "compliance_officer", "auditor", "ml_engineer", "admin"
# who looks, and where: an id in braces is one of the house's
SWEPT: dict[str, tuple[str | None, str]] = {
    "/": (OFFICER, "/"),
    "/overview": (AUDITOR, "/overview"),
    "/datasets": (OFFICER, "/datasets"),
    "/datasets/:id": (OFFICER, "/datasets/{dataset}"),
    "/ledger": (AUDITOR, "/ledger?budget={root}"),
    "/ledger/:budget/:seq": (AUDITOR, "/ledger/{leaf}/2"),
    "/jobs": (ENGINEER, "/jobs"),
    "/jobs/new": (ENGINEER, "/jobs/new"),
    "/jobs/:id": (ENGINEER, "/jobs/{job}"),
    "/approvals": (OFFICER, "/approvals"),
    "/approvals/:id": ("second_officer", "/approvals/{approval}"),
    "/inbox": (OFFICER, "/inbox"),
    "/risk": (AUDITOR, "/risk?budget={leaf}"),
    "/reports": (AUDITOR, "/reports"),
    "/reports/attestations": (OFFICER, "/reports/attestations"),
    "/reports/:id": (AUDITOR, "/reports/{report}"),
    "/admin": (ADMIN, "/admin"),
    "/admin/people": (ADMIN, "/admin/people"),
    "/admin/projects": (OFFICER, "/admin/projects"),
    "/admin/keys": (ADMIN, "/admin/keys"),
    "/admin/connections": (ADMIN, "/admin/connections"),
    "/admin/webhooks": (ADMIN, "/admin/webhooks"),
    "/admin/audit": (AUDITOR, "/admin/audit"),
    "/account": (ENGINEER, "/account"),
    "/sign-in": (None, "/sign-in"),
    "/sign-in/invitation": (None, "/sign-in/invitation#ei_none"),
}
NOWHERE = (AUDITOR, "/overview/none/such")
DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
# Text that a person cannot come to: cut off by what surrounds it, or right of the window. What
# scrolls is no cut; what is made for screen readers alone is no text to be seen.
CUT_OFF = """() => {
  const found = []
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const node = texts.currentNode
    if (!node.data.trim() || !node.parentElement.checkVisibility()) continue
    if (node.parentElement.closest('.unseen, .skip, script, style')) continue
    const range = document.createRange()
    range.selectNodeContents(node)
    const box = range.getBoundingClientRect()
    if (box.width === 0 || box.right <= 0) continue
    let across = true, down = true, cut = false
    for (let around = node.parentElement; around && !cut; around = around.parentElement) {
      const style = getComputedStyle(around), edge = around.getBoundingClientRect()
      const hides = (value) => value === 'hidden' || value === 'clip'
      if (across && hides(style.overflowX))
        cut = box.right > edge.right + 1 || box.left < edge.left - 1
      if (down && hides(style.overflowY))
        cut ||= box.bottom > edge.bottom + 2 || box.top < edge.top - 2
      if (/auto|scroll/.test(style.overflowX)) across = false
      if (/auto|scroll/.test(style.overflowY)) down = false
    }
    if (cut || (across && box.right > innerWidth + 1)) found.push(node.data.trim().slice(0, 60))
  }
  return found
}"""
TOO_WIDE_PX = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def routes() -> list[str]:
    """Every path that the router of the page names."""
    text = ROUTER.read_text("utf-8")
    listed = re.findall(r'^\s*\["(/[^"]*)", \(\) => import', text, re.MULTILINE)
    return listed + re.findall(r'<Route path="([^"]+)"', text)


@pytest.fixture(scope="module")
def visits(house: House) -> Iterator[dict[str | None, Visit]]:
    """Everybody who looks, signed in, in a house where something has happened."""
    expect.set_options(timeout=WAIT_MS)
    live_in(house.world)
    with ExitStack() as stack:
        people = {name for name, _ in SWEPT.values()}
        yield {name: stack.enter_context(house.visited(name)) for name in people}


def opened(visit: Visit, address: str) -> Page:
    """A page of its own at an address, as it is once all has come."""
    page = visit.page.context.new_page()
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.on(
        "console", lambda said: visit.faults.append(said.text) if said.type == "error" else None
    )
    page.on("pageerror", lambda error: visit.faults.append(str(error)))
    page.goto(f"{visit.house.address}{address.format(**visit.house.world.ids)}")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_load_state("networkidle")
    expect(page.locator(".mantine-Skeleton-root")).to_have_count(0)
    return page


def violations(page: Page, options: dict[str, Any]) -> list[str]:
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(f"axe.run(document, {json.dumps(options)})")
    assert found["passes"]
    return [
        f"{each['id']} at {node['target']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def test_every_route_of_the_router_is_swept() -> None:
    assert len(routes()) > 20
    assert sorted(routes()) == sorted(SWEPT)
    assert {path.split("/")[1] for path in routes()} - {""} == set(PLACES)


@pytest.mark.parametrize("route", [*SWEPT, "nowhere"])
def test_a_route_is_for_everybody_and_for_every_screen(
    visits: dict[str | None, Visit], route: str
) -> None:
    who, address = SWEPT.get(route, NOWHERE)
    visit = visits[who]
    page = opened(visit, address)
    assert violations(page, {"runOnly": TAGS}) == [], "light"
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    assert violations(page, {"runOnly": {"type": "rule", "values": ["color-contrast"]}}) == [], (
        "dark"
    )
    page.set_viewport_size(PHONE)
    # what is drawn follows the width by and by
    wait_until(
        lambda: page.evaluate(TOO_WIDE_PX) <= 0 and page.evaluate(CUT_OFF) == [],
        what=lambda: f"{route} fits a phone: {page.evaluate(CUT_OFF)}",
        within_s=20,
    )
    page.close()
    heard, visit.faults[:] = visit.faults[:], []
    assert heard == []


def test_who_is_not_signed_in_comes_back_to_where_the_way_led(
    house: House, visits: dict[str | None, Visit]
) -> None:
    budget = house.world.ids["root"]
    with house.visited(None) as visit:
        page = visit.page
        page.goto(f"{house.address}/ledger?budget={budget}")
        page.wait_for_url("**/sign-in?next=*")
        page.get_by_role("textbox", name="Name").fill(AUDITOR)
        page.get_by_role("textbox", name="Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("link", name="Overview").wait_for()
        assert page.url == f"{house.address}/ledger?budget={budget}"
