"""The client file, served as it stands, so that nobody has to look for the right version."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Response

router = APIRouter(prefix="/client", tags=["client"])

MEDIA_TYPE = "text/x-python"


@router.get(
    "/epsilon_ledger.py",
    response_class=Response,
    responses={200: {"description": "The file", "content": {MEDIA_TYPE: {}}}},
)
def read_client() -> Response:
    """The client of this version in one file: it needs `httpx` and nothing else."""
    source = _source()
    etag = f'"{sha256(source).hexdigest()}"'
    return Response(source, media_type=MEDIA_TYPE, headers={"ETag": etag})


@cache
def _source() -> bytes:
    # read, not imported: the service has no use for its own client
    return (files("app") / "client.py").read_bytes()
