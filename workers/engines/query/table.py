"""The bounded table: exact integers per group, as the database gives them. Never released."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from threading import Lock
from typing import Any

import duckdb

from app.domain.columns import Key
from app.domain.datasets import Dataset
from app.domain.queries.asking import TOTAL_MOST
from app.domain.queries.joins import joined
from app.domain.queries.planning import QueryPlan
from app.domain.queries.quantities import KeyBins, Spread, Tally
from app.domain.queries.spec import Bins, PrivateKeys, PublicKeys
from workers.engines.api import EngineRefused, Input, LiveTable, Work
from workers.engines.query.bounding import bounding_query, spread_query
from workers.engines.query.live import DIALECTS, Row, check_live, open_live, over_live
from workers.engines.query.slices import (
    Slice,
    SliceKind,
    Slicing,
    hash_slices,
    limit_bytes,
    range_slices,
    slicing_of,
)
from workers.engines.query.source import joined_table, names_used
from workers.engines.rows import TABLE, Attached, attach_tables, has_positions

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

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them."""
        return (() if self.totals is None else (self.totals,)) + self.spreads

    def run(self, rows_of: Callable[[str], list[Row]], plan: QueryPlan) -> BoundedTable:
        """The integers of the rows that are attached, or of one slice of them."""
        keys = len(plan.spec.group_by)
        totals = [] if self.totals is None else rows_of(self.totals)
        weights = [rows_of(text) for text in self.spreads]
        return BoundedTable(
            {tuple(row[:keys]): tuple(map(int, row[keys:])) for row in totals},
            tuple(
                weights_of(spread, keys, rows)
                for spread, rows in zip(plan.spreads, weights, strict=True)
            ),
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything about a bounded table that is known before a row is read.

    slicing: how units are divided; None where they are worked on at once.
    statements: by the kind of slice, or under None for all rows at once.
    """

    slicing: Slicing | None
    statements: Mapping[SliceKind | None, Statements]


def prepare_table(plan: QueryPlan, work: Work, *, memory_limit: str) -> Prepared:
    """The statements of a job; opens no file, and of a live database the catalog alone.

    Raises:
        EngineRefused: a live table, and something that its database cannot do.
    """
    live = work.inputs[0].live
    if live is not None or any(each.live is not None for each in other_inputs(work).values()):
        return _prepare_live(plan, work, live)
    slicing = slicing_of(plan, work.inputs[0].dataset, memory_limit)
    kinds: list[SliceKind | None] = [None] if slicing is None else ["hash"]
    if slicing is not None and _may_be_sorted(plan, work):
        kinds.append("range")
    return Prepared(slicing, {kind: _statements(plan, work, kind) for kind in kinds})


def bounded_table(
    work: Work,
    plan: QueryPlan,
    prepared: Prepared | None = None,
    *,
    threads: int = 2,
    memory_limit: str = "2GB",
) -> BoundedTable:
    """The exact integers of a plan over the job's rows.

    Args:
        work: the job, its units started (L2).
        plan: what is measured.
        prepared: what `prepare_table` gave for both; None prepares now.
        threads: worker threads of the database.
        memory_limit: of all of them together, such as `2GB`.

    Guarantee: adding or removing one unit changes at most L0 groups, and each total by at most its
    quantity's bound. Independent of the order of rows, of slices and of the number of threads.

    Raises:
        RowsUnreadable: the file or the database failed.
    """
    if prepared is None:
        prepared = prepare_table(plan, work, memory_limit=memory_limit)
    live = work.inputs[0].live
    if live is not None:
        with open_live(live) as database:
            return prepared.statements[None].run(database.run, plan)
    slicing = prepared.slicing
    lanes = 1 if slicing is None or _has_lines(work) else threads
    share = f"{limit_bytes(memory_limit) // lanes // 2**20}MiB"
    with ExitStack() as stack:
        connections = [
            stack.enter_context(
                attach_tables(
                    _tables(plan, work, with_position="range" in prepared.statements),
                    spill=work.scratch / "spill" / str(lane),
                    threads=threads // lanes,
                    memory_limit=share if lanes > 1 else memory_limit,
                )
            )
            for lane in range(lanes)
        ]
        if slicing is None:
            return prepared.statements[None].run(_asked(connections[0]), plan)
        slices = None
        if "range" in prepared.statements and plan.unit_column is not None:
            slices = range_slices(connections[0], plan.unit_column, slicing)
        return _added_up(_in_lanes(prepared, plan, connections, slices or hash_slices(slicing)))


def _in_lanes(
    prepared: Prepared,
    plan: QueryPlan,
    connections: Sequence[duckdb.DuckDBPyConnection],
    slices: Sequence[Slice],
) -> list[BoundedTable]:
    """The tables of all slices; each connection takes the next one that nobody has taken."""
    waiting = iter(slices)
    taking = Lock()

    def work_off(connection: duckdb.DuckDBPyConnection) -> list[BoundedTable]:
        done: list[BoundedTable] = []
        while True:
            with taking:
                each = next(waiting, None)
            if each is None:
                return done
            asked = _asked(connection, each.values)
            done.append(prepared.statements[each.kind].run(asked, plan))

    with ThreadPoolExecutor(len(connections)) as lanes:
        return [table for done in lanes.map(work_off, connections) for table in done]


def _asked(
    connection: duckdb.DuckDBPyConnection, values: Mapping[str, Any] | None = None
) -> Callable[[str], list[Row]]:
    given = None if values is None else dict(values)
    return lambda text: connection.execute(text, given).fetchall()


def _added_up(tables: Sequence[BoundedTable]) -> BoundedTable:
    """The sums over all slices: a unit lies in one of them, so each keeps its bound."""
    cells: dict[Cell, tuple[int, ...]] = {}
    spreads: tuple[Weights, ...] = tuple({} for _ in tables[0].spreads) if tables else ()
    for table in tables:
        for cell, totals in table.cells.items():
            before = cells.get(cell, (0,) * len(totals))
            cells[cell] = tuple(map(_clamped_sum, before, totals))
        for held, found in zip(spreads, table.spreads, strict=True):
            for cell, weights in found.items():
                bins = held.setdefault(cell, {})
                for place, weight in weights.items():
                    bins[place] = _clamped_sum(bins.get(place, 0), weight)
    return BoundedTable(cells, spreads)


def _clamped_sum(one: int, other: int) -> int:
    return max(-TOTAL_MOST, min(TOTAL_MOST, one + other))


def weights_of(spread: Spread | Tally, keys: int, rows: Sequence[tuple[Any, ...]]) -> Weights:
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


def _statements(plan: QueryPlan, work: Work, slices: SliceKind | None) -> Statements:
    salt = work.salt
    dataset = joined(work.inputs[0].dataset, plan.spec.joins, other_datasets(work))
    totals = None
    if plan.noisy:
        totals = bounding_query(plan, dataset, salt, slices=slices).sql(dialect="duckdb")
    spreads = [spread_query(plan, each, dataset, salt, slices=slices) for each in plan.spreads]
    return Statements(totals, tuple(spread.sql(dialect="duckdb") for spread in spreads))


def _prepare_live(plan: QueryPlan, work: Work, live: LiveTable | None) -> Prepared:
    source = work.inputs[0]
    if live is None or plan.spec.joins or source.blocks is not None:
        raise EngineRefused("a live table is queried by itself: no joins and no blocks")
    dialect, salt = DIALECTS[live.kind], work.salt
    names = names_used(plan, None)
    columns = [column for column in source.dataset.columns if column.name in names]
    totals = None
    if plan.noisy:
        query = bounding_query(plan, source.dataset, salt, dialect)
        totals = over_live(query, live, columns, dialect)
    spreads = tuple(
        over_live(spread_query(plan, each, source.dataset, salt, dialect), live, columns, dialect)
        for each in plan.spreads
    )
    statements = Statements(totals, spreads)
    check_live(live, columns, statements.texts)
    return Prepared(None, {None: statements})


def _may_be_sorted(plan: QueryPlan, work: Work) -> bool:
    return not plan.spec.joins and has_positions(work.inputs[0])


def _has_lines(work: Work) -> bool:
    """Whether a file is read line by line into one database, which a second would do again."""
    inputs = (work.inputs[0], *other_inputs(work).values())
    return any(part.format == "csv" for source in inputs for part in source.files)


def _tables(plan: QueryPlan, work: Work, *, with_position: bool) -> list[Attached]:
    inputs = other_inputs(work)
    others = [
        _attached(inputs[join.dataset_id], joined_table(index), names_used(plan, index))
        for index, join in enumerate(plan.spec.joins)
    ]
    first = _attached(work.inputs[0], TABLE, names_used(plan, None))
    return [replace(first, with_position=with_position), *others]


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
