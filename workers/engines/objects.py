"""Objects of S3-compatible stores: one look before the touch, one copy after it.

Rows are read many times: each slice of units reads the file again, a digest is taken of all bytes,
and a line of CSV is never left to the database. So an object is copied once into the job's own
scratch folder, read from there with the database cut off from every network, and removed with the
job. One answer of the store is one state of the object; a copy that breaks off goes on from where
it stopped only while the store still names the same state (`If-Match`).

Requests are signed by AWS Signature Version 4; keys and signatures are in no log and no error. No
redirect is followed and no proxy is asked, so that a signed request reaches its own store only.
"""

import hashlib
import hmac
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from workers.engines.api import EngineRefused, SourceUnavailable, StoredObject
from workers.engines.credentials import read_secret

_CONNECT_S: Final = 10
_SILENCE_S: Final = 60
_ATTEMPTS: Final = 4
_PIECE_BYTES: Final = 2**20
_NO_BODY: Final = hashlib.sha256(b"").hexdigest()
_KEYS: Final = ("access_key_id", "secret_access_key")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The keys to a store; they have no printed form."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class TransferFailed(OSError):
    """The store did not give the object; says nothing of what it gave."""


def require_there(stored: StoredObject) -> None:
    """Refuse an object that this worker cannot get; asks for its headers and for no byte of it.

    Raises:
        EngineRefused: the keys are not on this worker, or are no keys.
        SourceUnavailable: the store does not answer, has no such object or does not show it.
    """
    try:
        with _answer(stored, "HEAD", {}) as answer:
            if answer.status != 200:
                raise SourceUnavailable
    except OSError:
        raise SourceUnavailable from None


def copy_to(stored: StoredObject, file: Path) -> None:
    """Copy an object to a file, of one state and whole, or not at all.

    Reads private rows: call it only after the units are started (L2).

    Raises:
        OSError: the store did not give all of it, the disk did not take it, or the keys are gone.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    # nobody else on this machine may read it
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        copy = _Copy(stored, target)
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt)
            try:
                copy.go_on()
                break
            except EngineRefused:
                raise TransferFailed from None
            except _Broken:
                continue
        else:
            raise TransferFailed
    part.replace(file)


class _Broken(OSError):
    """The connection to the store broke; the request may be made again."""


@contextmanager
def _answer(
    stored: StoredObject, method: str, headers: Mapping[str, str]
) -> Iterator[HTTPResponse]:
    """The store's answer to one signed request.

    Raises:
        EngineRefused: there are no keys.
        OSError: there is no answer, or it broke off while it was read.
    """
    address = urlsplit(stored.address)
    signed = signed_headers(
        stored, read_keys(stored.credentials), method, headers, at=datetime.now(UTC)
    )
    connection: HTTPConnection
    if address.scheme == "https":
        connection = HTTPSConnection(
            address.netloc, timeout=_CONNECT_S, context=ssl.create_default_context()
        )
    else:
        connection = HTTPConnection(address.netloc, timeout=_CONNECT_S)
    try:
        connection.connect()
        connection.sock.settimeout(_SILENCE_S)
        connection.request(method, address.path, headers=signed)
        yield connection.getresponse()
    except ssl.SSLCertVerificationError:
        raise TransferFailed from None
    except (HTTPException, ConnectionError, TimeoutError, ssl.SSLError):
        raise _Broken from None
    finally:
        connection.close()


class _Copy:
    """An object on its way into a file: what has come, and of which state of the object."""

    def __init__(self, stored: StoredObject, target: BinaryIO) -> None:
        self._stored = stored
        self._target = target
        self._state: str | None = None

    def go_on(self) -> None:
        """Take what has not come yet.

        Raises:
            TransferFailed: the store does not give it, or has it in another state now.
            _Broken: the connection broke; may be called again.
        """
        if self._state is None:
            self._target.seek(0)
            self._target.truncate()
        have = self._target.tell()
        asked = {"range": f"bytes={have}-", "if-match": str(self._state)} if have else {}
        with _answer(self._stored, "GET", asked) as answer:
            self._require_next(answer, have)
            # one that does not name its states is begun anew where it broke
            tag = answer.headers.get("etag", "")
            self._state = tag if tag.startswith('"') else None
            left = int(answer.headers["content-length"])
            while left:
                piece = answer.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise _Broken
                self._target.write(piece)
                left -= len(piece)

    def _require_next(self, answer: HTTPResponse, have: int) -> None:
        """Refuse what is not the object from the wanted byte on, in the state begun with."""
        if answer.status >= 500:
            raise _Broken
        if answer.status != (206 if have else 200) or "content-length" not in answer.headers:
            raise TransferFailed
        begins = answer.headers.get("content-range", "").startswith(f"bytes {have}-")
        if have and not (begins and answer.headers.get("etag") == self._state):
            raise TransferFailed


def read_keys(reference: str) -> Credentials:
    """The keys that a reference names: a JSON object of them, with `session_token` if there is one.

    Raises:
        EngineRefused: they are not on this worker, or are something else; repeats nothing of it.
    """
    secret = read_secret(reference)
    try:
        found = json.loads(secret)
        keys = Credentials(**found)
        texts = [getattr(keys, name) for name in _KEYS] + [keys.session_token or "none"]
        # a line break in one would end the header it is sent in
        is_usable = all(
            isinstance(text, str) and text.isascii() and text.isprintable() and text
            for text in texts
        )
    except (ValueError, TypeError):
        is_usable = False
    if not is_usable:
        raise EngineRefused("the secret of the connection is no JSON object of keys") from None
    return keys


def signed_headers(
    stored: StoredObject,
    keys: Credentials,
    method: str,
    headers: Mapping[str, str],
    *,
    at: datetime,
) -> dict[str, str]:
    """The headers of a request without a body, its signature among them.

    Source: AWS Signature Version 4 for Amazon S3, "Authenticating Requests: Using the Authorization
    Header"; its example of a ranged GET is a test.

    Args:
        stored: its address is percent-encoded once, as it is sent, and has no query.
        keys: to sign with.
        method: of the request.
        headers: further ones, with lower-case names; all of them are signed.
        at: the time of the request, in UTC.
    """
    address = urlsplit(stored.address)
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    sent = {
        **headers,
        "host": address.netloc,
        "x-amz-content-sha256": _NO_BODY,
        "x-amz-date": moment,
    }
    if keys.session_token is not None:
        sent["x-amz-security-token"] = keys.session_token
    names = sorted(sent)
    lines = "".join(f"{name}:{sent[name].strip()}\n" for name in names)
    request = "\n".join((method, address.path, "", lines, ";".join(names), _NO_BODY))
    steps = (moment[:8], stored.region, "s3", "aws4_request")
    scope = "/".join(steps)
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{keys.secret_access_key}".encode()
    for step in (*steps, "\n".join(("AWS4-HMAC-SHA256", moment, scope, digest))):
        key = hmac.digest(key, step.encode(), "sha256")
    words = (
        f"Credential={keys.access_key_id}/{scope}",
        f"SignedHeaders={';'.join(names)}",
        f"Signature={key.hex()}",
    )
    return {**sent, "authorization": f"AWS4-HMAC-SHA256 {', '.join(words)}"}
