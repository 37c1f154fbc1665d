"""What the demo alone may compute, since its data are public: exact tables and an own repricing.

A service that governs private rows has no such door. These functions read the files directly.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import duckdb
import numpy as np

from app.db.session import SessionMaker, snapshot
from app.domain.decimals import NAT_2P40
from app.domain.privacy import ORDERS
from app.domain.queries import parse_query, plan_query
from workers.engines.query.table import BoundedTable, Cell, bounded_table
from workers.running import resolve_work

# R1 inflates a value by 1e-9 and 2^-50 nat and rounds up; an independent price differs by no more
PRICE_TOLERANCE = 1e-8
PRICE_FLOOR_NATS = 2.0**-39


def bounded_values(make_session: SessionMaker, job_id: UUID) -> list[dict[str, Any]]:
    """The exact bounded table of a finished query, as rows like those of its result."""
    with TemporaryDirectory() as scratch:
        with snapshot(make_session) as session:
            work = resolve_work(session, job_id, Path(scratch))
        dataset = work.inputs[0].dataset
        plan = plan_query(parse_query(work.spec, dataset), dataset)
        table: BoundedTable = bounded_table(work, plan)
    names = [group.column for group in plan.spec.group_by]

    def exact(cell: Cell, totals: Sequence[int]) -> dict[str, Any]:
        values: dict[str, float] = {}
        for output in plan.outputs:
            quantity = plan.noisy[output.value].quantity
            grid = Fraction(quantity.grid or 1)
            total = Fraction(totals[output.value])
            if output.count is not None:
                total = quantity.centre_step + total / max(1, totals[output.count])
            values[output.measure.name] = float(total * grid)
        return {"keys": dict(zip(names, cell, strict=True)), "values": values}

    return [exact(cell, totals) for cell, totals in table.cells.items()]


def true_values(file: Path, key: str, where: str = "TRUE") -> dict[Any, dict[str, float]]:
    """Count and mean distance per key without any bound: what truncation is measured against."""
    query = (
        f"SELECT {key}, count(*), avg(distance) FROM read_parquet($file)"  # noqa: S608 - constants
        f" WHERE tailnum IS NOT NULL AND {where} GROUP BY {key}"
    )
    with duckdb.connect() as connection:
        rows = connection.execute(query, {"file": str(file)}).fetchall()
    return {row[0]: {"count": float(row[1]), "mean": float(row[2])} for row in rows}


def worst_half_widths(
    released: Sequence[Mapping[str, Any]], exact: Sequence[Mapping[str, Any]]
) -> float:
    """The largest distance of a released value from its exact bounded one, in half-widths."""
    known = {_key(row["keys"]): row["values"] for row in exact}
    worst = 0.0
    for row in released:
        values = known.get(_key(row["keys"]), {})
        for cell in row["cells"]:
            error = abs(cell["value"] - values.get(cell["measure"], 0.0))
            worst = max(worst, error / float(cell["half_width_95"]))
    return worst


def charge_matches(charge: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an entry's charge is what an independent pricing of its parts comes to.

    Discrete Laplace by summing its probability mass, Poisson-sampled Gaussians by the accounting
    library at its integer orders: other code than the service's own.
    """
    nats = [0.0] * len(ORDERS)
    for part in parts:
        for index, value in enumerate(_independent_nats(part["mechanism"])):
            nats[index] += value * part["units"]
    for order, expected, charged in zip(ORDERS, nats, charge["nats_2p40"], strict=True):
        if order.denominator != 1 or math.isnan(expected):
            continue
        got = int(charged) / NAT_2P40
        low = expected * (1 - PRICE_TOLERANCE)
        if not low <= got <= expected * (1 + PRICE_TOLERANCE) + PRICE_FLOOR_NATS * len(parts):
            return False
    return True


def _independent_nats(mechanism: Mapping[str, Any]) -> list[float]:
    kind = mechanism["type"]
    if kind == "discrete_laplace":
        return _discrete_laplace(float(mechanism["scale"]), int(mechanism["sensitivity_l1"]))
    if kind == "threshold":
        groups = int(mechanism["groups"])
        return [value * groups for value in _independent_nats(mechanism["of"])]
    if kind == "poisson_sampled":
        import dp_accounting

        noise = float(mechanism["of"]["noise_multiplier"])
        event = dp_accounting.PoissonSampledDpEvent(
            float(mechanism["rate"]), dp_accounting.GaussianDpEvent(noise)
        )
        whole = [float(order) for order in ORDERS if order.denominator == 1]
        values = dp_accounting.rdp.RdpAccountant(orders=whole).compose(event).rdp
        found = dict(zip(whole, values, strict=True))
        return [found.get(float(order), math.nan) for order in ORDERS]
    raise ValueError(f"the demo does not reprice {kind!r}")


def _discrete_laplace(scale: float, moved: int) -> list[float]:
    """Renyi divergences of a discrete Laplace from itself moved, summed over its mass.

    Between the two centres the terms are added one by one; outside they are geometric series.
    """
    log_norm = math.log1p(-math.exp(-1 / scale)) - math.log1p(math.exp(-1 / scale))
    log_tail = -math.log1p(-math.exp(-1 / scale))
    between = np.arange(1, moved, dtype=np.float64)

    def divergence(order: float) -> float:
        inner = -order * between / scale - (1 - order) * (moved - between) / scale
        below = (order - 1) * moved / scale + log_tail
        above = -order * moved / scale + log_tail
        total = np.logaddexp.reduce(np.concatenate([inner, [below, above]]))
        return float(total + log_norm) / (order - 1)

    return [divergence(float(order)) for order in ORDERS]


def _key(keys: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(keys.values())
