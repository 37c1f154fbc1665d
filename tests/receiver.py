"""A receiver of webhooks in a process of its own: it writes down what comes, and can be killed."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


@contextmanager
def receiving(port: int, log: Path, *, status: int = 204) -> Iterator[subprocess.Popen[bytes]]:
    """A receiver on a port of the loopback that answers every POST with `status`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.receiver", str(port), str(log), str(status)]
    )
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def received(log: Path) -> list[dict[str, Any]]:
    """Each POST that came: path, headers by lower-case name, and the body's text."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines]


class Handler(BaseHTTPRequestHandler):
    log: Path
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        line = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body.decode(),
        }
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.send_response(self.status)
        if self.status in range(300, 400):
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test reads the file."""


if __name__ == "__main__":
    Handler.log, Handler.status = Path(sys.argv[2]), int(sys.argv[3])
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
