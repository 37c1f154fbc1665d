"""Secrets by their name: read on this worker when they are needed, and kept nowhere."""

import os
from pathlib import Path

from app.domain.connections import VARIABLE
from workers.engines.api import EngineRefused


def read_secret(reference: str) -> str:
    """The secret that a reference names, from this worker's environment or a file.

    Raises:
        EngineRefused: it is not there; says nothing of what is.
    """
    match = VARIABLE.fullmatch(reference)
    try:
        secret = (
            os.environ[match[1]] if match else Path(reference.removeprefix("file:")).read_text()
        )
    except (KeyError, OSError, ValueError):
        raise EngineRefused("the secret of the connection is not on this worker") from None
    return secret.strip()
