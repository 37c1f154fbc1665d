"""The system and the data: section 4."""

from collections.abc import Mapping
from typing import Any

from app.reporting.rendering.blocks import (
    Block,
    Content,
    Line,
    bullets,
    code,
    facts,
    line,
    muted,
    paragraph,
    strong,
    table,
    when,
)

RELATIONS: Mapping[str, str] = {
    "add_remove": "add or remove one unit; the number of units is private",
    "replace_one": "replace one unit by another; the number of units is public",
    "zero_out": "one unit is there or is left blank",
}


def system(report: Mapping[str, Any]) -> list[Block]:
    """What is protected, what for, and who sees what."""
    about = report["system"]
    return [
        facts("Purpose and data", _about(about)),
        facts("What is protected", _protected(about)),
        facts("Who sees what", _parties(about)),
        table(
            "Columns",
            [("Column", 3), ("Type", 2), ("Bounds or domain", 5), ("Keys", 2)],
            [
                [strong(each["name"]), each["type"], _range(each), each["keys"] or muted("\u2013")]
                for each in about["data_domain"]
            ],
        ),
        table(
            "Work by kind",
            [("Kind", 3), ("Count", 1)],
            [[each["kind"], each["count"]] for each in about["kinds_of_work"]],
            numbers=(1,),
            empty="Nothing was run.",
        ),
        table(
            "Other releases of the same data, as declared",
            [("Release", 5), ("Date", 2), ("Private", 2), ("Risk assessment", 4)],
            [
                [
                    each.get("title"),
                    each.get("date"),
                    each.get("is_private"),
                    each.get("risk_assessment"),
                ]
                for each in about["releases"]["declared"]
            ],
            empty="None is declared.",
            note=about["releases"]["note"],
        ),
        paragraph("Not protected by any budget:"),
        bullets(about["unprotected_quantities"]),
        facts("The service", _service(about["service"])),
    ]


def unit_text(unit: Mapping[str, Any] | None) -> str | None:
    """The unit of privacy in words."""
    if unit is None:
        return None
    kind = str(unit["kind"])
    if kind == "record":
        return "one record"
    whose = f"all rows of one {unit.get('column')}"
    return f"one user ({whose})" if kind == "user" else f"one user in one period ({whose})"


def blocks_text(blocks: Mapping[str, Any] | None) -> Content:
    """The public partition in words; each part has the whole limit (R8)."""
    if not blocks or blocks["kind"] == "none":
        return muted("none")
    if blocks["kind"] == "unit_hash":
        divided = f"users, by a public hash into {blocks['count']:,} blocks"
    else:
        divided = (
            f"rows, by {blocks['column']} into one block for each {blocks['period']}"
            f" ({blocks['time_zone']})"
        )
    return f"{divided}; each has the whole limit, and figures are those of the worst"


def _about(about: Mapping[str, Any]) -> list[tuple[str, Content]]:
    size = about["size"]
    population = about["population"]
    return [
        ("Purpose", about["purpose"]),
        ("Registered", when(about["dataset"]["registered_at"])),
        ("State", f"{about['dataset']['state']}, {about['dataset']['access']}"),
        ("Versions", about["dataset"]["versions"]),
        ("Modality", about["modality"]),
        (
            "Declared size",
            None
            if size["nominal_size"] is None
            else [line(f"{size['nominal_size']:,} units"), muted(size["note"])],
        ),
        (
            "Population",
            None
            if population["name"] is None
            else f"{population['name']}, {population['datasets']} dataset(s) of the same people",
        ),
        ("Kept until", about["retention"]),
        (
            "Technique",
            f"{about['technique']['model_name']}; {about['technique']['technique_class']}",
        ),
        ("Query model", about["query_model"]),
    ]


def _protected(about: Mapping[str, Any]) -> list[tuple[str, Content]]:
    unit = about["unit"]
    caps = [
        line(f"at most {value:,} {key.replace('max_', '').replace('_', ' ')}")
        for key, value in sorted((unit or {}).items())
        if key.startswith("max_") and value is not None
    ]
    return [
        ("Unit of privacy", unit_text(unit)),
        ("Neighbouring relation", RELATIONS.get(about["relation"] or "")),
        ("Contribution caps, enforced", caps or muted("none are declared")),
        ("Blocks", blocks_text(about["blocks"])),
        ("Trust model", about["trust_model"]),
    ]


def _parties(about: Mapping[str, Any]) -> list[tuple[str, Content]]:
    parties = about["parties"]
    attested: list[Line] = []
    for each in parties["attested"]:
        attested.append(line(each["statement"]))
        attested += [
            line(f"{party.get('name')} sees {party.get('sees')} data")
            for party in each["facts"].get("parties", [])
        ]
        attested.append(muted(f"attestation stands until {when(each['expires_at'])}"))
    return [
        ("See raw rows", [line(each) for each in parties["sees_raw"]]),
        ("See noised results", [line(each) for each in parties["sees_noised"]]),
        ("As attested", attested),
    ]


def _range(column: Mapping[str, Any]) -> Content:
    if column["bounds"] is not None:
        return f"{column['bounds'].get('low')} to {column['bounds'].get('high')}"
    if column["domain_values"] is not None:
        return f"{column['domain_values']:,} values, source: {column['domain_source']}"
    return muted("none declared")


def _service(service: Mapping[str, Any]) -> list[tuple[str, Content]]:
    return [
        ("Version", service["version"]),
        ("Sampler of queries", code(service["query_sampler"])),
        ("Sampler of training", code(service["training_sampler"])),
        ("Source of keys", code(service["key_source"])),
        ("Runs code of analysts", service["runs_analyst_code"]),
        (
            "Libraries",
            [line(f"{each['name']} {each['version']}") for each in service["libraries"]],
        ),
    ]
