"""What the programs say while they run: one line for each event, with its ids beside it.

A line of ours is an event and its facts, `log.info("job.claimed fence=%s", fence)`, and the ids
that it is about come from around it: `with about(job_id=...)`. Lines hold ids, charges and the
names of errors, and never what an error quotes, which may be a row, a key or a literal of a query
(L9): of an exception only its type and the places in the code are written, in either form.
"""

import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal

Form = Literal["text", "json"]
FORMS: Final = ("text", "json")
OURS: Final = ("app", "workers", "kernels")
# what says of itself that it starts, serves and ends; all other libraries speak of trouble alone
SERVERS: Final = ("uvicorn", "celery")
EVENT: Final = re.compile(r"(?P<event>[a-z_]+(?:\.[a-z_]+)+)(?P<facts>(?: [a-z_0-9]+=%s)*)")
PLACES_MOST: Final = 30

_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about")


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Within the block every line of this task or thread names these ids too."""
    token = _ABOUT.set({**_ABOUT.get({}), **ids})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def configure(level: str, form: str, *, program: str) -> None:
    """Write the lines of this process to its standard error, in place of what was set up before.

    Args:
        level: the least level of our own lines; of libraries only warnings and worse are written,
            and of those that serve also what they say at INFO.
        form: `text` or `json`.
        program: named in each line: `api`, `dispatch`, `sender` or `worker`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(program) if form == "json" else TextLines(program))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in SERVERS:
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
        server.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))
    # it would write addresses with their queries; `request.ended` says what may be said
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    logging.captureWarnings(capture=True)
    threading.excepthook = _on_dead_thread


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `program`, `logger`, then `event` or `message`.

    After these come the ids and facts by their names, and of an exception `error` and `where`.
    """

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return json.dumps(said(record, self._program), default=str)


class TextLines(logging.Formatter):
    """The same for eyes: time, level, logger, event or message, then `name=value`."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, one line whatever is in it."""
        facts = said(record, self._program)
        head = [str(facts.pop(name)) for name in ("time", "level", "logger")]
        del facts["program"], facts["pid"]
        text = str(facts.pop("event", None) or facts.pop("message"))
        named = [f"{name}={value}" for name, value in facts.items()]
        line = " ".join([*head, text, *named])
        return line if line.isprintable() else line.encode("unicode_escape").decode("ascii")


def said(record: logging.LogRecord, program: str) -> dict[str, Any]:
    """What a line says of a record, by name."""
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "program": program,
        "pid": record.process,
        "logger": record.name,
    }
    found = EVENT.fullmatch(record.msg) if isinstance(record.msg, str) else None
    if found is None:
        line["message"] = _message(record)
        facts: Mapping[str, Any] = {}
    else:
        line["event"] = found["event"]
        names = [each.partition("=")[0] for each in found["facts"].split()]
        given = record.args if isinstance(record.args, tuple) else (record.args,)
        facts = dict(zip(names, given if names else (), strict=True))
    for name, value in {**_ABOUT.get({}), **facts}.items():
        line[name] = value if isinstance(value, bool | int | float | None) else str(value)
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, trace = record.exc_info
        line["error"] = _name(kind)
        line["where"] = _places(trace)
    return line


def _message(record: logging.LogRecord) -> str:
    """What a library says, without the texts of exceptions that it would quote."""
    if not isinstance(record.msg, str):
        return f"({type(record.msg).__name__})"
    has_failed = bool(record.exc_info and record.exc_info[0] is not None)
    args = record.args
    if record.name == "celery.app.trace" and isinstance(args, Mapping):
        # what a task raised, its arguments and what it gave back: the last two are an id and None
        kept = {**args, "exc": "an exception", "traceback": "", "return_value": "-"}
        text = record.msg % kept
    elif isinstance(args, tuple) and any(isinstance(each, BaseException) for each in args):
        text = record.msg % tuple(
            _name(type(each)) if isinstance(each, BaseException) else each for each in args
        )
    else:
        text = record.getMessage()
    # below the first line some of them print the traceback, text and all
    return text.strip().partition("\n")[0] if has_failed else text.strip()


def _name(kind: type[BaseException]) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _places(trace: TracebackType | None) -> list[str]:
    """Where an exception came from, the innermost last, without a word of what it said."""
    places = []
    while trace is not None:
        frame = trace.tb_frame
        module = frame.f_globals.get("__name__", "?")
        places.append(f"{module}.{frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-PLACES_MOST:]


def _on_dead_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is SystemExit:
        return
    name = ended.thread.name if ended.thread is not None else "-"
    value = ended.exc_value or ended.exc_type()
    log.critical("thread.died name=%s", name, exc_info=(ended.exc_type, value, ended.exc_traceback))


log = logging.getLogger(__name__)
