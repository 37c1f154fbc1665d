"""How a list is cut into pages: some rows, in one order, after the last one that was read.

A page begins after a row and not at a number of rows, so what is added meanwhile neither repeats
nor hides anything. Filters are equalities on columns that the caller may read.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

Equal = Sequence[tuple[InstrumentedAttribute[Any], object]]


def listed(
    statement: Select[Any],
    place: Sequence[InstrumentedAttribute[Any]],
    *,
    equal: Equal = (),
    newest_first: bool,
    last: object | None,
    limit: int,
) -> Select[Any]:
    """The statement of one page.

    Args:
        statement: all that the caller may know.
        place: columns that give each row one place, such as (created_at, id).
        equal: columns with the value that they must have; a value of None asks for nothing.
        newest_first: whether places fall.
        last: the row that the page before ended with; None for the first page.
        limit: the most rows.
    """
    for column, value in equal:
        if value is not None:
            statement = statement.where(column == value)
    if last is not None:
        here, there = tuple_(*place), tuple_(*(getattr(last, each.key) for each in place))
        statement = statement.where(here < there if newest_first else here > there)
    order = [each.desc() if newest_first else each for each in place]
    return statement.order_by(*order).limit(limit)
