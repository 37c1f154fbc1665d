"""Who may scrape: who shows the token of a file, read anew each time so that it can be changed."""

import hmac
import os
import stat
from pathlib import Path
from typing import Final

from app.services.signing import KeyRefused

BYTES_LEAST: Final = 32
BYTES_MOST: Final = 1024


def token_of(path: Path) -> bytes:
    """The token of a file that nobody else may read.

    Raises:
        KeyRefused: it is missing, readable by others, too short or too long.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(BYTES_MOST + 1).strip()
    except OSError as error:
        raise KeyRefused(f"cannot read the token file {path} ({error.strerror})") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise KeyRefused(f"others may read the token file {path}: chmod 600 it, and change it")
    if not BYTES_LEAST <= len(token) <= BYTES_MOST:
        raise KeyRefused(f"the token file {path} does not hold {BYTES_LEAST} characters or more")
    return token


def is_shown(authorization: str | None, token: bytes) -> bool:
    """Whether a header `Authorization: Bearer ...` shows the token."""
    scheme, _, shown = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token)
