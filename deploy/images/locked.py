"""Print the entries of a lock, with their hashes, for the packages that an image needs.

python locked.py requirements.lock NAMES... : the lock holds what tests and demo need too, and an
image should hold nothing that it does not run. A name that is not in the lock ends the build.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ENTRY = re.compile(r"^(?=[A-Za-z0-9])", re.MULTILINE)


def locked(lock: str, names: Sequence[str]) -> str:
    """The entries of these names, as they stand in the lock.

    Raises:
        KeyError: one of them is not in the lock.
    """
    entries: dict[str, list[str]] = {}
    for entry in ENTRY.split(lock):
        name, pinned, _ = entry.partition("==")
        if pinned:
            entries.setdefault(re.sub(r"[-_.]+", "-", name).lower(), []).append(entry)
    return "".join(entry for name in names for entry in entries[name])


def main(arguments: Sequence[str]) -> int:
    """The command: a lock, then files of names, one a line."""
    lock, *files = arguments
    names = [name for file in files for name in Path(file).read_text("utf-8").split()]
    sys.stdout.write(locked(Path(lock).read_text("utf-8"), names))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
