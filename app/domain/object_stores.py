"""Object stores that speak S3: where a bucket lies, and the one address of each object.

    root         `s3://bucket/prefix`; datasets name objects below it
    endpoint     the store, such as `https://s3.eu-central-1.amazonaws.com`; where its host begins
                 with the bucket's name, the bucket is not said again in the path
    region       what requests are signed for
    credentials  where a worker finds the keys; never the keys

All but the keys themselves is public. Rows travel encrypted: plain `http` is for this machine only.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from app.domain.connections import parse_reference
from app.domain.documents import read_object, read_text
from app.domain.errors import InvalidParameter

_BUCKET: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_ROOT: Final = re.compile(rf"s3://({_BUCKET})((?:/[A-Za-z0-9!_.'()=+@&,-]+)*)/?", re.ASCII)
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ENDPOINT: Final = re.compile(
    rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{{0,4}}))?/?", re.ASCII
)
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "[::1]")
_PORTS: Final = {"https": "443", "http": "80"}


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """What a connection to a store says beside its root.

    credentials: a reference, `env:EPSILON_SOURCE_NAME` or `file:/absolute/path`.
    """

    endpoint: str
    region: str
    credentials: str


def parse_store(document: object, pointer: str = "/store") -> ObjectStore:
    """Validate where a store is and how it is spoken to.

    Raises:
        InvalidParameter: with the pointer to the value that is wrong; never repeats a secret.
    """
    fields = read_object(document, pointer, required=("endpoint", "region", "credentials"))
    region = read_text(fields["region"], f"{pointer}/region", most=63)
    if _REGION.fullmatch(region) is None:
        raise InvalidParameter(f"{pointer}/region", "such as eu-central-1, in lower case")
    return ObjectStore(
        endpoint=_parse_endpoint(fields["endpoint"], f"{pointer}/endpoint"),
        region=region,
        credentials=parse_reference(fields["credentials"], f"{pointer}/credentials"),
    )


def parse_bucket(document: object, pointer: str = "/root") -> str:
    """Validate a bucket with a prefix; in the one form in which it is kept, without a last slash.

    Raises:
        InvalidParameter: not `s3://bucket/prefix`, or a prefix of parts that read as steps.
    """
    text = read_text(document, pointer, most=700)
    match = _ROOT.fullmatch(text)
    if match is None or {".", ".."} & set(match[2].split("/")) or ".." in match[1]:
        raise InvalidParameter(pointer, "s3://bucket/prefix is expected, of plain signs")
    return f"s3://{match[1]}{match[2]}"


def require_object(path: str, pointer: str) -> None:
    """Refuse a path that a store, a proxy or a reader could take for another object.

    Raises:
        InvalidParameter: an empty part, a step such as `..`, a sign that is not printed.
    """
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or not path.isprintable() or "\\" in path:
        raise InvalidParameter(pointer, "the plain key of one object below the connection's root")


def object_address(store: ObjectStore, root: str, path: str) -> str:
    """The address of an object, percent-encoded once, as it is signed and sent."""
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    key = quote(f"{prefix}/{path}" if prefix else path, safe="/-_.~")
    begins = urlsplit(store.endpoint).netloc.startswith(f"{bucket}.")
    return f"{store.endpoint}/{key}" if begins else f"{store.endpoint}/{bucket}/{key}"


def object_location(store: ObjectStore, root: str, path: str) -> str:
    """The name of an object's place, whichever way its bucket is said (R18)."""
    bucket = root.removeprefix("s3://").partition("/")[0]
    host = urlsplit(store.endpoint).netloc.removeprefix(f"{bucket}.")
    return f"s3:{host}:{root.removeprefix('s3://')}/{path}"


def _parse_endpoint(document: object, pointer: str) -> str:
    text = read_text(document, pointer, most=300).lower()
    match = _ENDPOINT.fullmatch(text)
    # what was sent may hold a password, so it is never repeated
    if match is None or int(match[3] or 1) > 65535:
        raise InvalidParameter(pointer, "https://host or https://host:port is expected")
    scheme, host, port = match[1], match[2], match[3]
    if scheme == "http" and host not in _THIS_MACHINE:
        raise InvalidParameter(pointer, "https is expected: http is for this machine alone")
    return f"{scheme}://{host}" + ("" if port in (None, _PORTS[scheme]) else f":{port}")
