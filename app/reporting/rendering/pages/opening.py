"""Cover, plain statement, officer summary, assertion and attestations: sections 0 to 3."""

from collections.abc import Mapping
from typing import Any, Final

from app.reporting.charts import statement_charts
from app.reporting.rendering.blocks import (
    STATE_WORDS,
    Block,
    callout,
    code,
    drawn,
    facts,
    figures,
    line,
    muted,
    paragraph,
    quote,
    state,
    strong,
    table,
    when,
)

NOT_GIVEN: Final = (
    "Nobody has signed a management assertion that is in force at the time of this report."
)
STATE_MEANINGS: Final[Mapping[str, str]] = {
    "satisfied": "the rule holds for the records that were looked at",
    "not_satisfied": "the rule does not hold; section 9 lists what is recorded about it",
    "partly_satisfied": "the rule holds in part, or for a part of the records",
    "attested": "a named person signed that it is so; it was not checked here",
    "not_evaluated": "nothing was found that could be judged; this is not a pass",
    "not_applicable": "the rule is about something that this dataset does not have",
}


def cover(report: Mapping[str, Any]) -> list[Block]:
    """Section 0: what this is about, how much is spent, how many criteria are in each state."""
    integrity, edition = report["integrity"], report["edition"]
    return [
        figures(_key_figures(report)),
        facts(
            "This report",
            [
                ("Dataset", [strong(report["scope"]["dataset"]["name"]), code_of(report)]),
                ("Scope", _scope_text(report)),
                (
                    "Period",
                    f"{when(report['period']['from'])} to {when(report['period']['to'])}",
                ),
                ("As of", f"{when(report['as_of'])}, the time of the signed checkpoint"),
                ("Structure", f"{edition['source']}; section numbers are those of that draft"),
                ("Final edition", edition["final_edition"]),
                ("Report", code(report["report_id"])),
                ("Content hash", code(integrity["content_sha256"])),
                ("Signed by key", _signer(integrity)),
            ],
        ),
        table(
            "Criteria by state, without a total score",
            [("State", 3), ("Criteria", 1)],
            [[state(name), report["status_counts"][name]] for name in STATE_WORDS],
            numbers=(1,),
        ),
    ]


def reading(report: Mapping[str, Any]) -> list[Block]:
    """How to read the rest: the states, and two kinds of figures that are never mixed."""
    return [
        table(
            "What the states of criteria mean",
            [("State", 3), ("Meaning", 8)],
            [[state(name), STATE_MEANINGS[name]] for name in STATE_WORDS],
        ),
        paragraph(
            "A proven bound holds for any order of jobs, chosen in view of all results. A figure"
            " that is marked as fixed in advance holds for one frozen plan alone. No figure of"
            " either kind stands in a table of the other."
        ),
    ]


def code_of(report: Mapping[str, Any]) -> Any:
    """The dataset's id as a line."""
    return code(report["scope"]["dataset"]["id"])


def plain_statement(report: Mapping[str, Any]) -> list[Block]:
    """Section 1: for the people in the data, on a page of its own."""
    statement = report["statements"]["subject"]
    if statement is None:
        return [paragraph("No statement for data subjects is part of this report.", "note")]
    lead, *rest = statement["text"]
    return [
        paragraph(lead, "lead"),
        *drawn(statement_charts(report["statements"])["odds"]),
        *(paragraph(each, "large") for each in rest),
    ]


def officer_summary(report: Mapping[str, Any]) -> list[Block]:
    """Section 2: spend, limits, what is open and what was not evaluated."""
    blocks: list[Block] = []
    statement = report["statements"]["officer"]
    if statement is not None:
        lead, *rest = statement["text"]
        blocks += [paragraph(lead, "lead"), *(paragraph(each) for each in rest)]
        blocks += drawn(statement_charts(report["statements"])["burn-down"])
    blocks.append(
        table(
            "Budgets: consumed, of the limit, and what is left",
            [("Budget", 4), ("Kind", 2), ("Consumed", 2), ("Limit", 2), ("Left", 2), ("Delta", 2)],
            [
                [
                    [strong(each["name"]), muted(each["state"])],
                    each["kind"],
                    line(each["consumed"]["epsilon"], "number"),
                    line(each["limit"]["epsilon"], "number"),
                    line(each["remaining"]["epsilon"], "number"),
                    line(each["consumed"]["delta"], "number"),
                ]
                for each in report["guarantee"]["proven_bound"]["budgets"]
            ],
            numbers=(2, 3, 4, 5),
            note="Epsilon of the proven bound at the delta in the last column. Spend is rounded"
            " up, what is left is rounded down.",
        )
    )
    blocks.append(_open_criteria(report))
    return blocks


def assertion(report: Mapping[str, Any]) -> list[Block]:
    """Section 3: who answers for what this service cannot see."""
    said = report["assertion"]
    blocks = [
        callout("Not given", NOT_GIVEN, "warning")
        if said is None
        else quote(
            said["statement"],
            f"{said['person_name']}, {said['role'].replace('_', ' ')}, {when(said['made_at'])};"
            f" stands until {when(said['expires_at'])}",
        )
    ]
    blocks.append(
        table(
            "Attestations: believed as signed, not checked",
            [("About", 3), ("Statement", 6), ("Person", 3), ("Until", 3), ("Standing", 2)],
            [
                [
                    strong(each["kind"].replace("_", " ")),
                    [line(each["statement"]), code(each["id"])],
                    [line(each["person_name"]), muted(each["role"].replace("_", " "))],
                    when(each["expires_at"]),
                    each["standing"],
                ]
                for each in report["attestations"]
            ],
            empty="Nobody has attested anything.",
        )
    )
    return blocks


def _key_figures(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    lifetime = report["guarantee"]["lifetime"]
    items = []
    if lifetime is not None:
        items.append(
            (
                "Consumed, lifetime",
                f"\u03b5 {lifetime['consumed']['epsilon']}",
                f"of {lifetime['limit']['epsilon']} at delta {lifetime['consumed']['delta']}",
            )
        )
    faults = len(report["ledger"]["replay"]["faults"])
    items += [
        ("Work admitted", f"{len(report['jobs']['listed']):,}", "jobs and outside runs"),
        (
            "Ledger entries",
            f"{report['ledger']['entries']:,}",
            "replayed without a fault" if not faults else f"{faults} faults in the replay",
        ),
    ]
    return items


def _scope_text(report: Mapping[str, Any]) -> str:
    budgets = report["scope"]["budgets"]
    kinds = sorted({each["kind"] for each in budgets})
    counted = [f"{sum(each['kind'] == kind for each in budgets)} {kind}" for kind in kinds]
    return f"{len(budgets)} budgets: {', '.join(counted)}"


def _signer(integrity: Mapping[str, Any]) -> Any:
    if integrity["signature"] is None:
        return muted("not signed")
    return code(integrity["signed_by"])


def _open_criteria(report: Mapping[str, Any]) -> Block:
    shown_states = ("not_satisfied", "partly_satisfied", "not_evaluated")
    found = [each for each in report["criteria"] if each["state"] in shown_states]
    found.sort(key=lambda each: shown_states.index(each["state"]))
    return table(
        "Criteria that did not hold, or could not be evaluated",
        [("Criterion", 2), ("About", 6), ("State", 3)],
        [[strong(each["id"]), each["title"], state(each["state"])] for each in found],
        empty="None.",
    )
