"""Datasets and budgets: what there is, what is used of it, and how fast."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from app.cli.signing_in import signed_in
from app.cli.terminal import GOVERNING, AsJson, console, new_table, program, show_json

Document = dict[str, Any]

SPARKS: Final = "▁▂▃▄▅▆▇█"
SPARK_DAYS: Final = 14
DIGITS_SHOWN: Final = 6
# from this share of the limit on a budget is worth a look
NEARLY_USED: Final = Decimal("0.8")


@program.command(rich_help_panel=GOVERNING)
def datasets(
    name: Annotated[str | None, typer.Argument(help="one, by name or id")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """The datasets that you may know, or one with its columns."""
    with signed_in(as_json=as_json) as ledger:
        one = None if name is None else ledger.dataset(name)
        found = [] if one is not None else list(ledger.pages("/v1/datasets"))
    if as_json:
        show_json(found if one is None else one)
    elif one is None:
        _print_datasets(found)
    else:
        _print_dataset(one)


@program.command(rich_help_panel=GOVERNING)
def budgets(
    dataset: Annotated[str | None, typer.Argument(help="of one dataset, by name or id")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """The budgets that you may read: limit, consumed, left, and how they got there."""
    with signed_in(as_json=as_json) as ledger:
        only = None if dataset is None else ledger.dataset(dataset)["id"]
        names = {each["id"]: each["name"] for each in ledger.pages("/v1/datasets")}
        found = [each for each in ledger.pages("/v1/budgets") if only in (None, each["dataset_id"])]
        for each in found:
            each["timeline"] = ledger.get(f"/v1/budgets/{each['id']}/timeline")
    if as_json:
        show_json(found)
    else:
        _print_budgets(found, names)


def sparkline(points: Sequence[Document], limit: Decimal) -> str:
    """What was left of a limit at the last charges, oldest first: one bar each, full at the top."""
    bars = []
    for point in points[-SPARK_DAYS:]:
        left = max(Decimal(0), 1 - Decimal(point["consumed"]) / limit) if limit else Decimal(0)
        bars.append(SPARKS[min(len(SPARKS) - 1, int(left * len(SPARKS)))])
    return "".join(bars)


def _print_datasets(found: Sequence[Document]) -> None:
    if not found:
        console.print("no dataset is granted to a project of yours yet", markup=False)
        return
    table = new_table("dataset", "access", "unit of privacy", "relation", "version", "state")
    for each in found:
        unit = each.get("unit_of_privacy") or {}
        row: list[str] = [each["name"], each["access"], _unit(unit), each.get("relation") or "-"]
        table.add_row(*map(Text, [*row, str(each["version"]), each["state"]]))
    console.print(table)


def _print_dataset(one: Document) -> None:
    unit = _unit(one.get("unit_of_privacy") or {})
    said = [f"{one['name']}  {one['id']}", f"{one['access']}, version {one['version']}"]
    if one.get("relation"):
        said.append(f"protects one {unit}, relation {one['relation']}")
        said.append(f"declared size {one['nominal_size']}; the true one is private")
    console.print("\n".join(said), markup=False)
    table = new_table("column", "type", "bounds", "keys")
    for column in one["columns"]:
        bounds = column.get("bounds")
        spread = f"{bounds['low']} to {bounds['high']}" if bounds else "-"
        keys = "public" if column.get("domain") else column.get("keys") or "-"
        cells: list[str] = [column["name"], column["type"], spread, keys]
        table.add_row(*map(Text, cells))
    console.print(table)


def _print_budgets(found: Sequence[Document], names: dict[str, str]) -> None:
    if not found:
        console.print("no budget can be read with this key", markup=False)
        return
    whole = ("state", "consumed", "left", "day by day")
    table = new_table("budget", "state", "limit", "consumed", "left", "day by day", whole=whole)
    for each, depth in in_tree_order(found):
        limit, consumed = each["limit"], each["consumed"]
        bars = sparkline(each["timeline"]["points"], Decimal(limit["epsilon"]))
        used, left = ("-", "slots") if consumed is None else _amounts(each)
        is_tight = consumed is not None and (
            Decimal(consumed["epsilon"]) >= NEARLY_USED * Decimal(limit["epsilon"])
        )
        table.add_row(
            Text(_called(each, depth, names)),
            Text(each["state"]),
            Text(f"{limit['epsilon']} at {limit['delta']}"),
            Text(used, style="bold" if is_tight else ""),
            Text(left),
            Text(bars),
        )
    console.print(table)
    console.print(
        "epsilon at delta; consumed is rounded up; left is the largest single pure\n"
        "charge, rounded down; the bars are what was left",
        style="dim",
    )


def in_tree_order(found: Sequence[Document]) -> list[tuple[Document, int]]:
    """Budgets with their depth, each below its parent; one whose parent is not shown is a root."""
    ids = {each["id"] for each in found}
    below: dict[str | None, list[Document]] = {}
    for each in found:
        parent = each["parent_id"] if each["parent_id"] in ids else None
        below.setdefault(parent, []).append(each)
    ordered: list[tuple[Document, int]] = []
    waiting = [(each, 0) for each in reversed(below.get(None, []))]
    while waiting:
        each, depth = waiting.pop()
        ordered.append((each, depth))
        waiting.extend((child, depth + 1) for child in reversed(below.get(each["id"], [])))
    return ordered


def _amounts(budget: Document) -> tuple[str, str]:
    remaining = budget["remaining"]
    used = _rounded(budget["consumed"]["epsilon"], ROUND_CEILING)
    return used, _rounded(remaining["epsilon"], ROUND_FLOOR) if remaining else "-"


def _rounded(amount: str, direction: str) -> str:
    """To a few digits, against us; --json has them all."""
    return f"{Context(prec=DIGITS_SHOWN, rounding=direction).create_decimal(amount):f}"


def _called(budget: Document, depth: int, names: dict[str, str]) -> str:
    if depth:
        return "  " * depth + str(budget["name"])
    dataset = names.get(budget["dataset_id"], str(budget["dataset_id"]))
    return f"{dataset}: {budget['name']}"


def _unit(unit: Document) -> str:
    if not unit:
        return "-"
    return unit["kind"] if "column" not in unit else f"{unit['kind']} by {unit['column']}"
