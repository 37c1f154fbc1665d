"""The page of a report: self-contained, escaped, readable by everybody and on a phone."""

import base64
import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ExtraMissing
from app.domain.ledger import canonical_bytes
from app.reporting import report
from app.reporting.evidence import Evidence
from app.reporting.rendering import extra, to_html
from app.reporting.rendering.blocks import STATE_WORDS, muted
from app.reporting.rendering.pages.system import blocks_text
from tests.browser import axe_violations, overflow_px
from tests.reporting.evidence_sample import sample

HOSTILE = "<script>alert('x')</script>{{ 7*7 }}\u202e\u0000 & \"quoted\""


@pytest.fixture(scope="module")
def page() -> str:
    return to_html(report.build(sample())).decode("utf-8")


class Tags(HTMLParser):
    """Every tag with its attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_same_report_gives_the_same_page() -> None:
    assert to_html(report.build(sample())) == to_html(report.build(sample()))


def test_a_report_that_was_stored_and_read_back_gives_the_same_page() -> None:
    built = report.build(sample())
    assert to_html(json.loads(canonical_bytes(built))) == to_html(built)


def test_no_value_is_shown_as_the_program_writes_it(page: str) -> None:
    said = re.sub(
        r"None(\.| is declared| can be compared| of them)|(False|True)-positive", "", page
    )
    for written in ("None", "True", "False", "[&#39;", "{&#39;", "Decimal("):
        assert written not in said, written


def test_blocks_are_told_in_words() -> None:
    by_hash = blocks_text({"kind": "unit_hash", "count": 4096})
    assert "4,096 blocks" in str(by_hash) and "worst" in str(by_hash)
    by_time = {"kind": "time", "column": "day", "period": "month", "time_zone": "UTC"}
    assert "by day into one block for each month (UTC)" in str(blocks_text(by_time))
    assert blocks_text({"kind": "none"}) == blocks_text(None) == muted("none")


def test_nothing_is_fetched_and_no_script_can_run(page: str) -> None:
    tags = Tags(page).found
    names = {tag for tag, _ in tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for tag, attributes in tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#"), attributes
    assert "url(" not in page and "@import" not in page
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    stylesheet = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert stylesheet
    digest = base64.b64encode(hashlib.sha256(stylesheet.group(1).encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_what_people_wrote_is_text_and_never_markup() -> None:
    evidence = sample()
    evidence["dataset"]["name"] = HOSTILE
    evidence["dataset"]["description"]["purpose"] = HOSTILE
    evidence["jobs"][0]["purpose"] = HOSTILE
    evidence["attestations"][0]["statement"] = HOSTILE
    page = to_html(report.build(evidence)).decode("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;{{ 7*7 }}[U+202E][U+0000]" in page
    assert page.count("\u202e") == 0


def test_every_table_has_a_caption_and_scoped_heads(page: str) -> None:
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert len(tables) > 20
    for table in tables:
        assert re.search(r"<caption[^>]*>[^<]+</caption>", table)
        assert all("scope=" in head for head in re.findall(r"<th[ >][^>]*", table))
    captions = re.findall(r"<caption[^>]*>([^<]+)</caption>", page)
    assert len(set(captions)) == len(captions)


def test_the_page_has_its_language_landmarks_and_one_first_heading(page: str) -> None:
    tags = Tags(page).found
    assert next(attributes for tag, attributes in tags if tag == "html")["lang"] == "en"
    names = [tag for tag, _ in tags]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert landmark in names
    assert names.count("h1") == names.count("main") == 1
    levels = [int(name[1]) for name in names if re.fullmatch(r"h[1-6]", name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    anchors = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(set(anchors)) == len(anchors)


def test_a_state_is_told_by_a_symbol_and_a_word_each_of_its_own() -> None:
    symbols = [symbol for symbol, _ in STATE_WORDS.values()]
    words = [word for _, word in STATE_WORDS.values()]
    assert len(set(symbols)) == len(symbols) == len(set(words)) == 6


def test_what_was_not_evaluated_is_never_green(page: str) -> None:
    styles = dict(re.findall(r"\.state-(\w+) \{([^}]*)\}", page))
    assert set(styles) == set(STATE_WORDS)
    assert "--good" in styles["satisfied"]
    assert not any("--good" in style for name, style in styles.items() if name != "satisfied")


def test_the_figure_of_a_plan_stands_under_its_own_heading_and_nowhere_else() -> None:
    evidence = sample()
    plan: Any = {
        **copy.deepcopy(evidence["budgets"][1]),
        "id": "a-plan",
        "kind": "plan",
        "figures": None,
        "bound_delta": None,
        "plan": {
            "digest": "ab" * 32,
            "if_fixed_in_advance": {"epsilon": "7.7771", "delta": "1e-8"},
        },
    }
    evidence["budgets"].append(plan)
    page = to_html(report.build(evidence)).decode("utf-8")
    proven, _, fixed = page.partition("<h3>If fixed in advance</h3>")
    fixed, _, others = fixed.partition("<h3>")
    assert "7.7771" in fixed and "None of them is a proven bound." in fixed
    assert "7.7771" not in proven + others


def test_the_mandatory_line_closes_the_page(page: str) -> None:
    assert (
        "Self-assessment generated from recorded evidence. Not a certification, audit opinion or"
        " legal advice." in page.rsplit("<footer", 1)[1]
    )


def test_without_jinja_the_refusal_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ExtraMissing) as refusal:
        extra.library("jinja2")
    assert (refusal.value.extra, refusal.value.library) == ("reports", "jinja2")


def test_the_service_starts_on_a_machine_without_the_extra() -> None:
    program = (
        "import sys\n"
        "for name in ('jinja2', 'typst'): sys.modules[name] = None\n"
        "import app.reporting.rendering\n"
        "from app.main import create_app\n"
        "from app.settings import Settings\n"
        "assert create_app(Settings()).openapi()['paths']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_value_that_the_layout_does_not_have_is_an_error_and_no_blank() -> None:
    built: dict[str, Any] = report.build(sample())
    del built["guarantee"]["proven_bound"]
    with pytest.raises(KeyError):
        to_html(built)


def troubled() -> Evidence:
    """A house with a fault in a chain, a wrong figure, and no attestation in force."""
    evidence = sample()
    root = evidence["budgets"][0]
    assert root["figures"] is not None
    root["figures"]["consumed"]["epsilon"] = "0.01"
    evidence["ledger"]["faults"] = [{"budget": root["id"], "seq": 3, "reason": "a hash"}]
    for each in evidence["attestations"]:
        each["revoked_at"] = evidence["as_of"]
    return evidence


@pytest.mark.processes
@pytest.mark.parametrize("evidence", [sample, troubled])
def test_axe_finds_no_violation(evidence: Callable[[], Evidence], tmp_path: Path) -> None:
    page = to_html(report.build(evidence())).decode("utf-8")
    assert ("is not the one computed here" in page) == (evidence is troubled)
    assert axe_violations(page, tmp_path) == []


@pytest.mark.processes
def test_axe_would_find_a_pale_text_and_a_head_without_cells(page: str, tmp_path: Path) -> None:
    spoiled = page.replace("--soft: #56606b", "--soft: #c9d0d6").replace(
        "<html lang", "<html data-x"
    )
    found = axe_violations(spoiled, tmp_path)
    assert {each.split(":")[0] for each in found} >= {"color-contrast", "html-has-lang"}


@pytest.mark.processes
@pytest.mark.parametrize("width_px", [320, 390])
def test_a_phone_never_scrolls_the_page_sideways(page: str, tmp_path: Path, width_px: int) -> None:
    assert overflow_px(page, tmp_path, width_px=width_px) <= 0
