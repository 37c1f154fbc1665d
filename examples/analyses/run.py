"""What is asked of each table, the release of it, and the values that nobody else would see.

The plan, the bounds and the noise are those of the service's workers; a ledger is not kept here, so
nothing but these public tables should be asked this way. `examples.demo` runs a whole service.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import duckdb

from app.domain.datasets import dataset_from_json
from app.domain.queries import parse_query, plan_query
from examples.analyses.data import write_flights, write_purchases, write_tumours
from workers.engines.api import Input, ReservedPart, Work
from workers.engines.query.engine import QueryEngine


@dataclass(frozen=True, slots=True)
class Analysis:
    """One question about one table.

    write: makes the table in a folder.
    declaration: its public schema, unit and caps; spec: the question.
    truth: the same without bounds and noise: the key, then each measure in the spec's order.
    """

    title: str
    write: Callable[[Path], Path]
    declaration: Mapping[str, Any]
    spec: Mapping[str, Any]
    truth: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One released figure. `error` holds noise, and what caps and bounds cut off."""

    key: object
    measure: str
    released: float
    half_width_95: float | None
    true: float

    @property
    def error(self) -> float:
        """How far the release is off."""
        return self.released - self.true


def _private(name: str, columns: list[dict[str, Any]], **declared: Any) -> dict[str, Any]:
    source = {"connection": "tables", "path": f"{name}.parquet", "format": "parquet"}
    return {
        "name": name,
        "access": "private",
        "source": source,
        "columns": columns,
        "relation": "add_remove",
        **declared,
    }


def _bounded(name: str, low: str, high: str, grid: str, **more: Any) -> dict[str, Any]:
    bounds = {"low": low, "high": high}
    return {"name": name, "type": "float64", "bounds": bounds, "grid": grid, **more}


AIRPORTS: Final = ["EWR", "JFK", "LGA"]

ANALYSES: Final = (
    Analysis(
        title="Flights by airframe: all flights of one airframe are the unit, epsilon 1",
        write=write_flights,
        declaration=_private(
            "flights",
            [
                {"name": "tailnum", "type": "string", "nullable": True},
                {"name": "origin", "type": "string", "domain": AIRPORTS, "domain_source": "public"},
                _bounded("dep_delay", "-30", "120", "1", nullable=True),
            ],
            unit_of_privacy={
                "kind": "user",
                "column": "tailnum",
                "max_groups_per_user": 3,
                "max_rows_per_user_group": 200,
            },
            nominal_size=4000,
        ),
        spec={
            "v": 1,
            "measures": [{"fn": "count"}, {"fn": "mean", "col": "dep_delay"}],
            "group_by": [{"col": "origin", "keys": "domain"}],
            "privacy": {"epsilon": "1", "delta": "0", "noise": "discrete_laplace"},
        },
        truth="SELECT origin, count(*), avg(dep_delay) FROM t WHERE tailnum NOTNULL GROUP BY 1",
    ),
    Analysis(
        title="CDNOW by customer: all purchases of one customer are the unit, epsilon 1",
        write=write_purchases,
        declaration=_private(
            "purchases",
            [
                {"name": "customer", "type": "string"},
                {"name": "discs", "type": "int64"},
                _bounded("dollars", "0", "200", "1"),
            ],
            unit_of_privacy={
                "kind": "user",
                "column": "customer",
                "max_groups_per_user": 3,
                "max_rows_per_user_group": 10,
            },
            nominal_size=24_000,
        ),
        spec={
            "v": 1,
            "measures": [{"fn": "count"}, {"fn": "sum", "col": "dollars"}],
            "group_by": [{"bin": "discs", "edges": [1, 2, 4, 8, 100]}],
            "privacy": {"epsilon": "1", "delta": "0", "noise": "discrete_laplace"},
        },
        truth=(
            "SELECT CASE WHEN discs < 2 THEN 0 WHEN discs < 4 THEN 1 WHEN discs < 8 THEN 2 ELSE 3"
            " END, count(*), sum(dollars) FROM t WHERE discs >= 1 GROUP BY 1"
        ),
    ),
    Analysis(
        title="Tumours: one record is one person, epsilon 1",
        write=write_tumours,
        declaration=_private(
            "tumours",
            [
                {"name": "benign", "type": "int64", "domain": [0, 1], "domain_source": "public"},
                _bounded("radius", "5", "30", "0.01"),
            ],
            unit_of_privacy={"kind": "record"},
            nominal_size=500,
        ),
        spec={
            "v": 1,
            "measures": [{"fn": "count"}, {"fn": "mean", "col": "radius"}],
            "group_by": [{"col": "benign", "keys": "domain"}],
            "privacy": {"epsilon": "1", "delta": "0", "noise": "discrete_laplace"},
        },
        truth="SELECT benign, count(*), avg(radius) FROM t GROUP BY 1",
    ),
)


def figures(analysis: Analysis) -> list[Figure]:
    """Every released figure of an analysis beside its true value."""
    with TemporaryDirectory() as folder:
        file = analysis.write(Path(folder))
        result = _released(analysis, file, Path(folder))
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW t AS FROM read_parquet('{file}')")
            truth = {row[0]: row[1:] for row in connection.execute(analysis.truth).fetchall()}
    found = []
    for place, row in enumerate(result["rows"]):
        (shown,) = row["keys"].values()
        # a bin is known by its place, a key by itself
        key = shown if shown in truth else place
        for cell, true in zip(row["cells"], truth[key], strict=True):
            half = cell["half_width_95"]
            width = None if half is None else float(half)
            found.append(Figure(shown, cell["measure"], cell["value"], width, float(true)))
    return found


def _released(analysis: Analysis, file: Path, scratch: Path) -> Mapping[str, Any]:
    on = dataset_from_json(analysis.declaration, id="table")
    plan = plan_query(parse_query(analysis.spec, on), on)
    work = Work(
        job_id=UUID(int=0),
        kind="query",
        spec=plan.spec.to_json(),
        inputs=(Input(on, 1, file),),
        parts=tuple(ReservedPart(part.mechanism, part.max_units) for part in plan.parts),
        salt=bytes(16),
        scratch=scratch,
    )
    return QueryEngine().prepare(work).run(_NoLedger()).result


class _NoLedger:
    def start(self, part: int, started_units: int) -> None:
        """Public tables have nothing to spend."""

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Nobody watches."""
