"""Queries: a typed spec in, its noise and its charge out. No row is needed for either."""

from app.domain.queries.parsing import parse_query
from app.domain.queries.planning import QueryPlan, plan_query
from app.domain.queries.quantities import (
    Choice,
    NoisyQuantity,
    Output,
    PredictedError,
    Quantity,
    Spread,
)
from app.domain.queries.spec import Measure, QuerySpec

__all__ = [
    "Choice",
    "Measure",
    "NoisyQuantity",
    "Output",
    "PredictedError",
    "Quantity",
    "QueryPlan",
    "QuerySpec",
    "Spread",
    "parse_query",
    "plan_query",
]
