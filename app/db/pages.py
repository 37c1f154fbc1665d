"""One page of a list in the order of its place: keys, not offsets, so inserts move nothing (wire).

A place ends with a column that tells every two rows apart; else a page could drop the one beside
its edge.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

PAGE_MOST: Final = 200

Listed = TypeVar("Listed", bound=Select[Any])
Place = Sequence[InstrumentedAttribute[Any]]


def page_of(
    statement: Listed,
    place: Place,
    last: Sequence[object] | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> Listed:
    """The rows that follow the one whose place is `last`, at most `limit`; the first where None."""
    if last is not None:
        bound = (literal(value, column.type) for value, column in zip(last, place, strict=True))
        here, there = tuple_(*place), tuple_(*bound)
        statement = statement.where(here < there if newest_first else here > there)
    order = [column.desc() if newest_first else column.asc() for column in place]
    return statement.order_by(*order).limit(min(limit, PAGE_MOST))
