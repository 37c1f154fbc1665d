"""How a request body is read: strict JSON of one meaning, before anything else looks at it."""

import json
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from hashlib import sha256
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

BODY_BYTES_MOST = 1_000_000
MALFORMED = "the body is not one JSON value in UTF-8 with distinct keys and numbers in range"


class StrictRequest(Request):
    """A request whose JSON has one meaning: no repeated key, no NaN, no lone surrogate."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces, up to the limit, whatever its Content-Length said.

        Raises:
            HTTPException: 413.
        """
        taken = 0
        async for piece in super().stream():
            taken += len(piece)
            if taken > BODY_BYTES_MOST:
                raise HTTPException(413)
            yield piece

    async def json(self) -> Any:
        """The parsed body, read once.

        Raises:
            HTTPException: 400, without a word of what was sent.
        """
        if not hasattr(self, "_strict_json"):
            try:
                self._strict_json = parse_json(await self.body())
            except (ValueError, RecursionError) as error:
                raise HTTPException(400, MALFORMED) from error
        return self._strict_json


class StrictRoute(APIRoute):
    """A route that reads its body strictly, only as JSON, and refuses strange query parameters.

    A misspelt filter would be no filter, and answer with more than was asked for; so would one of
    two that bear one name.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        known = _query_names(self.dependant)

        async def handle_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            length = request.headers.get("content-length", "0")
            if length.isdecimal() and int(length[:20]) > BODY_BYTES_MOST:
                raise HTTPException(413)
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "application/json" and self.body_field and await strict.body():
                raise HTTPException(415, "a body is sent as application/json")
            _refuse_strange([name for name, _ in request.query_params.multi_items()], known)
            return await handle(strict)

        return handle_strictly


def parse_json(body: bytes) -> Any:
    """One JSON value.

    Raises:
        ValueError: not UTF-8, not JSON, a repeated key, a number that is not finite, or a text
        that has no UTF-8 form.
    """
    value = json.loads(
        body.decode("utf-8"),
        object_pairs_hook=_distinct,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        parse_int=_of_64_bits,
    )
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def body_sha256(value: object) -> str:
    """The name of a parsed body: two spellings of the same JSON value share it (R16)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode("ascii")).hexdigest()


def in_order(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its keys in order at every depth, as it comes back out of storage.

    A first answer in this form and its replay are the same bytes (R16).
    """
    ordered: dict[str, Any] = json.loads(json.dumps(document, sort_keys=True))
    return ordered


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number out of range")
    return value


def _of_64_bits(text: str) -> int:
    # the length first: reading a number of many digits is slow
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError("a number out of range")
    return int(text)


def _query_names(dependant: Dependant) -> frozenset[str]:
    own = {parameter.alias for parameter in dependant.query_params}
    return frozenset(own.union(*(_query_names(below) for below in dependant.dependencies)))


def _refuse_strange(names: Sequence[str], known: frozenset[str]) -> None:
    strange = [
        {"type": "extra_forbidden", "loc": ("query", name), "msg": said}
        for name, times in Counter(names).items()
        if (said := _why_strange(times, is_known=name in known))
    ]
    if strange:
        raise RequestValidationError(strange)


def _why_strange(times: int, *, is_known: bool) -> str:
    if not is_known:
        return "is not known here"
    # of two filters one would be dropped, and nobody would know which
    return "stands more than once" if times > 1 else ""
