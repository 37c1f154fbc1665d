"""The web page as it was built: one document for every place in it, and assets by their hash.

Nothing is looked up by a path that somebody sends: the files are read once, by their names, so a
path outside of the folder is one that is not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).parent.parent / "web"

# the places in the page; what stands behind them is the page's own affair
PLACES: Final = (
    "account",
    "admin",
    "approvals",
    "datasets",
    "inbox",
    "jobs",
    "ledger",
    "overview",
    "reports",
    "risk",
    "sign-in",
)
# Scripts only from here, and none in the document. Styles may stand in the document: the component
# library puts its colours there as it runs. Such a style could neither run nor load anything from
# elsewhere, since everything else is kept to this origin.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
# an asset's name changes with its content
FOR_EVER: Final = "public, max-age=31536000, immutable"
ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))

NOT_BUILT: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Epsilon Ledger</title></head><body><main>
<h1>The web page is not built</h1>
<p>The API answers; its reference is at <a href="/docs">/docs</a>.</p>
<p>To build the page, run <code>python3 dev.py up</code> in the checkout. It takes Node.js 20.19
or newer from the system, or installs one beside the checkout, which needs the network once.
Then start the service again.</p>
</main></body></html>"""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: plain, and as it was compressed beforehand."""

    content: bytes
    media_type: str
    encoded: dict[str, bytes] = field(default_factory=dict)

    def answer(self, accepted: str, headers: dict[str, str]) -> Response:
        """The smallest form that the browser takes."""
        names = {each.partition(";")[0].strip() for each in accepted.split(",")}
        headers = {**headers, "Vary": "Accept-Encoding"}
        for encoding, _ in ENCODINGS:
            if encoding in names and encoding in self.encoded:
                headers["Content-Encoding"] = encoding
                return Response(self.encoded[encoding], media_type=self.media_type, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


class BuiltPage:
    """What stands in a folder of the build."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._document = _read(folder / "index.html")
        self._files = {
            path.name: found
            for path in sorted(folder.glob("*.svg"))
            if (found := _read(path)) is not None
        }
        self._assets = {
            path.name: found
            for path in sorted(folder.glob("assets/*"))
            if (found := _read(path)) is not None
        }

    @property
    def is_built(self) -> bool:
        """Whether there is a page to show."""
        return self._document is not None

    async def document(self, request: Request) -> Response:
        """The one document, at every place of the page."""
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        if self._document is None:
            return Response(NOT_BUILT, 503, headers, MEDIA_TYPES[".html"])
        return self._document.answer(request.headers.get("Accept-Encoding", ""), headers)

    async def asset(self, request: Request) -> Response:
        """A script, a style or a picture, by its name."""
        return self._answer(self._assets, request, FOR_EVER)

    async def file(self, request: Request) -> Response:
        """What the document asks for by a name that stays."""
        return self._answer(self._files, request, "public, max-age=3600")

    def routes(self) -> Sequence[Route]:
        """Every path of the page; the API's are not among them."""
        places = [Route("/", self.document)]
        for place in PLACES:
            places.append(Route(f"/{place}", self.document))
            places.append(Route(f"/{place}/{{rest:path}}", self.document))
        files = [Route("/assets/{name}", self.asset), Route("/{name:str}.svg", self.file)]
        return [*places, *files]

    def _answer(self, among: dict[str, Asset], request: Request, caching: str) -> Response:
        name = str(request.path_params["name"])
        found = among.get(name if "." in name else f"{name}.svg")
        if found is None:
            return Response("not found", 404, media_type="text/plain")
        accepted = request.headers.get("Accept-Encoding", "")
        return found.answer(accepted, {"Cache-Control": caching})


def _read(path: Path) -> Asset | None:
    media_type = MEDIA_TYPES.get(path.suffix)
    if media_type is None or not path.is_file():
        return None
    encoded = {}
    for encoding, suffix in ENCODINGS:
        compressed = path.with_name(path.name + suffix)
        if compressed.is_file():
            encoded[encoding] = compressed.read_bytes()
    return Asset(path.read_bytes(), media_type, encoded)
