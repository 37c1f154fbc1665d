"""Other deployments, other frameworks, limits and annexes: the end of 5, and 10 to 12."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.reporting.rendering.blocks import (
    Block,
    Content,
    Line,
    bullets,
    code,
    facts,
    heading,
    line,
    listing,
    muted,
    paragraph,
    strong,
    table,
)


def comparisons(report: Mapping[str, Any]) -> list[Block]:
    """Published deployments that are like this one, and why the others are left out."""
    section = report["comparisons"]
    if section is None:
        return []
    own = section["own"]
    return [
        heading("Beside published deployments"),
        paragraph(
            f"Compared is epsilon {own['epsilon']} at delta {own['delta']}: unit {own['unit']},"
            f" relation {own['relation']}, model {own['model']}. {section['note']}"
        ),
        table(
            "Deployments with the same unit and model, none ranked",
            [("Deployment", 5), ("As published", 3), ("At this delta", 3), ("Formula", 6)],
            [_deployment(each) for each in section["rows"]],
            empty="None can be compared.",
            note=f"As of {section['as_of']}. Source: {section['source']}",
        ),
        table(
            "Deployments that are not compared, by reason",
            [("Reason", 6), ("Deployments", 1)],
            _refused(section["refused"]),
            numbers=(1,),
            note="Each of them is named in the JSON form, field comparisons.refused.",
        ),
        *(
            paragraph(
                f"{each['title']}: rho {each['rho']} summed over the files, epsilon"
                f" {each['epsilon']} at delta {each['delta']} by {each['formula']}. {each['note']}",
                "note",
            )
            for each in section["together"]
        ),
    ]


def frameworks(report: Mapping[str, Any]) -> list[Block]:
    """Section 10: where each framework asks for something that is recorded here."""
    blocks: list[Block] = [
        paragraph(
            "For each framework: what this report holds that its assessor may ask for. The"
            " organisation assesses; this report concludes nothing in law."
        )
    ]
    for each in report["frameworks"]:
        blocks += [
            heading(each["name"]),
            table(
                f"{each['name']}: fields of this report",
                [("Clause", 2), ("Evidence", 7), ("Fields", 4)],
                [
                    [strong(row["clause"]), row["text"], [code(field) for field in row["fields"]]]
                    for row in each["lines"]
                ],
            ),
            facts(
                f"{each['name']}: edition and reading",
                [
                    ("Edition", f"{each['edition']}; {each['jurisdiction']}"),
                    ("Does not show", each["does_not_show"]),
                    ("Read in", f"{each['source']} ({each['basis']})"),
                    ("As of", each["as_of"]),
                    *(
                        (
                            fact["date"],
                            [line(fact["text"]), muted(f"as of {fact['as_of']}")],
                        )
                        for fact in each["status"]
                    ),
                ],
            ),
        ]
    return blocks


def limits(report: Mapping[str, Any]) -> list[Block]:
    """Section 11."""
    section = report["limits"]
    return [
        heading("Assumptions"),
        bullets(section["assumptions"]),
        heading("Limits"),
        bullets(section["limits"]),
        heading("Not evaluated"),
        table(
            "Criteria that could not be evaluated",
            [("Criterion", 2), ("About", 4), ("Why", 6)],
            [
                [strong(each["criterion"]), each["title"], each["why"]]
                for each in section["not_evaluated"]
            ],
        ),
        heading("Duties of the client"),
        bullets(section["duties_of_the_client"]),
    ]


def annexes(report: Mapping[str, Any]) -> list[Block]:
    """Section 12."""
    section = report["annexes"]
    integrity = report["integrity"]
    return [
        heading("How to verify this report"),
        bullets(section["verification_steps"], ordered=True),
        facts(
            "Hashes",
            [
                ("Evidence", code(integrity["evidence_sha256"])),
                ("Content", code(integrity["content_sha256"])),
                ("Closing hash of the lifetime chain", code(integrity["hash_last"] or "")),
                ("Checkpoint", code(integrity["checkpoint"]["hash"])),
                (
                    "Signature",
                    muted("not signed")
                    if integrity["signature"] is None
                    else code(integrity["signature"]),
                ),
            ],
        ),
        heading("Formulas"),
        facts(
            "Formulas that figures were computed by", _pairs(section["formulas"], "name", "text")
        ),
        heading("Glossary"),
        facts("Words", _pairs(section["glossary"], "term", "meaning")),
        heading("Change history"),
        table(
            "Openings and moved limits",
            [("Date", 2), ("What", 8)],
            [[each["date"], each["what"]] for each in section["change_history"]],
        ),
        *_published(report["comparisons"]),
        heading("Results in the shape of OSCAL"),
        paragraph(
            "The field annexes.oscal of the JSON form holds the criteria as observations; those"
            " that are satisfied or not satisfied are findings as well. The catalogue is our own."
        ),
        heading("Record for a registry of deployments"),
        listing("A draft record, for whoever publishes it", _yaml(section["registry_record"])),
    ]


def _deployment(row: Mapping[str, Any]) -> list[Content]:
    converted = row["converted"]
    published = [line(f"epsilon {row['epsilon']}, delta {row['delta']}"), _native(row["native"])]
    return [
        [
            strong(f"{row['organization']}, {row['product']}"),
            muted(f"{row['year']}; {row['unit_as_published']}; read: {row['verification']}"),
        ],
        published,
        muted("not converted") if converted is None else line(f"epsilon {converted['epsilon']}"),
        muted("\u2013") if converted is None else converted["formula"],
    ]


def _native(native: Mapping[str, Any] | None) -> Line:
    if native is None or native["value"] is None:
        return muted("native parameter not published")
    return line(f"{native['parameter']} {native['value']}")


def _published(section: Mapping[str, Any] | None) -> list[Block]:
    """All published deployments, a table for each unit, so that no two units are ranked."""
    if section is None:
        return []
    return [
        heading("Published deployments, by unit"),
        paragraph(
            "As published. Figures of different units, deltas or models say different things; no"
            " table holds two units, and none is ordered by size."
        ),
        *(
            table(
                f"Unit: {group['unit']}",
                [("Deployment", 5), ("Native", 3), ("Epsilon", 2), ("Delta", 2), ("Model", 2)],
                [_as_published(each) for each in group["rows"]],
            )
            for group in section["published"]
        ),
    ]


def _as_published(row: Mapping[str, Any]) -> list[Content]:
    disputed = "; sources disagree on the unit" if row["unit_is_disputed"] else ""
    return [
        [
            strong(f"{row['organization']}, {row['product']}"),
            muted(f"{row['year'] or 'undated'}; read: {row['verification']}{disputed}"),
        ],
        _native(row["native"]),
        " to ".join(row["epsilon_range"] or [row["epsilon"] or ""]) or muted("not stated"),
        row["delta"] or muted("not stated"),
        row["model"],
    ]


def _refused(refused: Sequence[Mapping[str, Any]]) -> list[list[Content]]:
    counts: dict[str, int] = {}
    for each in refused:
        counts[each["why"]] = counts.get(each["why"], 0) + 1
    return [[why, count] for why, count in sorted(counts.items(), key=lambda item: -item[1])]


def _pairs(items: list[dict[str, str]], term: str, text: str) -> list[tuple[str, str]]:
    return [(each[term], each[text]) for each in items]


def _yaml(document: Mapping[str, Any], depth: int = 0) -> str:
    """A small subset of YAML: scalars as JSON strings, so that no text turns into markup."""
    lines = []
    for key in sorted(document):
        value = document[key]
        lead = f"{'  ' * depth}{key}:"
        if isinstance(value, Mapping) and value:
            lines += [lead, _yaml(value, depth + 1)]
        elif isinstance(value, list) and value:
            lines += [lead, *(f"{'  ' * (depth + 1)}- {_scalar(each)}" for each in value)]
        else:
            lines.append(f"{lead} {_scalar(value)}")
    return "\n".join(lines)


def _scalar(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
