"""Jobs, criteria and exceptions: sections 7 to 9."""

from collections.abc import Mapping
from typing import Any, Final

from app.reporting.rendering.blocks import (
    Block,
    Content,
    callout,
    code,
    entries,
    heading,
    line,
    muted,
    number,
    paragraph,
    state,
    strong,
    table,
    when,
)

MOST_LISTED: Final = 200
LAYERS_FIRST: Final = (
    "privacy parameters and unit",
    "algorithms, utility, bias",
    "deployment",
)
METHODS: Final[Mapping[str, str]] = {
    "examine": "examined in the records",
    "interview": "asked of a person",
    "test": "tested",
    "recompute": "computed again",
}


def jobs(report: Mapping[str, Any]) -> list[Block]:
    """Section 7: shapes of work, then each piece of it, as far as a page can hold."""
    section = report["jobs"]
    listed = section["listed"]
    left_out = len(listed) - MOST_LISTED
    return [
        table(
            "Mechanisms: work that is alike in kind, mechanism, sampler, clipping and noise",
            [("Shape", 2), ("Kind", 2), ("Mechanism", 8), ("Sampler", 4), ("Runs", 1)],
            [
                [
                    code(each["shape"]),
                    each["kind"]
                    if each["tool"] is None
                    else [line(each["kind"]), muted(each["tool"])],
                    _mechanism(each),
                    [code(name) for name in each["samplers"]],
                    each["count"],
                ]
                for each in section["shapes"][:MOST_LISTED]
            ],
            numbers=(4,),
            empty="Nothing was run.",
        ),
        table(
            "Each piece of work, in the order of its reservation",
            [("Work", 5), ("Shape", 2), ("State", 2), ("Units", 2), ("Asked", 3), ("Settled", 3)],
            [
                [
                    [
                        line(each["purpose"] or each["kind"], "strong"),
                        code(each["job"] or each["reservation"]),
                    ],
                    code(each["shape"]),
                    _state_of(each),
                    number(f"{each['started_units']:,} of {each['max_units']:,}"),
                    when(each["created_at"]),
                    when(each["resolved_at"]) or muted("open"),
                ]
                for each in listed[:MOST_LISTED]
            ],
            numbers=(3,),
            empty="Nothing was run.",
            note=f"{left_out:,} more are in the JSON form of this report, field jobs.listed."
            if left_out > 0
            else "Units that were started are charged, whatever happened next.",
        ),
        table(
            "What was released on accuracy",
            [
                ("Job", 5),
                ("Measures", 2),
                ("With a 95% half-width", 3),
                ("Accuracy, public set", 3),
            ],
            [
                [
                    code(each["job"]),
                    each["measures"],
                    each["with_half_width_95"],
                    muted("\u2013")
                    if each["test_accuracy"] is None
                    else number(each["test_accuracy"]),
                ]
                for each in section["utility"][:MOST_LISTED]
            ],
            numbers=(1, 2, 3),
            empty="Nothing was released on accuracy.",
            note="A half-width covers the noise, never what bounds and caps cut off.",
        ),
        *_audits(section),
        _attested("Effects on groups, as attested", section["group_effects"]),
        _attested("Post-processing, as attested", section["post_processing"]),
    ]


def criteria(report: Mapping[str, Any]) -> list[Block]:
    """Section 8: every criterion with its rule and what was observed, by layer; no score."""
    found = report["criteria"]
    if not found:
        return [callout("Not evaluated", "No criterion was evaluated.", "warning")]
    blocks: list[Block] = [
        paragraph(
            "Each criterion was judged from records by the rule that it names. There is no total"
            " score: a strong layer does not make up for a weak one below it. What was not"
            " evaluated is not a pass."
        ),
        paragraph(
            f"Section numbers are those of {report['edition']['source_edition']}; identifiers that"
            " start with PRJ, and the numbers of the hazards, are of this service.",
            "note",
        ),
    ]
    layers = list(dict.fromkeys(each["layer"] for each in found))
    layers.sort(key=lambda layer: LAYERS_FIRST.index(layer) if layer in LAYERS_FIRST else 99)
    for layer in layers:
        blocks.append(heading(layer[:1].upper() + layer[1:]))
        blocks.append(entries(_entry(each) for each in found if each["layer"] == layer))
    return blocks


def exceptions(report: Mapping[str, Any]) -> list[Block]:
    """Section 9: what did not hold, and what was decided about it."""
    return [
        table(
            "Open exceptions and overriding decisions",
            [("About", 3), ("What was observed", 6), ("Owner", 3), ("Due", 2), ("Decision", 4)],
            [
                [
                    [strong(each["title"]), code(each["about"])],
                    each["observed"],
                    code(each["owner"]) if each["owner"] else muted("none recorded"),
                    each["due"] or muted("none recorded"),
                    each["decision"] or muted("none recorded"),
                ]
                for each in report["exceptions"]
            ],
            empty="No criterion failed, and no limit was raised or thawed.",
        )
    ]


def _entry(finding: Mapping[str, Any]) -> dict[str, Any]:
    facts: list[tuple[str, Content]] = [
        ("Rule", finding["rule"]),
        ("Observed", finding["observed"] or muted("nothing")),
        (
            "Evidence",
            code(", ".join(finding["evidence"])) if finding["evidence"] else muted("none"),
        ),
        ("Method", f"{METHODS.get(finding['method'], finding['method'])}, {when(finding['at'])}"),
    ]
    if finding["note"]:
        facts.append(("Note", finding["note"]))
    return {
        "id": finding["id"],
        "title": f"{finding['title']}{_section_of(finding)}",
        "state": state(finding["state"]),
        "facts": facts,
    }


def _section_of(finding: Mapping[str, Any]) -> str:
    """Where the criterion stands in the draft or, as far as it was read, in the final edition."""
    number, final = finding["section"], " (final)"
    if not any(character.isdigit() for character in number):
        return ""
    if number.endswith(final):
        return f" (final edition, {number.removesuffix(final)})"
    return f" (draft, {number})"


def _mechanism(shape: Mapping[str, Any]) -> list[Any]:
    lines = [line(shape["mechanism_text"])]
    if shape["steps"] is not None:
        lines.append(muted(f"steps {shape['steps']:,}"))
    if shape["clip"]:
        said = ", ".join(
            f"{key.replace('_', ' ')} {shape['clip'][key]}" for key in sorted(shape["clip"])
        )
        lines.append(muted(f"clipping: {said}"))
    if shape["converted_from"]:
        lines.append(muted("stated for one record and converted to the unit (R7)"))
    if shape["tuning"]:
        lines.append(muted(f"tuning: {shape['tuning']}"))
    return lines


def _state_of(each: Mapping[str, Any]) -> Content:
    lines = [line(each["state"])]
    if each["failure_code"]:
        lines.append(muted(each["failure_code"]))
    return lines


def _audits(section: Mapping[str, Any]) -> list[Block]:
    if not section["audits"]:
        return []
    return [
        table(
            "Audits of training runs: support for a bound, never proof of it",
            [("Job", 5), ("Canaries", 2), ("Claimed", 2), ("Shown at least", 2), ("Verdict", 3)],
            [
                [
                    code(each["job"]),
                    each["audit"].get("canaries"),
                    number(each["audit"].get("claimed_epsilon") or ""),
                    number(each["audit"].get("bound_epsilon") or ""),
                    each["audit"].get("verdict"),
                ]
                for each in section["audits"][:MOST_LISTED]
            ],
            numbers=(1, 2, 3),
            note="Epsilon at the delta of each audit. A run that shows less than it claims is"
            " consistent with its claim; that is all.",
        )
    ]


def _attested(caption: str, found: list[dict[str, Any]]) -> Block:
    return table(
        caption,
        [("Statement", 6), ("Person", 3), ("Made", 3)],
        [[each["statement"], each["person_name"], when(each["made_at"])] for each in found],
        empty="Nothing is recorded.",
    )
