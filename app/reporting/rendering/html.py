"""One self-contained page: no script, nothing from elsewhere, and a policy that says so."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from app.reporting.rendering.extra import library, template
from app.reporting.rendering.pages import document


def to_html(report: Mapping[str, Any]) -> bytes:
    """A report as HTML; the same bytes for the same report.

    Every text is escaped; the only markup that comes with the data are our own drawings.

    Raises:
        ExtraMissing: Jinja is not installed (extra `reports`).
    """
    page: str = _page().render(document=document(report))
    return page.encode("utf-8")


@cache
def _page() -> Any:
    jinja, markup = library("jinja2"), library("markupsafe").Markup
    stylesheet = template("report.css")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined)
    environment.globals |= {
        "stylesheet": markup(stylesheet),
        "policy": _policy(stylesheet),
        "drawing": markup,
    }
    return environment.from_string(template("report.html"))


def _policy(stylesheet: str) -> str:
    digest = base64.b64encode(hashlib.sha256(stylesheet.encode("utf-8")).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
