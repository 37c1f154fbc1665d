"""What an admin may open to the service, and how a secret is named without being told.

    folder       the real path of a folder; datasets name files below it
    sqlite       the real path of one database file; datasets name tables of it
    postgresql   a reference to a connection string; datasets name tables as `schema.table`
    s3           a bucket with a prefix; datasets name objects below it: `app.domain.object_stores`

A connection string holds a password, so no row, log or answer ever has one: a reference names where
a worker finds it, in a variable of its environment or in a file. So do the keys of a store.
"""

import re
from typing import Final, Literal, cast, get_args

from app.domain.documents import read_choice, read_text
from app.domain.errors import InvalidParameter

ConnectionKind = Literal["folder", "sqlite", "postgresql", "s3"]

# Other variables of a worker are none of a connection's business.
VARIABLE: Final = re.compile(r"env:(EPSILON_SOURCE_[A-Z0-9_]{1,100})", re.ASCII)
FILE: Final = re.compile(r"file:(/[^\x00]{1,900})")
_NAME: Final = r"[a-z_][a-z0-9_]{0,62}"
_TABLES: Final = {
    "sqlite": (re.compile(_NAME, re.ASCII), "a table, in lower case"),
    "postgresql": (re.compile(rf"{_NAME}\.{_NAME}", re.ASCII), "`schema.table`, in lower case"),
}


def parse_kind(document: object, pointer: str = "/kind") -> ConnectionKind:
    """Validate the kind of a connection.

    Raises:
        InvalidParameter: not one of them.
    """
    return cast(ConnectionKind, read_choice(document, pointer, get_args(ConnectionKind)))


def parse_reference(document: object, pointer: str = "/root") -> str:
    """Validate a reference to a secret; what was sent is never repeated, it may be the secret.

    Raises:
        InvalidParameter: neither `env:EPSILON_SOURCE_NAME` nor `file:/absolute/path`.
    """
    text = read_text(document, pointer, most=1000)
    if VARIABLE.fullmatch(text) is None and FILE.fullmatch(text) is None:
        raise InvalidParameter(
            pointer, "env:EPSILON_SOURCE_NAME or file:/absolute/path, never the secret itself"
        )
    return text


def require_fitting(kind: str, format: str, path: str, pointer: str) -> None:
    """Refuse a file of a database, a table of a folder, and a name that is not a plain one.

    Raises:
        InvalidParameter: with what is expected instead.
    """
    if (format == "table") != (kind in _TABLES):
        expected = "table" if kind in _TABLES else "parquet or csv"
        raise InvalidParameter(f"{pointer}/format", f"{expected} is expected of this connection")
    if kind in _TABLES:
        pattern, expected = _TABLES[kind]
        if pattern.fullmatch(path) is None:
            raise InvalidParameter(f"{pointer}/path", f"{expected} is expected")
