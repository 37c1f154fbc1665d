"""A real Chromium without a window, spoken to over a pipe: no port, no driver, no dependency.

Chromium's own protocol: JSON messages that end with a NUL, on its file descriptors 3 and 4.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser import browser

WAIT_S = 30.0
# it reads at 3 and writes at 4; out of the way first, for one may stand in the place of the other
PUT_IN_PLACE = """
import os, sys
ends = [os.dup2(int(end), 100 + index) for index, end in enumerate(sys.argv[1:3])]
for place, end in enumerate(ends, start=3):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One page of the browser."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = os.fdopen(reader, "rb", buffering=0)
        self._writer = os.fdopen(writer, "wb", buffering=0)
        self._waiting = b""
        self._count = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One command and its result; events that come meanwhile are dropped."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": arguments}
        if self._session is not None:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        """Go there and wait until something has come."""
        self.call("Page.navigate", url=url)
        self.until(lambda: self.run("document.readyState") == "complete")

    def open_for_fetching(self, url: str) -> None:
        """Go there as a page whose own policy lets it ask, as that of a real page of ours would."""
        self.call("Page.setBypassCSP", enabled=True)
        self.open(url)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def fetch(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """A request that the page makes: its status and its text."""
        options: dict[str, Any] = {"method": method, "headers": headers}
        if body is not None:
            options["body"] = json.dumps(body)
            options["headers"] = {"Content-Type": "application/json", **headers}
        script = f"""fetch({json.dumps(path)}, {json.dumps(options)}).then(
            async answer => ({{status: answer.status, text: await answer.text()}}))"""
        found: dict[str, Any] = self.run(script)
        return found

    def until(self, holds: Callable[[], bool], within_s: float = WAIT_S) -> None:
        """Wait for something; a page that is on its way to another one may not answer."""
        end = time.monotonic() + within_s
        while True:
            try:
                if holds():
                    return
            except AssertionError:
                pass
            assert time.monotonic() < end, self.run("location.href + document.body.innerText")
            time.sleep(0.05)

    def submit(self, **fields: str) -> None:
        """Fill the form of the page and press its button, as a person does."""
        for name, value in fields.items():
            self.run(f"document.querySelector('[name={name}]').value = {json.dumps(value)}")
        self.run("document.querySelector('form button').click()")

    @property
    def url(self) -> str:
        """Where the page is."""
        return str(self.run("location.href"))

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.run("document.body.innerText"))

    def cookies(self) -> dict[str, dict[str, Any]]:
        """All cookies of the browser by name, those included that no script sees."""
        found = self.call("Network.getAllCookies")["cookies"]
        return {cookie["name"]: cookie for cookie in found}

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            piece = self._reader.read(65536)
            assert piece, "the browser has gone"
            self._waiting += piece
        text, _, self._waiting = self._waiting.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A fresh browser that keeps its things in `folder`, with one page."""
    program = browser()
    to_browser, writer = os.pipe()
    reader, from_browser = os.pipe()

    ends = (str(to_browser), str(from_browser))
    command = [
        sys.executable,
        "-c",
        PUT_IN_PLACE,
        *ends,
        program,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
    ]
    command += ["--disable-background-networking", "--disable-component-update"]
    command += [f"--user-data-dir={folder}", "--remote-debugging-pipe", "--no-proxy-server"]
    # the address is 127.0.0.1: nothing is looked up or fetched from elsewhere
    with subprocess.Popen(
        command,
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        os.close(to_browser)
        os.close(from_browser)
        try:
            page = Page(reader, writer)
            yield page
            page.close()
        finally:
            process.terminate()
            process.wait(10)
