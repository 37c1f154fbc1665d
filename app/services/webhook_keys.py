"""The key that webhooks' secrets are derived from: one file, never in the database.

HMAC needs the secret itself, so it cannot be kept as a digest alone. It is kept nowhere: each is
derived from this file and the webhook's id when a body is signed. Who steals the database can forge
no delivery; who steals the file cannot say for which id.
"""

import os
import secrets
import stat
from pathlib import Path
from uuid import UUID

from app.domain.webhooks import derived_secret, secret_sha256
from app.services.signing import KeyRefused, sync_folder

BYTES = 32


def load(path: Path) -> bytes:
    """The 32 bytes of a file that nobody else may read.

    Raises:
        KeyRefused: it is missing, readable by others, or has another length.
    """
    try:
        # opened once and asked about as opened: no other file can take its place in between
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(BYTES + 1)
    except OSError as error:
        raise KeyRefused(f"cannot read the key file {path} ({error.strerror})") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise KeyRefused(f"others may read the key file {path}: chmod 600 it, or make another")
    if len(key) != BYTES:
        raise KeyRefused(f"the key file {path} does not hold {BYTES} bytes")
    return key


def load_or_create(path: Path) -> bytes:
    """The key of the file, made now where there is none; a key that stands there is never replaced.

    Raises:
        KeyRefused: it cannot be used, or cannot be written.
    """
    if path.exists():
        return load(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = _written_beside(path)
        try:
            # a name for the whole file or none: two processes at once make one key
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise KeyRefused(f"cannot write the key file {path} ({error.strerror})") from None
    return load(path)


def before(path: Path) -> Path:
    """Where the key that is being replaced lies until nobody needs it any more."""
    return path.with_name(f"{path.name}.before")


def rotate(path: Path) -> bytes:
    """Put a new key in the file's place and keep the old one beside it; the new key.

    While one is being replaced already, that one goes on: a crash between any two steps loses
    neither key, and whoever calls again ends what was begun.

    Raises:
        KeyRefused: the key cannot be used, or the files cannot be written.
    """
    old = load(path)
    try:
        if before(path).exists() and load(before(path)) != old:
            return old
        if not before(path).exists():
            os.link(path, before(path))
        _written_beside(path).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise KeyRefused(f"cannot replace the key file {path} ({error.strerror})") from None
    return load(path)


def forget_before(path: Path) -> None:
    """Delete the key that was replaced: from then on the new one signs alone."""
    before(path).unlink(missing_ok=True)
    sync_folder(path.parent)


def secrets_of(path: Path, webhook_id: UUID, expected_sha256: str) -> list[bytes]:
    """What signs for a webhook: by the key of the file, and by the one that it replaces.

    Raises:
        KeyRefused: a file cannot be used, or the webhook was made with neither of them.
    """
    keys = [load(path)]
    if before(path).exists():
        keys.append(load(before(path)))
    found = [derived_secret(key, webhook_id.bytes) for key in keys]
    if expected_sha256 not in map(secret_sha256, found):
        raise KeyRefused(f"the key file {path} is not the one that this webhook was made with")
    return found


def _written_beside(path: Path) -> Path:
    """A file with a new key, whole and durable, next to where it belongs."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(BYTES))
        file.flush()
        os.fsync(file.fileno())
    return beside
