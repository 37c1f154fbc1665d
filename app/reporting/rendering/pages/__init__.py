"""A report's JSON laid out as sections of blocks, in the order of the report (0 to 12)."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from app.reporting.rendering.blocks import Block, shown, when
from app.reporting.rendering.pages.context import (
    annexes,
    comparisons,
    frameworks,
    limits,
)
from app.reporting.rendering.pages.opening import (
    assertion,
    cover,
    officer_summary,
    plain_statement,
    reading,
)
from app.reporting.rendering.pages.proof import guarantee, ledger
from app.reporting.rendering.pages.system import system
from app.reporting.rendering.pages.work import criteria, exceptions, jobs

# The statement for the people in the data stands alone; long sections start on a page of their own.
OWN_PAGES: Final = ("1", "2", "4", "5", "6", "7", "8", "10", "12")


class Section(TypedDict):
    """One numbered section.

    name: its anchor. own_page: whether it starts a page in print.
    """

    number: str
    name: str
    title: str
    own_page: bool
    blocks: list[Block]


class Document(TypedDict):
    """All that a template sets.

    headline, qualification: the title, and what it says in brackets.
    running: which dataset, as of when; subtitle, moment: the two parts of it.
    """

    title: str
    headline: str
    qualification: str
    subtitle: str
    moment: str
    running: str
    footer: str
    language: str
    cover: list[Block]
    reading: list[Block]
    sections: list[Section]


def document(report: Mapping[str, Any]) -> Document:
    """The layout of a report; reads nothing but the report."""
    name, title = shown(report["scope"]["dataset"]["name"]), shown(report["title"])
    moment = f", as of {when(report['as_of'])}"
    headline, _, bracketed = title.partition(" (")
    laid_out = [
        ("1", "plain-statement", "Plain statement", plain_statement(report)),
        ("2", "officer-summary", "Officer summary", officer_summary(report)),
        ("3", "assertion", "Management assertion and attestations", assertion(report)),
        ("4", "system", "System and data", system(report)),
        ("5", "guarantee", "Guarantee", [*guarantee(report), *comparisons(report)]),
        ("6", "ledger", "Ledger", ledger(report)),
        ("7", "jobs", "Jobs", jobs(report)),
        ("8", "criteria", "Criteria", criteria(report)),
        ("9", "exceptions", "Exceptions and remediation", exceptions(report)),
        ("10", "frameworks", "Other frameworks", frameworks(report)),
        ("11", "limits", "Assumptions, limits and duties", limits(report)),
        ("12", "annexes", "Annexes", annexes(report)),
    ]
    return {
        "title": title,
        "headline": headline,
        "qualification": bracketed.removesuffix(")"),
        "subtitle": name,
        "moment": moment,
        "running": f"{name}{moment}",
        "footer": shown(report["footer"]),
        "language": "en",
        "cover": cover(report),
        "reading": reading(report),
        "sections": [
            {
                "number": number,
                "name": anchor,
                "title": title,
                "own_page": number in OWN_PAGES,
                "blocks": blocks,
            }
            for number, anchor, title, blocks in laid_out
        ],
    }
