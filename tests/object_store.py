"""A small S3 on loopback: objects in memory, every signature verified, ranges and states served.

Its verifier is written by the published description of AWS Signature Version 4 and shares no line
with the worker's; an independent client (DuckDB's httpfs 1.4.4) was read by it without a refusal.
"""

import hashlib
import hmac
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

REGION = "eu-test-1"
KEY_ID = "AKIDOFATEST"
SECRET = "a/secret+key=of/a/test"
KEYS = json.dumps({"access_key_id": KEY_ID, "secret_access_key": SECRET})
_SPOKEN = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


@dataclass
class Store:
    """The objects of one server, by `bucket/key`, and what was asked for.

    asked: method, path, range and status of each request, in order.
    breaks: after how many bytes each of the next answers breaks off.
    then: puts these objects in place of the old ones after the next break.
    redirect: where every request is sent on to.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None, int]] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    then: dict[str, bytes] | None = None
    token: str | None = None
    redirect: str | None = None
    endpoint: str = ""


@contextmanager
def object_store(*, certificate: Path | None = None) -> Iterator[Store]:
    """A server of its own port, until the block ends; with a certificate it speaks TLS."""
    store = Store()
    server = _Server(("127.0.0.1", 0), _handler(store))
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    store.endpoint = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""


def _handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._serve(with_body=False)

        def do_GET(self) -> None:
            self._serve(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _serve(self, *, with_body: bool) -> None:
            status, headers, body = self._decided()
            store.asked.append((self.command, self.path, self.headers.get("range"), status))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if not with_body:
                return
            if status in (200, 206) and store.breaks:
                self.wfile.write(body[: store.breaks.pop(0)])
                store.objects |= store.then or {}
                self.close_connection = True
                return
            self.wfile.write(body)

        def _decided(self) -> tuple[int, dict[str, str], bytes]:
            if store.redirect is not None:
                return 307, {"Location": store.redirect + self.path}, b""
            if not self._is_signed():
                return 403, {}, b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
            content = store.objects.get(unquote(self.path.partition("?")[0]).lstrip("/"))
            if content is None:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
            state = f'"{hashlib.md5(content).hexdigest()}"'
            if self.headers.get("if-match", state) != state:
                return 412, {}, b""
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
            if asked is None:
                return 200, {"ETag": state, "Accept-Ranges": "bytes"}, content
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            last = min(last, len(content) - 1)
            span = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            return 206, {"ETag": state, **span}, content[first : last + 1]

        def _is_signed(self) -> bool:
            spoken = _SPOKEN.fullmatch(self.headers.get("authorization", ""))
            if spoken is None:
                return False
            key_id, day, region, names, signature = spoken.groups()
            moment = self.headers["x-amz-date"]
            said = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            signed = names.split(";")
            must = {"host", *(n.lower() for n in self.headers if n.lower().startswith("x-amz-"))}
            if (
                key_id != KEY_ID
                or region != REGION
                or day != moment[:8]
                or abs((datetime.now(UTC) - said).total_seconds()) > 900
                or signed != sorted(signed)
                or not must <= set(signed)
                or self.headers.get("x-amz-security-token") != store.token
            ):
                return False
            path, _, query = self.path.partition("?")
            pairs = sorted(query.split("&")) if query else []
            lines = [f"{name}:{' '.join(self.headers[name].split())}" for name in signed]
            canonical = [self.command, quote(unquote(path), safe="/-_.~"), "&".join(pairs)]
            canonical += [*lines, "", names, self.headers["x-amz-content-sha256"]]
            scope = f"{day}/{region}/s3/aws4_request"
            hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
            key = b"AWS4" + SECRET.encode()
            for word in scope.split("/"):
                key = hmac.new(key, word.encode(), hashlib.sha256).digest()
            text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}"
            expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            return hmac.compare_digest(expected, signature)

    return Handler
