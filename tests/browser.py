"""A page in a real browser: headless Chromium, driven by its command line alone.

Found by TEST_BROWSER or by its usual names. Where TEST_BROWSER is set, as CI does,
a browser that is missing is an error; elsewhere the tests that need one say what they need and are
left out. axe-core (MPL-2.0) lies beside its licence in tests/vendored/axe-core/.
"""

import base64
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = Path(__file__).parent / "vendored" / "axe-core" / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

# Puts an answer where --dump-dom shows it, in letters that no escaping touches.
ANSWER = (
    "document.documentElement.setAttribute('data-answer', btoa(unescape(encodeURIComponent({}))))"
)


def browser() -> str:
    """The path of Chromium; skips, or fails where one was promised."""
    named = os.environ.get("TEST_BROWSER")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and named:
        pytest.fail(f"TEST_BROWSER names {named}, which is not there")
    if found is None:
        pytest.skip("needs Chromium: install it, or name it in TEST_BROWSER")
    return found


def run(page: str, folder: Path, *, width_px: int = 1280) -> str:
    """The document after its scripts have run."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--window-size={width_px},1000", "--virtual-time-budget=60000", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def answer_of(dumped: str) -> Any:
    """What a page's script left in `data-answer`."""
    found = re.search(r'data-answer="([^"]*)"', dumped)
    assert found, "the page's script gave no answer"
    return json.loads(base64.b64decode(html.unescape(found.group(1))))


def axe_violations(page: str, folder: Path) -> list[str]:
    """Every violation that axe-core finds, one line each."""
    script = (
        f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}}).then(found => "
        f"{ANSWER.format('JSON.stringify([found.violations, found.passes.length])')})"
    )
    tested, policies = POLICY.subn("", page)  # the page's own policy lets no script run
    assert policies == 1
    axe = AXE.read_text(encoding="utf-8")
    tested = tested.replace("</body>", f"<script>{axe}</script><script>{script}</script></body>")
    violations, passes = answer_of(run(tested, folder))
    assert passes > 10
    return [
        f"{each['id']}: {each['help']} at {node['target']}: {node['failureSummary']}"
        for each in violations
        for node in each["nodes"]
    ]


def overflow_px(page: str, folder: Path, *, width_px: int) -> int:
    """By how much a page is wider than a screen of that width."""
    # Chromium's own window does not get narrower than a phone: a frame does
    script = (
        "addEventListener('load', () => {"
        "const page = document.querySelector('iframe').contentDocument.documentElement;"
        f"{ANSWER.format('String(page.scrollWidth - page.clientWidth)')}}})"
    )
    frame = (
        "<!doctype html><html><body><iframe style='border:0;height:900px;width:"
        f"{width_px}px' srcdoc='{html.escape(page, quote=True)}'></iframe>"
        f"<script>{script}</script></body></html>"
    )
    return int(answer_of(run(frame, folder)))
