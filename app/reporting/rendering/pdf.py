"""A tagged PDF (PDF/UA-1), the same bytes for the same report: fonts of the wheel, no date.

Text goes to the typesetter as JSON data, never as its source. Under this standard it refuses a
character that none of its fonts has; such a character is written as its code point instead.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from app.reporting.rendering.extra import library, template
from app.reporting.rendering.pages import document

STANDARD: Final = "ua-1"
# What the three embedded families can set between them; a test sets every one of these.
_ALPHABETS: Final = (
    " -~\u00a0-\u02af\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u03ff\u0400-\u04ff\u0531-\u0556"
    "\u05d0-\u05ea\u0621-\u063a\u0641-\u064a\u10d0-\u10ff\u1e00-\u1eff"
)
_SIGNS: Final = (
    "\u2010-\u2027\u2030-\u2040\u2044-\u2052\u2054-\u205e\u20a0-\u20bf\u2190-\u22ff\u2500-\u25ff"
    "\u270e\u2713-\u2718"
)
_NOT_SET: Final = re.compile(f"[^{_ALPHABETS}{_SIGNS}]")


def to_pdf(report: Mapping[str, Any]) -> bytes:
    """A report as PDF/UA-1; the same bytes for the same report.

    Raises:
        ExtraMissing: typst is not installed (extra `reports`).
    """
    typst = library("typst")
    laid_out = settable(json.dumps(document(report), ensure_ascii=False))
    data: bytes = typst.compile(
        template("report.typ").encode("utf-8"),
        format="pdf",
        ignore_system_fonts=True,
        pdf_standards=[STANDARD],
        sys_inputs={"document": laid_out},
    )
    return data


def settable(text: str) -> str:
    """A text in which each character that no font has is written as [U+4F60]."""
    return _NOT_SET.sub(lambda found: f"[U+{ord(found.group()):04X}]", text)
