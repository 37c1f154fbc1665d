"""Strict reading of JSON documents: every refusal carries the pointer of what is wrong.

A key that is not known is refused: a misspelt privacy parameter must never become a default.
"""

from collections.abc import Collection, Mapping
from typing import Any

from app.domain.errors import InvalidParameter


def under(pointer: str, key: str | int) -> str:
    """The RFC 6901 pointer of one member of the value at `pointer`."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def read_object(
    document: object,
    pointer: str,
    *,
    required: Collection[str] = (),
    optional: Collection[str] = (),
) -> Mapping[str, Any]:
    """The document as a mapping that holds all required keys and no unknown one.

    Raises:
        InvalidParameter: not an object, a key is unknown, or a required key is missing.
    """
    if not isinstance(document, Mapping):
        raise InvalidParameter(pointer, "an object is expected")
    known = sorted({*required, *optional})
    for key in document:
        if key not in known:
            raise InvalidParameter(
                under(pointer, str(key)), f"unknown key; known: {', '.join(known)}"
            )
    for key in required:
        if key not in document:
            raise InvalidParameter(under(pointer, key), "this key is required")
    return document


def read_list(
    document: object, pointer: str, *, most: int, least: int = 0
) -> list[Any] | tuple[Any, ...]:
    """The document as a list of between `least` and `most` members.

    Raises:
        InvalidParameter: not a list, too short or too long.
    """
    if not isinstance(document, list | tuple):
        raise InvalidParameter(pointer, "a list is expected")
    if not least <= len(document) <= most:
        raise InvalidParameter(pointer, f"between {least} and {most} members are expected")
    return document


def read_integer(document: object, pointer: str, *, low: int, high: int) -> int:
    """The document as an integer in [low, high]; true and false are not integers.

    Raises:
        InvalidParameter: not an integer, or out of range.
    """
    if isinstance(document, bool) or not isinstance(document, int):
        raise InvalidParameter(pointer, "an integer is expected")
    if not low <= document <= high:
        raise InvalidParameter(pointer, f"an integer from {low} to {high} is expected")
    return document


def read_text(document: object, pointer: str, *, most: int, least: int = 1) -> str:
    """The document as text that has between `least` and `most` characters, none of them NUL.

    Raises:
        InvalidParameter: not text, of a wrong length, or not encodable as UTF-8.
    """
    if not isinstance(document, str):
        raise InvalidParameter(pointer, "text is expected")
    if not least <= len(document) <= most:
        raise InvalidParameter(pointer, f"text of {least} to {most} characters is expected")
    try:
        document.encode()
    except UnicodeEncodeError as error:
        raise InvalidParameter(pointer, "the text is not valid Unicode") from error
    if "\x00" in document:
        raise InvalidParameter(pointer, "the text holds a NUL character")
    return document


def read_choice(document: object, pointer: str, choices: Collection[str]) -> str:
    """The document as one of the named choices.

    Raises:
        InvalidParameter: anything else; the reason names the choices.
    """
    if not isinstance(document, str) or document not in choices:
        raise InvalidParameter(pointer, f"one of {', '.join(sorted(choices))} is expected")
    return document
