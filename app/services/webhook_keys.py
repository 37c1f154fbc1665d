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
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
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


def secret_of(path: Path, webhook_id: UUID, expected_sha256: str) -> bytes:
    """What signs for a webhook.

    Raises:
        KeyRefused: the file cannot be used, or is not the one that the webhook was made with.
    """
    secret = derived_secret(load(path), webhook_id.bytes)
    if secret_sha256(secret) != expected_sha256:
        raise KeyRefused(f"the key file {path} is not the one that this webhook was made with")
    return secret
