"""The bounded table: exact integers per group, as the database gives them. Never released."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from app.domain.columns import Key
from app.domain.datasets import Dataset
from app.domain.queries.joins import joined
from app.domain.queries.planning import QueryPlan
from app.domain.queries.quantities import KeyBins, Spread
from app.domain.queries.spec import Bins, PrivateKeys, PublicKeys
from workers.engines.api import Input, Work
from workers.engines.query.bounding import bounding_query, spread_query
from workers.engines.query.source import joined_table, names_used
from workers.engines.rows import TABLE, Attached, attach_tables

# A bin's key is its place, 0 for the first; the NULL of a private key column is None.
Cell = tuple[Key | None, ...]
# Per group, the weight of each bin by its place.
Weights = dict[Cell, dict[int, int]]


@dataclass(frozen=True, slots=True)
class BoundedTable:
    """What each unit adds is bounded; the totals are exact and therefore private.

    cells: per group its totals, one for each noisy quantity of the plan, in that order.
    spreads: the weights of each of the plan's spreads, in that order; no weight is a 0.
    """

    cells: dict[Cell, tuple[int, ...]]
    spreads: tuple[Weights, ...] = ()


@dataclass(frozen=True, slots=True)
class Statements:
    """The texts that compute a plan's integers; of the plan, the schema and the salt alone.

    totals: the scalar quantities per group; None where there are none.
    spreads: one for each of the plan's spreads.
    """

    totals: str | None
    spreads: tuple[str, ...]


def bounding_sql(plan: QueryPlan, work: Work) -> Statements:
    """All statements of a job, for the database inside the worker."""
    salt = work.salt
    dataset = joined(work.inputs[0].dataset, plan.spec.joins, other_datasets(work))
    totals = bounding_query(plan, dataset, salt) if plan.noisy else None
    spreads = [spread_query(plan, spread, dataset, salt) for spread in plan.spreads]
    return Statements(
        None if totals is None else totals.sql(dialect="duckdb"),
        tuple(spread.sql(dialect="duckdb") for spread in spreads),
    )


def bounded_table(
    work: Work,
    plan: QueryPlan,
    statements: Statements | None = None,
    *,
    threads: int = 2,
    memory_limit: str = "2GB",
) -> BoundedTable:
    """The exact integers of a plan over the job's rows.

    Args:
        work: the job, its units started (L2).
        plan: what is measured.
        statements: what `bounding_sql` gave for both; None writes them now.
        threads: worker threads of the database.
        memory_limit: such as `2GB`.

    Guarantee: adding or removing one unit changes at most L0 groups, and each total by at most its
    quantity's bound. Independent of the order of rows and of the number of threads.

    Raises:
        RowsUnreadable: the file or the database failed.
    """
    source = work.inputs[0]
    texts = bounding_sql(plan, work) if statements is None else statements
    keys = len(plan.spec.group_by)
    inputs = other_inputs(work)
    others = [
        _attached(inputs[join.dataset_id], joined_table(index), names_used(plan, index))
        for index, join in enumerate(plan.spec.joins)
    ]
    with attach_tables(
        [_attached(source, TABLE, names_used(plan, None)), *others],
        spill=work.scratch / "spill",
        threads=threads,
        memory_limit=memory_limit,
    ) as connection:
        totals = [] if texts.totals is None else connection.execute(texts.totals).fetchall()
        weights = [connection.execute(text).fetchall() for text in texts.spreads]
    return BoundedTable(
        {tuple(row[:keys]): tuple(map(int, row[keys:])) for row in totals},
        tuple(
            weights_of(spread, keys, rows)
            for spread, rows in zip(plan.spreads, weights, strict=True)
        ),
    )


def weights_of(spread: Spread, keys: int, rows: Sequence[tuple[Any, ...]]) -> Weights:
    """Rows of a spread's statement as weights by group and bin.

    Args:
        spread: whose bins they are.
        keys: how many group keys stand before the bin.
        rows: group keys, bin or the key that stands for it, weight.
    """
    names = spread.bins.keys if isinstance(spread.bins, KeyBins) else range(spread.bins.size)
    places = {name: place for place, name in enumerate(names)}
    found: Weights = {}
    for row in rows:
        found.setdefault(tuple(row[:keys]), {})[places[row[keys]]] = int(row[keys + 1])
    return found


def _attached(source: Input, table: str, names: Sequence[str]) -> Attached:
    """An input with the columns that the plan reads; the others are never attached."""
    columns = [column for column in source.dataset.columns if column.name in names]
    return Attached(source, table, columns)


def other_inputs(work: Work) -> dict[str, Input]:
    """What a query of this job may join, by dataset: its other inputs and public datasets."""
    private = {source.dataset.id: source for source in work.inputs[1:]}
    return {**work.public, **private}


def other_datasets(work: Work) -> dict[str, Dataset]:
    """The schemas of `other_inputs`."""
    return {id_: source.dataset for id_, source in other_inputs(work).items()}


def public_cells(plan: QueryPlan) -> Iterator[Cell]:
    """Every group that the public keys make, in the order of the spec, whatever the data."""
    axes: list[tuple[Key, ...]] = []
    for group in plan.spec.group_by:
        if isinstance(group, Bins):
            axes.append(tuple(range(len(group.edges) - 1)))
        elif isinstance(group, PublicKeys):
            axes.append(group.keys)
        elif isinstance(group, PrivateKeys):
            raise TypeError("private keys make no public cells")
    return product(*axes)
