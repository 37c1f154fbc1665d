"""The guarantee and the ledger it stands on: sections 5 and 6."""

from collections.abc import Mapping
from typing import Any

from app.reporting.charts import statement_charts
from app.reporting.rendering.blocks import (
    Block,
    Content,
    bullets,
    callout,
    code,
    drawn,
    facts,
    heading,
    line,
    muted,
    number,
    paragraph,
    strong,
    table,
    when,
)
from app.reporting.rendering.pages.system import RELATIONS, unit_text
from app.reporting.statements.wording import PUBLISHED


def guarantee(report: Mapping[str, Any]) -> list[Block]:
    """Section 5; the proven bound first, frozen plans under a heading of their own."""
    section = report["guarantee"]
    unit, relation = unit_text(section["unit"]), RELATIONS.get(section["relation"] or "")
    blocks: list[Block] = [
        paragraph(
            f"Protected is {unit}. Neighbouring datasets: {relation}. The proven bound holds for"
            f" {section['proven_bound']['holds_for']}."
        ),
        heading("Proven bound"),
        *_disagreements(section),
        _converted(section),
        _sums(section),
        _native(section),
    ]
    if section["lifetime"] is not None:
        blocks += [_periods(section), _groups(section), _trade_off(section)]
    auditor = report["statements"]["auditor"]
    if auditor is not None:
        blocks += drawn(statement_charts(report["statements"])["trade-off"])
        blocks += [heading("In words, for the auditor")]
        blocks += [paragraph(each) for each in auditor["text"]]
    blocks += [heading("If fixed in advance"), *_plans(section)]
    return blocks


def ledger(report: Mapping[str, Any]) -> list[Block]:
    """Section 6: the chains, what a replay found, and the decisions that they hold."""
    section = report["ledger"]
    checkpoint, released = section["checkpoint"], section["released_reservations"]
    return [
        facts(
            "The checkpoint that this report stands on",
            [
                ("Number", checkpoint["seq"]),
                ("Time", when(checkpoint["at"])),
                ("Hash", code(checkpoint["hash"])),
                ("Signed by key", code(checkpoint["public_key_fingerprint"])),
                ("Opening hash of every chain", code(report["integrity"]["hash_first"])),
                ("Replay", section["replay"]["finding"]),
            ],
        ),
        *_faults(section),
        table(
            "Chains at the checkpoint",
            [("Budget", 3), ("Accountant", 2), ("Entries", 1), ("Closing hash", 6)],
            [
                [
                    [strong(each["name"]), muted(each["kind"])],
                    each["accountant"],
                    each["entries"],
                    code(each["head_hash"]),
                ]
                for each in section["chains"]
            ],
            numbers=(2,),
        ),
        table(
            "Entries by kind",
            [("Kind", 3), ("Entries", 1)],
            [[each["kind"], each["count"]] for each in section["by_kind"]],
            numbers=(1,),
        ),
        facts(
            "Released and refused",
            [
                (
                    "Reservations released",
                    [number(f"{released['count']:,}"), muted(released["why"])],
                ),
                ("Released after first access", len(released["after_first_access"])),
                ("Requests refused", section["refusals"]["total"]),
                (
                    "Refused, by code",
                    [
                        line(f"{code_name}: {count:,}")
                        for code_name, count in sorted(section["refusals"]["by_code"].items())
                    ]
                    or muted("none"),
                ),
            ],
        ),
        table(
            "Limits that were moved",
            [("Date", 2), ("Budget", 3), ("Change", 2), ("From", 2), ("To", 2)],
            [
                [
                    each["date"],
                    each["name"],
                    each["kind"],
                    line(each["from"]["epsilon"], "number"),
                    line(each["to"]["epsilon"], "number"),
                ]
                for each in section["changes"]
            ],
            numbers=(3, 4),
            empty="No limit was moved.",
        ),
        table(
            "Decisions of two people",
            [("Action", 2), ("State", 2), ("Reason", 4), ("Asked", 4), ("Decided", 4)],
            [
                [
                    strong(each["action"].replace("_", " ")),
                    each["state"],
                    each["reason"],
                    [code(each["requested_by"]), muted(when(each["requested_at"]))],
                    [code(each["decided_by"]), *_on_behalf(each), muted(when(each["decided_at"]))]
                    if each["decided_by"]
                    else muted("open"),
                ]
                for each in section["approvals"]
            ],
            empty="None.",
        ),
        *_openings(section),
        *_publications(section),
    ]


def _disagreements(section: Mapping[str, Any]) -> list[Block]:
    wrong = [each for each in section["proven_bound"]["budgets"] if not each["agrees"]]
    return [
        callout(
            f"The figure shown for {each['name']} is not the one computed here",
            f"Shown: epsilon {each['as_shown']}. Computed from the exact sums of the chain: epsilon"
            f" {each['consumed']['epsilon']}.",
            "warning",
        )
        for each in wrong
    ]


def _converted(section: Mapping[str, Any]) -> Block:
    return table(
        "Proven bound of what is consumed, at two deltas",
        [
            ("Budget", 3),
            ("Epsilon", 2),
            ("at delta", 2),
            ("Epsilon", 2),
            ("at delta", 2),
            ("By", 4),
        ],
        [
            [
                [strong(each["name"]), muted(each["kind"])],
                number(first["epsilon"]),
                number(first["delta"]),
                number(second["epsilon"]),
                number(second["delta"]),
                first["formula"],
            ]
            for each in section["proven_bound"]["budgets"]
            for first, second in [(each["converted"][0], each["converted"][-1])]
        ],
        numbers=(1, 2, 3, 4),
        note="Computed from the exact sums and the fixed policy of each chain. The full formula of"
        " each accountant stands in section 12.",
    )


def _sums(section: Mapping[str, Any]) -> Block:
    return table(
        "A second upper bound of the same charges: summed worst cases",
        [("Budget", 4), ("Proven bound", 2), ("Summed", 2), ("Not below it", 2)],
        [
            [
                strong(each["name"]),
                number(each["consumed"]["epsilon"]),
                number(each["crosscheck"]["epsilon"])
                if each["crosscheck"]["epsilon"] is not None
                else muted("unbounded"),
                each["crosscheck"]["is_not_below"],
            ]
            for each in section["proven_bound"]["budgets"]
        ],
        numbers=(1, 2),
        note="Unbounded where some mechanism, as the Gaussian, has no finite worst case.",
    )


def _native(section: Mapping[str, Any]) -> Block:
    native = section["native"]
    orders = [each["order"] for each in native["curves"][0]["renyi"]] if native["curves"] else []
    return table(
        "Native parameters: summed Renyi loss in nats by order, and summed deltas",
        [("Budget", 4), *((f"at {order}", 2) for order in orders), ("Delta", 2)],
        [
            [
                strong(each["name"]),
                *(
                    muted("none") if at["nats"] is None else number(at["nats"])
                    for at in each["renyi"]
                ),
                number(each["delta"]),
            ]
            for each in native["curves"]
        ],
        numbers=tuple(range(1, len(orders) + 2)),
        note="The ledger keeps 36 orders as exact integers in units of 2^-40 nat; eight are shown.",
    )


def _periods(section: Mapping[str, Any]) -> Block:
    return table(
        "Per period, beside the lifetime",
        [("Scope", 4), ("From", 3), ("Until", 3), ("Consumed", 2), ("Limit", 2)],
        [
            [
                [strong(each["name"]), muted(each["kind"])],
                muted("\u2013") if not each["span"] else when(each["span"][0]),
                muted("\u2013") if not each["span"] else when(each["span"][1]),
                number(each["consumed"]["epsilon"]),
                number(each["limit"]["epsilon"]),
            ]
            for each in [section["lifetime"], *section["periods"]]
        ],
        numbers=(3, 4),
        note="A period counts what was started in it. Losses of periods add up; only the lifetime"
        " bounds all of them together.",
    )


def _groups(section: Mapping[str, Any]) -> Block:
    return table(
        "What holds for several units at once, at what the lifetime has consumed",
        [("Units", 1), ("Epsilon", 2), ("Delta", 2), ("Formula", 5)],
        [
            [each["k"], number(each["epsilon"]), number(each["delta"]), each["formula"]]
            for each in section["group"]
        ],
        numbers=(0, 1, 2),
    )


def _trade_off(section: Mapping[str, Any]) -> Block:
    points = section["trade_off"]
    return table(
        "The most that any test for one unit can detect",
        [("False-positive rate", 3), ("True-positive rate, at most", 3)],
        [
            [number(each["false_positive_rate"]), number(each["true_positive_rate_most"])]
            for each in points["points"]
        ],
        numbers=(0, 1),
        note=f"From epsilon {points['of']['epsilon']} at delta {points['of']['delta']} by"
        f" {points['formula']}.",
    )


def _plans(section: Mapping[str, Any]) -> list[Block]:
    plans = section["if_fixed_in_advance"]
    if not plans["plans"]:
        return [paragraph("No plan was frozen in advance; no figure of this kind is stated.")]
    rows = [
        [
            [strong(each["name"]), code(each["digest"] or "")],
            each["state"],
            *_plan_figures(each["if_fixed_in_advance"]),
        ]
        for each in plans["plans"]
    ]
    return [
        paragraph(f"These figures hold for {plans['holds_for']}. None of them is a proven bound."),
        table(
            "Frozen plans",
            [("Plan", 5), ("State", 2), ("Epsilon", 2), ("Delta", 2)],
            rows,
            numbers=(2, 3),
        ),
    ]


def _plan_figures(figure: Mapping[str, Any] | None) -> tuple[Content, Content]:
    if not figure:
        return None, None
    return number(figure.get("epsilon", "")), number(figure.get("delta", ""))


def _faults(section: Mapping[str, Any]) -> list[Block]:
    faults = section["replay"]["faults"]
    if not faults:
        return []
    return [
        callout("The replay found faults", "The figures of this report rest on them.", "warning"),
        table(
            "Faults of the replay",
            [("Chain", 4), ("Entry", 1), ("Reason", 5)],
            [[code(each["budget"]), each["seq"], each["reason"]] for each in faults],
            numbers=(1,),
        ),
    ]


def _on_behalf(approval: Mapping[str, Any]) -> list[Any]:
    """In whose place it was decided, where it was."""
    if "on_behalf_of" not in approval:
        return []
    return [muted("on behalf of"), code(approval["on_behalf_of"])]


def _publications(section: Mapping[str, Any]) -> list[Block]:
    published = section.get("publications")
    if not published:
        return []
    since = min(each["date"] for each in published)
    return [
        paragraph(PUBLISHED.format(since)),
        bullets(f"{each['date']}, result of job {each['job']}" for each in published),
    ]


def _openings(section: Mapping[str, Any]) -> list[Block]:
    if not section["openings"]:
        return []
    return [
        paragraph("Spend from before the service, put on record and counted:"),
        bullets(f"{each['date']}, budget {each['budget']}" for each in section["openings"]),
    ]
