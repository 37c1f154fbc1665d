"""Every page has its pictures."""

import re
from pathlib import Path

from examples.demo.screens import FOLDER, PAGES, SIZES

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


def test_every_place_of_the_router_is_pictured() -> None:
    router = (ROOT / "frontend/src/router.tsx").read_text("utf-8")
    places = set(re.findall(r'^\s*\["(/[^"]*)", \(\) => import', router, re.MULTILINE))
    patterns = [re.sub(r":\w+", "[^/?]+", place) + r"(\?.*)?" for place in places]
    pictured = [re.sub(r"{\w+}", "x", place) for _, place in PAGES.values()]
    # two names of one page, and the list of people is where the administration begins
    for twin in ("/overview", "/admin"):
        patterns.remove(twin + r"(\?.*)?")
    assert [each for each in patterns if not any(re.fullmatch(each, one) for one in pictured)] == []


def test_every_picture_is_there_and_none_that_is_of_no_page() -> None:
    kept = {path.name for path in (ROOT / FOLDER).iterdir()}
    dark = {f"overview-dark-{width}.png" for width in SIZES}
    assert kept == {f"{name}-{width}.png" for name in PAGES for width in SIZES} | dark
    for path in (ROOT / FOLDER).iterdir():
        assert path.read_bytes().startswith(PNG)
