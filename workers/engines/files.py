"""The files behind an input: what is looked at before anything is spent, and what only after.

A private file is not opened before its units are started, so nothing here says before the touch
whether it is the declared one (L2, L5). A public one may be, so a job that would join the wrong
public table is refused while it still costs nothing.
"""

import hashlib
from pathlib import Path

from workers.engines.api import EngineRefused, Input, RowsFile, SourceUnavailable
from workers.engines.objects import copy_to, require_there


def check_input(source: Input) -> None:
    """Refuse, before anything is spent, what could not be read afterwards; opens no private file.

    Raises:
        EngineRefused: a path holds a sign of a pattern, or the keys to an object are not here.
        SourceUnavailable: the store does not show an object to this worker, or a public file is
            not the declared one.
    """
    for part in source.files:
        check_path(part.file)
        if source.dataset.access == "public" and part.sha256 is not None:
            try:
                bring(part)
                is_right = is_declared(part)
            except OSError:
                is_right = False
            if not is_right:
                raise SourceUnavailable
        elif part.stored is not None:
            require_there(part.stored)


def check_path(file: Path) -> None:
    """Refuse a path that the engine would take for a pattern over many files.

    Raises:
        EngineRefused: it holds a sign of one.
    """
    if any(sign in str(file) for sign in "*?[]{}"):
        raise EngineRefused("the path of the file holds signs of a pattern")


def bring(part: RowsFile) -> None:
    """Copy the object of a file, unless another connection of the job has.

    Raises:
        OSError: the store did not give it, or the disk did not take it.
    """
    if part.stored is not None and not part.file.exists():
        copy_to(part.stored, part.file)


def is_declared(part: RowsFile) -> bool:
    """Whether a file is what the officer declared, where anything was; reads all of it.

    Raises:
        OSError: it cannot be read.
    """
    if part.sha256 is None:
        return True
    with part.file.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == part.sha256
