"""The plan on Spark: the road past one machine, for who brings a session of their own.

Spark computes the bounded integers of a frame, by the same statements as every other engine; what
comes back is one row per group, and noise is added here. No connection leads to it yet: a session
and its credentials belong to the cluster's own tools.
"""

from typing import Any, Final

from app.domain.datasets import Dataset
from app.domain.queries.planning import QueryPlan
from workers.engines.api import EngineRefused
from workers.engines.query.bounding import bounding_query, spread_query
from workers.engines.query.dialects import SPARK
from workers.engines.query.table import BoundedTable, Statements
from workers.engines.rows import TABLE

# By declared type, what Spark calls the types whose every value fits.
_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "int64": ("bigint", "int", "smallint", "tinyint"),
    "float64": ("double", "float"),
    "float32": ("double", "float"),
    "string": ("string",),
    "bool": ("boolean",),
    "date": ("date",),
    "timestamp": ("timestamp_ntz",),
}


def spark_table(
    session: Any, rows: Any, plan: QueryPlan, dataset: Dataset, salt: bytes
) -> BoundedTable:
    """The bounded integers of a frame.

    Args:
        session: a `SparkSession`.
        rows: a `DataFrame` of the session, with the dataset's columns. Read here: the units of
            the job are started before (L2).
        plan: what is measured; without joins.
        dataset: the public schema.
        salt: public randomness of the job.

    Guarantee: as of `bounded_table`; cell for cell that of every engine with the portable order.

    Raises:
        EngineRefused: a join, or a column that is missing or of another type; no row was read.
    """
    if plan.spec.joins:
        raise EngineRefused("joins read files")
    found = dict(rows.dtypes)
    for column in dataset.columns:
        if column.shape or found.get(column.name) not in _TYPES[column.type]:
            raise EngineRefused(f"the frame has no column {column.name!r} of its declared type")
    totals = None
    if plan.noisy:
        totals = bounding_query(plan, dataset, salt, SPARK).sql(dialect=SPARK.name)
    spreads = [spread_query(plan, each, dataset, salt, SPARK) for each in plan.spreads]
    statements = Statements(totals, tuple(each.sql(dialect=SPARK.name) for each in spreads))
    # Narrow integers would overflow where wide ones do not.
    wide = {"int": "bigint", "smallint": "bigint", "tinyint": "bigint", "float": "double"}
    named = [rows[name].cast(wide.get(found[name], found[name])).alias(name) for name in found]
    rows.select(*named).createOrReplaceTempView(TABLE)
    try:
        return statements.run(
            lambda text: [tuple(row) for row in session.sql(text).collect()], plan
        )
    finally:
        session.catalog.dropTempView(TABLE)
