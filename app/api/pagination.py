"""Cursors for lists that grow. A cursor is opaque: it says where to go on and gives no right."""

import base64
import binascii
import json
import re
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query

from app.domain.errors import InvalidParameter

PAGE_DEFAULT = 50
PAGE_MOST = 200
KEY_ID = re.compile("[0-9a-f]{12}")

Limit = Annotated[int, Query(ge=1, le=PAGE_MOST, description="The most items of one page.")]
Cursor = Annotated[
    str | None,
    Query(min_length=1, max_length=200, description="`next` of the page before; opaque."),
]


Order = Annotated[
    Literal["oldest", "newest"] | None, Query(description="What comes first; else as it is said.")
]


def page(items: list[dict[str, Any]], limit: int, key: str) -> dict[str, Any]:
    """A page and the cursor after its last item; `next` is null where the list ended."""
    is_full = len(items) >= limit
    return {"items": items, "next": _write(key, items[-1][key]) if items and is_full else None}


def read_id(cursor: str | None, key: str) -> UUID | None:
    """The id in a cursor of `page`.

    Raises:
        InvalidParameter: the cursor is not one of this list's.
    """
    value = _read(cursor, key)
    try:
        return None if value is None else UUID(str(value))
    except ValueError as error:
        raise _refusal() from error


def read_number(cursor: str | None, key: str) -> int | None:
    """The number in a cursor of `page`.

    Raises:
        InvalidParameter: the cursor is not one of this list's.
    """
    value = _read(cursor, key)
    if value is not None and (type(value) is not int or not 0 <= value < 2**53):
        raise _refusal()
    return value


def read_key_id(cursor: str | None, key: str) -> str | None:
    """The id of an API key in a cursor of `page`.

    Raises:
        InvalidParameter: the cursor is not one of this list's.
    """
    value = _read(cursor, key)
    if value is not None and not (isinstance(value, str) and KEY_ID.fullmatch(value)):
        raise _refusal()
    return value


def _write(key: str, value: object) -> str:
    text = json.dumps({key: value}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str | None, key: str) -> Any:
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        document = json.loads(text)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _refusal() from error
    if not isinstance(document, dict) or set(document) != {key} or document[key] is None:
        raise _refusal()
    return document[key]


def _refusal() -> InvalidParameter:
    return InvalidParameter("/cursor", "a cursor that this list gave is expected")
