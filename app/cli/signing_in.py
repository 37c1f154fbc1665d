"""Which service the commands speak to, and as whom.

`login` keeps the address and an API key in a file that nobody else may read; EPSILON_URL and
EPSILON_API_KEY take its place, so that a pipeline needs no file. A key is never an argument: those
stand in the list of processes and in the shell's history.
"""

import json
import os
import re
import stat
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from app.cli.by_browser import SignInFailed, key_by_browser
from app.cli.terminal import ASKING, AsJson, Ended, console, errors, fail, program, show_json
from app.client import EpsilonLedger, NotNamed, Refused
from app.settings import API_KEY_VARIABLE, URL_VARIABLE

DEFAULT_URL: Final = "http://127.0.0.1:8000"
FILE_MODE: Final = stat.S_IRUSR | stat.S_IWUSR
# what fits in a header
KEY_FORM: Final = re.compile(r"[!-~]+", re.ASCII)
NOT_ALLOWED_STATUSES: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Login:
    """An address and the key that speaks there."""

    url: str
    api_key: str


@program.command(rich_help_panel=ASKING)
def login(
    url: Annotated[str, typer.Option(help="address of the service")] = DEFAULT_URL,
    *,
    key_from_stdin: Annotated[
        bool, typer.Option("--key-from-stdin", help="read the key from the standard input")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="sign in on a page; the key ends after twelve hours")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign in with an API key, which is asked for and kept in a file of yours alone."""
    if browser:
        key = _key_by_browser(url.rstrip("/"))
    else:
        key = sys.stdin.readline() if key_from_stdin else typer.prompt("API key", hide_input=True)
    found = Login(url.rstrip("/"), key.strip())
    with signed_in(found, as_json=as_json) as ledger:
        me = ledger.get("/v1/me")
    _keep(found)
    if as_json:
        show_json(me)
    else:
        console.print(_said_of(me, found.url), markup=False)


@program.command(rich_help_panel=ASKING)
def logout() -> None:
    """Forget the key that `login` kept; it stays good until it is revoked or ends."""
    login_file().unlink(missing_ok=True)
    console.print("forgotten; the key itself is ended by an admin or by its date", markup=False)


@program.command(rich_help_panel=ASKING)
def whoami(*, as_json: AsJson = False) -> None:
    """Who the key speaks for, and with which roles."""
    with signed_in(as_json=as_json) as ledger:
        me = ledger.get("/v1/me")
    if as_json:
        show_json(me)
    else:
        console.print(_said_of(me, read_login().url), markup=False)


@contextmanager
def signed_in(login: Login | None = None, *, as_json: bool = False) -> Iterator[EpsilonLedger]:
    """A client of the service; whatever it refuses ends the command in one line.

    as_json: a refusal's whole document is printed too, where a program reads it.
    """
    login = login or read_login()
    if KEY_FORM.fullmatch(login.api_key) is None:
        fail("this is no API key: one word of ASCII", Ended.NOT_ALLOWED)
    try:
        with EpsilonLedger(login.url, login.api_key) as ledger:
            yield ledger
    except Refused as refused:
        if as_json:
            show_json(refused.problem)
        _end_refused(refused)
    except NotNamed as unclear:
        fail(str(unclear), Ended.UNREADABLE)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        fail(f"{login.url} does not answer ({type(error).__name__})", Ended.OUT_OF_REACH)
    except json.JSONDecodeError:
        fail(f"{login.url} answers, but not as the service does", Ended.OUT_OF_REACH)
    except KeyboardInterrupt:
        fail("stopped; what was asked for goes on in the service", Ended.STOPPED)


def read_login(url: str | None = None) -> Login:
    """From the environment, else as `login` kept it; without either the command ends.

    url: the service that the command line names, if it does.
    """
    kept: dict[str, Any] = {}
    path = login_file()
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            fail(f"others may read {path}; make it yours alone, or sign in anew", Ended.NOT_ALLOWED)
        kept = json.loads(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError):
        fail(f"{path} cannot be read; sign in anew with `login`", Ended.UNREADABLE)
    url = (url or os.environ.get(URL_VARIABLE) or kept.get("url") or DEFAULT_URL).rstrip("/")
    api_key = os.environ.get(API_KEY_VARIABLE)
    if not api_key and url == kept.get("url"):
        # a kept key is for the service that it was kept for, and is sent to no other
        api_key = kept.get("api_key")
    if not api_key:
        fail(f"not signed in: `login`, or set {API_KEY_VARIABLE}", Ended.NOT_ALLOWED)
    return Login(url, api_key)


def login_file() -> Path:
    """Where `login` keeps what it was given."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "epsilon-ledger" / "login.json"


def _key_by_browser(url: str) -> str:
    def open_page(address: str, shown: str) -> None:
        errors.print(f"open {address}", markup=False)
        errors.print(f"and go on only if the page shows {shown}", markup=False)
        webbrowser.open(address)

    try:
        return key_by_browser(url, open_page)
    except SignInFailed as failed:
        fail(str(failed), Ended.NOT_ALLOWED)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        fail(f"{url} does not answer ({type(error).__name__})", Ended.OUT_OF_REACH)
    except KeyboardInterrupt:
        fail("stopped", Ended.STOPPED)


def _keep(login: Login) -> None:
    path = login_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    # made unreadable for others before a byte of the key is in it
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(login), file)
    part.replace(path)


def _said_of(me: dict[str, Any], url: str) -> str:
    runner = ", a registered runner" if me["is_runner"] else ""
    return f"{me['name']} ({', '.join(me['roles'])}{runner}) at {url}"


def _end_refused(refused: Refused) -> None:
    said = refused.problem.get("detail") or refused.problem.get("title") or refused.code
    fits = refused.problem.get("fits")
    if isinstance(fits, dict):
        room = {key: value for key, value in fits.items() if value is not None}
        if room:
            errors.print(f"what fits: {json.dumps(room)}", markup=False)
    is_closed = refused.status in NOT_ALLOWED_STATUSES
    fail(f"{refused.code}: {said}", Ended.NOT_ALLOWED if is_closed else Ended.REFUSED)
