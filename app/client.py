"""A client in one file: `httpx` and the standard library, to be carried anywhere.

    with EpsilonLedger("http://127.0.0.1:8000", api_key) as ledger:
        quote = ledger.quote(inputs=inputs, spec=spec)
        job = ledger.submit("query", inputs=inputs, spec=spec, purpose="delay statistics")
        job = ledger.wait(job["id"], on_progress=print)
        result = ledger.result(job["id"])
        ledger.save_result(job["id"], "delays.csv")  # or form="parquet"

A job that runs here, under another tool, holds room in the ledger while it runs (R15):

    parts = from_opacus([(1.1, 0.01, 1000)], data_loader=data_loader)
    with ledger.reservation(inputs=inputs, parts=parts, tool="opacus 1.6.0") as held:
        for step in range(1000):
            held.start(step + 1)  # durable first, then run: charged before seen
            train_one_step()
        held.output_sha256 = digest_of_the_model

`reserved` does the same in one line, by names and with the key of the environment.

Privacy parameters are decimal strings. A submit chooses its own Idempotency-Key and repeats with
it when the answer is lost, so that a request is admitted at most once whatever the network does.
The adapters at the end (`from_opacus`, `from_dp_event`, `from_jax_privacy`, `from_opendp`) turn
what a tool knows of its mechanism into the parts of a quote or a reservation.
"""

import csv
import io
import json
import math
import operator
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

ENDED = frozenset({"settled", "cancelled", "failed"})
REPORT_ENDED = frozenset({"ready", "failed"})
ATTEMPTS_MOST = 5
PAUSE_FIRST_S = 0.2
PAUSE_MOST_S = 5.0
POLL_S = 0.5
ARTIFACT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)
# a stream says something at least every 15 s; a longer silence is a lost connection
SILENCE_MOST_S = 60.0
LEASE_S = 900
BEATS_A_LEASE = 3
NOTHING_READ = "no private row was read"
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
LEASE_OVER = frozenset({"lease-lost", "already-resolved"})

Document = dict[str, Any]
OnProgress = Callable[[Document], object]


class Refused(Exception):
    """The service answered no; nothing was charged by the refused request.

    code: the stable name of the refusal, such as `budget-exceeded`.
    problem: the whole RFC 9457 document with its facts, such as `fits`.
    """

    def __init__(self, problem: Document) -> None:
        self.problem = problem
        self.status: int = problem.get("status", 0)
        self.code: str = problem.get("code", "unknown")
        super().__init__(f"{self.code}: {problem.get('detail', problem.get('title', ''))}")

    def __getitem__(self, fact: str) -> Any:
        """A fact of the refusal.

        Raises:
            KeyError: the refusal has no such fact.
        """
        return self.problem[fact]


class LeaseLost(Refused):
    """A reservation is no longer held: nothing further may start.

    What it owes is charged by the service: a registered runner's started units, else all (R15).
    """


class NotNamed(LookupError):
    """A name means no thing that this key may read, or several; the text says which there are."""


class EpsilonLedger:
    """One connection pool to one service under one API key."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=timeout_s,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, path: str, **query: str | int) -> Document:
        """A document, for example `get("/v1/budgets/" + id)`.

        Raises:
            Refused: any answer of 400 and more.
            httpx.TransportError: the service stays out of reach.
        """
        return _document(self._asked("GET", path, query=query))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | int | None = None,
        attempts: int = ATTEMPTS_MOST,
    ) -> Document:
        """A change, repeated under one key while the answer is lost.

        idempotency_key: chosen here unless given; keep your own where a process may die meanwhile.
        if_match: the version that was read; what changes a budget, dataset or approval needs it.
        attempts: how often it is asked before an answer that stays lost is given up.

        Raises:
            Refused: any answer of 400 and more.
            httpx.TransportError: the service stays out of reach; the change may have been made.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if if_match is not None:
            text = str(if_match)
            headers["If-Match"] = text if text.startswith('"') else f'"{text}"'
        answer = self._asked("POST", path, body=body, headers=headers, attempts=attempts)
        return _document(answer)

    def delete(self, path: str) -> Document:
        """Take something away.

        Raises:
            Refused: any answer of 400 and more.
        """
        return _document(self._asked("DELETE", path))

    def pages(self, path: str, **query: str | int) -> Iterator[Document]:
        """Every item of a list that comes in pages."""
        cursor: str | None = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def dataset(self, name: str) -> Document:
        """The dataset of a name or id.

        Raises:
            NotNamed: none or several; it says which there are.
        """
        return _named(self.pages("/v1/datasets"), name, "dataset")

    def inputs(self, dataset: str, budget: str | None = None) -> list[Document]:
        """What a job says of its rows and of who pays, by names: the newest version, all blocks.

        budget: the name or id of a budget of the dataset; needed where several leaves are open,
            since which one pays is for a person to say.

        Raises:
            NotNamed: none or several of that name, or no single leaf; it says which there are.
        """
        rows = self.dataset(dataset)
        of_rows = [b for b in self.pages("/v1/budgets") if b["dataset_id"] == rows["id"]]
        if budget is not None:
            leaf = _named(of_rows, budget, "budget")
        else:
            parents = {b["parent_id"] for b in of_rows if b["state"] == "open"}
            open_ = [b for b in of_rows if b["state"] == "open" and b["id"] not in parents]
            if len(open_) != 1:
                raise NotNamed(f"say which budget of {rows['name']} pays: {_listed(open_)}")
            (leaf,) = open_
        version = rows["version"]
        ids = {"dataset_id": rows["id"], "version": version, "budget_id": leaf["id"]}
        return [{**ids, "blocks": "all"}]

    def models(self) -> list[Document]:
        """The models that a training spec may name: `name`, `title`, `reads`, `options`.

        `options` is the JSON Schema of what stands beside the name.
        """
        found: list[Document] = self.get("/v1/models")["items"]
        return found

    def quote(
        self,
        *,
        inputs: Sequence[Mapping[str, Any]],
        spec: Mapping[str, Any] | None = None,
        parts: Sequence[Mapping[str, Any]] | None = None,
        kind: str | None = None,
        reuse: bool | None = None,
    ) -> Document:
        """What a job (`spec`) or the parts of an outside job would cost; touches no data.

        `reused_from` of the answer names a job that has released just this: a submit is answered by
        it at no charge, whatever a fresh release would cost.

        Of a query it shows the `plan`, the `predicted` errors, and by the newest `profile` what
        caps and bounds will cut off (`truncation`) and better ones (`proposed`).

        kind: where the spec does not say it by itself, as a profile of all defaults does not.

        Raises:
            Refused: it could not be priced.
        """
        asked: Document = {"inputs": inputs, "spec": spec, "parts": parts, "kind": kind}
        asked["reuse"] = reuse
        body = {key: value for key, value in asked.items() if value is not None}
        return self.post("/v1/quotes", body)

    def submit(
        self,
        kind: str,
        *,
        inputs: Sequence[Mapping[str, Any]],
        spec: Mapping[str, Any],
        purpose: str,
        idempotency_key: str | None = None,
        reuse: bool | None = None,
    ) -> Document:
        """Ask for a job; where this returns, its worst-case loss is reserved and it is queued.

        A query that was asked before, on the same rows and budget, is answered by what it released:
        the answer is that job, with `reused_from`, and nothing is charged. `wait` and `result` work
        as ever. With `reuse=False` fresh noise is drawn and charged; on a live table, whose rows
        may have changed, so it is without `reuse=True`.

        Raises:
            Refused: for example `budget-exceeded`, with `fits` and what is `left`.
        """
        body: Document = {"kind": kind, "inputs": inputs, "spec": spec, "purpose": purpose}
        body |= {} if reuse is None else {"reuse": reuse}
        return self.post("/v1/jobs", body, idempotency_key=idempotency_key)

    def profile(
        self,
        *,
        inputs: Sequence[Mapping[str, Any]],
        spec: Mapping[str, Any],
        purpose: str,
        timeout_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """Pay for a profile of a dataset and wait for it; every quote after it reads it, free.

        Raises:
            Refused: for example `budget-exceeded`; or `result-not-ready`, where the job failed.
            TimeoutError: it had not ended after `timeout_s`; it goes on without us.
        """
        job = self.submit(
            "profile", inputs=inputs, spec=spec, purpose=purpose, idempotency_key=idempotency_key
        )
        return self.result(self.wait(job["id"], timeout_s=timeout_s)["id"])

    def reservation(
        self,
        *,
        inputs: Sequence[Mapping[str, Any]],
        tool: str,
        mechanism: Mapping[str, Any] | None = None,
        max_units: int | None = None,
        parts: Sequence[Mapping[str, Any]] | None = None,
        lease_s: int = LEASE_S,
        idempotency_key: str | None = None,
    ) -> "HeldReservation":
        """Room for a job that runs here, asked for where its `with` block begins.

        mechanism, max_units: of ONE unit, and the most units that may start; or `parts` of these.
        tool: name and version of what runs; statements print it as an assumption.
        lease_s: how long the room is kept without a sign of life; a thread gives one every third.
        idempotency_key: your own, where another process shall be able to go on after a crash. The
            process that came last holds the room: one before it that still lives finds its lease
            lost at its next start. For the key of a registered runner alone: of others nobody
            knows what the first process has read, and a second draw would be uncharged.

        Raises (at the beginning of the block):
            ValueError: an idempotency_key, and the API key is no runner's; nothing is reserved.
            Refused: for example `budget-exceeded`, with `fits` and what is `left`.
            LeaseLost: the key's reservation is already settled.
            httpx.TransportError: the service stays out of reach. Room may have been taken, and is
                then charged when its lease ends: ask again under the same idempotency_key.
        """
        asked = {
            "inputs": inputs,
            "mechanism": mechanism,
            "max_units": max_units,
            "parts": parts,
            "lease_s": lease_s,
            "tool": tool,
        }
        body = {key: value for key, value in asked.items() if value is not None}
        return HeldReservation(self, body, lease_s=lease_s, idempotency_key=idempotency_key)

    def wait(
        self,
        job_id: str,
        on_progress: OnProgress | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Document:
        """The job, once it has ended in whatever way; look at its `state`.

        on_progress: called with each published line, in order, once.

        Raises:
            TimeoutError: it had not ended after `timeout_s`; it goes on without us.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        seen = 0
        while True:
            try:
                for event, data in self._events(job_id, seen, deadline):
                    if event == "progress":
                        seen = data["id"]
                        if on_progress is not None:
                            on_progress(data)
                    _require_time(deadline, job_id)
            except httpx.TransportError:
                pass  # the stream is lost, the job is not: ask, and follow it from where we were
            job = self.get(f"/v1/jobs/{job_id}")
            if job["state"] in ENDED:
                return job
            _require_time(deadline, job_id)
            time.sleep(POLL_S)

    def watch(self, job_id: str, *, timeout_s: float | None = None) -> Document:
        """The job, once it has ended; meanwhile its progress is shown to whoever looks on.

        By `rich` where it is installed, in a terminal or a notebook; else as lines on a terminal's
        standard error. Where nobody looks, nothing is written.

        Raises:
            TimeoutError: it had not ended after `timeout_s`; it goes on without us.
        """
        with _shown(f"job {job_id[:8]}") as show:
            return self.wait(job_id, show, timeout_s=timeout_s)

    def arrow(self, job_id: str) -> Any:
        """A query's result as a `pyarrow.Table`.

        Raises:
            ImportError: pyarrow is not installed.
            Refused: as of `save_result`.
        """
        import pyarrow.parquet  # the frame is the caller's choice: nothing is needed for others

        return pyarrow.parquet.read_table(self._parquet(job_id))

    def pandas(self, job_id: str) -> Any:
        """A query's result as a `pandas.DataFrame`, read by way of pyarrow.

        Raises:
            ImportError: pandas or pyarrow is not installed.
            Refused: as of `save_result`.
        """
        import pandas

        return pandas.read_parquet(self._parquet(job_id))

    def polars(self, job_id: str) -> Any:
        """A query's result as a `polars.DataFrame`.

        Raises:
            ImportError: polars is not installed.
            Refused: as of `save_result`.
        """
        import polars

        return polars.read_parquet(self._parquet(job_id))

    def _parquet(self, job_id: str) -> io.BytesIO:
        path = f"/v1/jobs/{job_id}/result"
        return io.BytesIO(self._asked("GET", path, query={"format": "parquet"}).content)

    def result(self, job_id: str) -> Document:
        """What the job released.

        Raises:
            Refused: `result-not-ready` while its spend is not posted.
        """
        return self.get(f"/v1/jobs/{job_id}/result")

    def download(self, job_id: str, name: str, folder: str | Path) -> Path:
        """Write an artifact that the result names into a folder; gives the file.

        Raises:
            ValueError: not a plain file name, so it could be written somewhere else.
            Refused: the result names no such artifact.
        """
        if ARTIFACT_NAME.fullmatch(name) is None:
            raise ValueError(f"not the name of an artifact: {name!r}")
        return self._saved(f"/v1/jobs/{job_id}/artifacts/{name}", Path(folder) / name)

    def save_result(self, job_id: str, file: str | Path, *, form: str = "csv") -> Path:
        """Write a query's result to a file as a table; gives the file.

        form: `csv`, in which a leading apostrophe marks a text that a spreadsheet would take for a
            formula, and which `read_result_csv` reads back; or `parquet`.

        Raises:
            Refused: `format-not-available`, with the forms that are `available`;
                `result-not-ready` while its spend is not posted.
        """
        return self._saved(f"/v1/jobs/{job_id}/result", Path(file), {"format": form})

    def report(
        self,
        dataset: str,
        on_progress: OnProgress | None = None,
        *,
        checkpoint_seq: int | None = None,
        timeout_s: float | None = None,
    ) -> Document:
        """The evaluation report of a dataset, by name or id, once it is signed or has failed.

        on_progress: called with each new state of its `progress`.
        checkpoint_seq: the signed checkpoint to stand on; where the ledger stands now if unset.

        Raises:
            NotNamed: no dataset of that name, or several.
            TimeoutError: it was not ready after `timeout_s`; it is built on without us.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        body: Document = {"dataset_id": self.dataset(dataset)["id"]}
        if checkpoint_seq is not None:
            body["checkpoint_seq"] = checkpoint_seq
        asked = self.post("/v1/reports", body)
        told = None
        while True:
            found = self.get(f"/v1/reports/{asked['id']}")
            if on_progress is not None and found["progress"] != told:
                told = found["progress"]
                on_progress(told)
            if found["state"] in REPORT_ENDED:
                return found
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"report {asked['id']} is {found['state']}")
            time.sleep(POLL_S)

    def save_report(self, report_id: str, file: str | Path, *, form: str = "json") -> Path:
        """Write a ready report to a file; gives the file.

        form: `json`, which is what was signed, or `html` or `pdf`, rendered from it.

        Raises:
            Refused: `report-not-ready`; `extra-missing` where the service cannot render the form.
        """
        return self._saved(f"/v1/reports/{report_id}", Path(file), {"format": form})

    def bundle(self, *, with_tail: bool = False) -> Iterator[bytes]:
        """The whole ledger in pieces, as they come; `verify` checks it without the service.

        Its last line is `{"end": ...}`: without that it is not whole.

        with_tail: also the entries that no checkpoint has signed yet.

        Raises:
            Refused: the key is neither an officer's nor an auditor's.
            httpx.TransportError: the service went out of reach before the end.
        """
        return self._pieces("/v1/ledger/export", {"with_tail": "true"} if with_tail else None)

    def _saved(self, path: str, target: Path, query: Mapping[str, str] | None = None) -> Path:
        part = target.with_name(f"{target.name}.part")
        try:
            with part.open("wb") as file:
                for piece in self._pieces(path, query):
                    file.write(piece)
            return part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _pieces(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[bytes]:
        with self._http.stream("GET", path, params=query) as answer:
            if answer.status_code >= 400:
                answer.read()
                raise _refused(answer)
            yield from answer.iter_bytes()

    def _asked(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = ATTEMPTS_MOST,
    ) -> httpx.Response:
        pause_s = PAUSE_FIRST_S
        for attempt in range(1, attempts + 1):
            try:
                answer = self._http.request(method, path, params=query, json=body, headers=headers)
            except httpx.TransportError:
                if attempt == attempts:
                    raise
            else:
                if answer.status_code < 400:
                    return answer
                if answer.status_code < 500 or attempt == attempts:
                    raise _refused(answer)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MOST_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _events(
        self, job_id: str, after: int, deadline: float | None
    ) -> Iterator[tuple[str, Document]]:
        headers = {"Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = str(after)
        silence_s = SILENCE_MOST_S
        if deadline is not None:
            silence_s = min(silence_s, max(deadline - time.monotonic(), 0.001))
        timeout = httpx.Timeout(self._http.timeout.connect, read=silence_s)
        path = f"/v1/jobs/{job_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.status_code >= 500:
                return  # as if the stream were lost
            if answer.status_code >= 400:
                answer.read()
                raise _refused(answer)
            event = data = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    event = value
                elif field == "data":
                    data += value
                elif not line:
                    if event and data:
                        yield event, json.loads(data)
                    event = data = ""


class HeldReservation:
    """Room in the ledger for a job that runs here; made by `EpsilonLedger.reservation`.

    How it ends (R15). The service cannot see what this process reads, so nothing is given back
    because of how the code happened to end, only by what was made durable or was signed:

    - The block ends well: committed. A registered runner pays the units that it started, and is
      refused with `nothing-started` where it started none: what ran was not charged before it
      ran. Everybody else pays the whole, whether or not `start` was called.
    - It raises after a `start` was asked for: committed too. Touched is spent (L6), also where the
      answer to that start was lost.
    - It raises before any start: left open, since an exception does not know whether rows were
      read. `nothing_was_read()`, in the block or after it, signs that none was and gives all back;
      without it the lease ends, and all is charged (a runner's started units: none).
    - The process dies: the lease ends, as above.
    """

    def __init__(
        self,
        ledger: EpsilonLedger,
        body: Mapping[str, Any],
        *,
        lease_s: int,
        idempotency_key: str | None,
    ) -> None:
        self.id = ""
        self.fence = 0
        self._ledger = ledger
        self._body = body
        self._lease_s = lease_s
        self._key = idempotency_key
        self._started: dict[int, int] = {}
        self._touched = False
        self._settled = False
        self._output_sha256: str | None = None
        self._lost: LeaseLost | None = None
        self._held_until = 0.0
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="epsilon-ledger", daemon=True)

    @property
    def output_sha256(self) -> str | None:
        """Hex digest that names the job's output in the ledger; sent with the commit."""
        return self._output_sha256

    @output_sha256.setter
    def output_sha256(self, digest: str) -> None:
        if SHA256.fullmatch(digest) is None:
            raise ValueError("not a SHA-256 in lower-case hex")
        self._output_sha256 = digest

    def __enter__(self) -> Self:
        if self.id:
            raise ValueError(f"{self._name} had its block: ask for another one")
        if self._key is not None and not self._ledger.get("/v1/me")["is_runner"]:
            raise ValueError("only a registered runner can go on under an idempotency_key")
        self._held_until = time.monotonic() + self._lease_s
        made = self._ledger.post("/v1/reservations", self._body, idempotency_key=self._key)
        self.id, self.fence = made["id"], made["fence"]
        if self._key is not None:
            self._go_on()
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._beating.join()
        if self._settled:
            return
        if error is None:
            self._commit()
        elif self._touched:
            try:
                self._commit()
            except (Refused, httpx.TransportError) as failure:
                # the job's own error is the one to see
                error.add_note(f"{self._name} is not committed ({failure}); its lease will end it")
        else:
            error.add_note(
                f"{self._name} is left open: nothing was started, and nobody has signed that "
                "nothing was read. It is charged when its lease ends, unless nothing_was_read() "
                "is called before."
            )

    def start(self, units: int, part: int = 0) -> None:
        """Make units durable as started. Call it BEFORE the chunk runs; it returns once they are.

        units: cumulative in this part, the chunk to come included.

        Raises:
            ValueError: not above what was started before. Those units have run; to run them again
                is another draw, which nobody would have charged (R14).
            LeaseLost: the room is no longer held. Stop.
            Refused: the service says no, for example `scope-closed`. Stop; nothing was started.
            httpx.TransportError: nothing is known. Stop, or ask again with the same units.
        """
        if self._settled:
            raise ValueError(f"{self._name} is settled")
        if self._lost is not None:
            raise LeaseLost(self._lost.problem)
        before = self._started.get(part, 0)
        if units <= before:
            raise ValueError(f"{before} units of part {part} were started already")
        was_touched = self._touched
        self._touched = True  # from here on, unless the answer is a plain no
        try:
            self._ask("start", {"part": part, "started_units": units})
        except Refused as refused:
            self._touched = was_touched or refused.status >= 500
            raise
        self._started[part] = units

    def nothing_was_read(self) -> None:
        """Sign that no private row was read, and give everything back; nothing may start after it.

        The sentence is kept under the caller's name. It can be said in the block or after it, while
        the lease lasts.

        Raises:
            Refused: `already-touched`: units were started, or the lease ended and all is charged.
            LeaseLost: the lease has ended.
        """
        self._ask("void", {"statement": NOTHING_READ})
        self._settled = True

    @property
    def _name(self) -> str:
        return f"reservation {self.id}"

    def _go_on(self) -> None:
        # a process may have run under this key, and may still: what it has started is spent (R14),
        # and the new fence stops it from starting more
        found = self._post("resume", {"lease_s": self._lease_s})
        self.fence = found["fence"]
        self._touched = found["state"] == "touched"
        for part, each in enumerate(found["parts"]):
            self._started[part] = each["started_units"]

    def _commit(self) -> None:
        named = {} if self._output_sha256 is None else {"output_sha256": self._output_sha256}
        self._ask("commit", named)
        self._settled = True

    def _ask(self, what: str, fields: Mapping[str, Any], *, attempts: int = ATTEMPTS_MOST) -> None:
        self._post(what, {"fence": self.fence, **fields}, attempts=attempts)

    def _post(
        self, what: str, body: Mapping[str, Any], *, attempts: int = ATTEMPTS_MOST
    ) -> Document:
        path = f"/v1/reservations/{self.id}/{what}"
        try:
            return self._ledger.post(path, body, attempts=attempts)
        except Refused as refused:
            if refused.code in LEASE_OVER:
                raise LeaseLost(refused.problem) from refused
            raise

    def _beat(self) -> None:
        every_s = pause_s = self._lease_s / BEATS_A_LEASE
        while not self._ended.wait(pause_s):
            asked_at = time.monotonic()
            try:
                self._ask("heartbeat", {"lease_s": self._lease_s}, attempts=1)
            except LeaseLost as lost:
                self._lost = lost
                return
            except Exception as error:
                # whatever it was: the lease goes on for a while, and another try may come through
                if time.monotonic() > self._held_until:
                    detail = f"no sign of life came through in {self._lease_s} s: {error}"
                    self._lost = LeaseLost({"code": "lease-lost", "status": 409, "detail": detail})
                    return
                pause_s = min(every_s, PAUSE_MOST_S)
            else:
                self._held_until = asked_at + self._lease_s
                pause_s = every_s


# What other tools know of their mechanisms, as parts. A number becomes a decimal string of at most
# 17 digits that is never on the side of less loss: noise down, rates and losses up.

# by the name of the event's class: why it is not taken
REFUSED_EVENTS = {
    "NonPrivateDpEvent": "it is not private",
    "UnsupportedDpEvent": "it says itself that nobody can account for it",
    "SampledWithReplacementDpEvent": "batches of a fixed size have no proven price here",
    "SampledWithoutReplacementDpEvent": "batches of a fixed size have no proven price here",
    "TruncatedSubsampledGaussianDpEvent": "truncated batches have no proven price here",
    "RepeatAndSelectDpEvent": "every run is charged: compose them instead",
}
POISSON_SAMPLERS = frozenset(
    {"UniformWithReplacementSampler", "DistributedUniformWithReplacementSampler"}
)
DIGITS_MOST = 17


@contextmanager
def reserved(dataset: str, *, budget: str | None = None, **asked: Any) -> Iterator[HeldReservation]:
    """Room for a block of code that runs here, with the service and the key of the environment.

    Reads EPSILON_URL and EPSILON_API_KEY, asks for room for `dataset` under `budget`, by name, and
    settles at the end of the block as `HeldReservation` does. `asked`: as of
    `EpsilonLedger.reservation`, such as `parts` and `tool`.

        with reserved("digits", parts=parts, tool="opacus 1.6.0") as held:
            for step in range(1000):
                held.start(step + 1)
                ...

    Raises:
        KeyError: a variable is not set.
        NotNamed: no single dataset or budget is meant.
        Refused, LeaseLost, httpx.TransportError: see `EpsilonLedger.reservation`.
    """
    url, api_key = os.environ["EPSILON_URL"], os.environ["EPSILON_API_KEY"]
    with (
        EpsilonLedger(url, api_key) as ledger,
        ledger.reservation(inputs=ledger.inputs(dataset, budget), **asked) as held,
    ):
        yield held


def read_result_csv(file: str | Path) -> list[dict[str, str | None]]:
    """The rows of a result that was saved as CSV, its texts as they were released.

    The mark that keeps spreadsheets from taking a text for a formula is taken off; None is a
    missing value. Numbers are the texts of JSON numbers, lists those of JSON lists.
    """
    with Path(file).open(encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    names = [name.removeprefix("'") for name in header]
    return [
        {
            name: field.removeprefix("'") if field else None
            for name, field in zip(names, row, strict=True)
        }
        for row in rows
    ]


def from_opacus(source: Any, *, data_loader: Any) -> list[Document]:
    """The parts of an Opacus run: one unit is one optimizer step.

    Reads, as of Opacus 1.6: `PrivacyEngine.accountant`, `IAccountant.history` (tuples of
    noise_multiplier, sample_rate, steps), and `batch_sampler` with its `sample_rate` of the loader
    that `make_private` gave back, also under a `BatchMemoryManager`.

    Args:
        source: a PrivacyEngine, its accountant, or such a history. The engine's holds what HAS
            run; for room before a run give the plan, `[(noise_multiplier, sample_rate, steps)]`.
        data_loader: the loader of that run. The history does not say how batches were drawn, and
            under `poisson_sampling=False` its rates promise an amplification that is not there.

    Returns:
        Parts for a dataset whose unit is one example of the loader.

    Raises:
        ValueError: another sampler than Opacus' Poisson ones, a rate below what the loader draws,
            accumulated steps, or an entry of another form.
    """
    held = getattr(source, "accountant", source)
    history = getattr(held, "history", held)
    least, largest = _poisson_rates(data_loader)
    units = []
    for entry in history:
        try:
            noise, rate, steps = entry
        except (TypeError, ValueError):
            raise ValueError(f"not (noise_multiplier, sample_rate, steps): {entry!r}") from None
        if rate < least:
            raise ValueError(f"the loader draws at rate {least}, the history counts {rate}")
        if rate > largest:
            raise ValueError(f"rate {rate} counts accumulated steps, which are no Poisson draw")
        of = {"type": "gaussian", "noise_multiplier": _noise(noise, "noise_multiplier")}
        units.append((_sampled(rate, of), _count(steps, "steps")))
    return _merged(units)


def from_dp_event(event: Any) -> list[Document]:
    """The parts of a dp-accounting event (0.6): one unit is one run of what is self-composed.

    Taken: Gaussian, Laplace, DiscreteLaplace, ZCDp, RandomizedResponse, SingleEpochTreeAggregation,
    PoissonSampled of Gaussians, SelfComposed, Composed; NoOp costs nothing. Equal mechanisms
    become one part.

    Raises:
        ValueError: another event; names it and says why.
    """
    return _merged(_units_of(event, 1))


def from_jax_privacy(source: Any) -> list[Document]:
    """The parts of a JAX-Privacy mechanism (2.0), which describes itself by a dp-accounting event.

    Takes such an event (of `jax_privacy.accounting`), or an execution plan: its `dp_event` is read.
    One unit is one round of the event: a step of DP-SGD, but `num_bands` steps of a banded matrix
    factorization, so that before step k (from 1) `ceil(k / num_bands)` units are started.

    Raises:
        ValueError: as `from_dp_event`; or a config, which has no event before `make()`.
    """
    event = getattr(source, "dp_event", source)
    if hasattr(event, "make"):
        raise ValueError(f"{type(event).__name__} has no event yet: give the plan of its make()")
    return from_dp_event(event)


def from_opendp(measurement: Any, d_in: Any) -> list[Document]:
    """The part of an OpenDP measurement (0.16), from its privacy map: one unit is one invocation.

    Args:
        measurement: read by `output_measure` and `map`; it is not invoked.
        d_in: the most that adding or removing ONE unit of privacy moves the input, in the
            measurement's input metric. Do not double it for `replace_one`: the service does (R7).

    Returns:
        One `pure`, `zcdp` or `approximate` part; none where the map says that nothing is lost.

    Raises:
        ValueError: another measure; what it could be cast to stands in the message.
    """
    measure = str(measurement.output_measure)
    if measure not in OPENDP_MEASURES:
        raise ValueError(
            f"{measure} is not taken, but {', '.join(OPENDP_MEASURES)}: cast it, for example by "
            "make_fix_delta(make_zCDP_to_approxDP(...), delta)"
        )
    d_out = measurement.map(d_in)
    loss, delta = d_out if measure.startswith("Approximate") else (d_out, 0.0)
    if loss == 0 and delta == 0:
        return []
    inner = measure.removeprefix("Approximate(").removesuffix(")")
    if inner == "ZeroConcentratedDivergence":
        if delta != 0:
            raise ValueError(f"{measure} with delta {delta} has no proven price: cast it first")
        mechanism = {"type": "zcdp", "rho": _up(loss, "rho")}
    elif delta == 0:
        mechanism = {"type": "pure", "epsilon": _up(loss, "epsilon")}
    else:
        epsilon, delta = _up(loss, "epsilon"), _up(delta, "delta")
        mechanism = {"type": "approximate", "epsilon": epsilon, "delta": delta}
    return [{"mechanism": mechanism, "max_units": 1}]


OPENDP_MEASURES = (
    "MaxDivergence",
    "ZeroConcentratedDivergence",
    "Approximate(MaxDivergence)",
    "Approximate(ZeroConcentratedDivergence)",
)


def _poisson_rates(data_loader: Any) -> tuple[float, float]:
    """The rate at which an Opacus loader draws, and the largest that its engine counts for it."""
    sampler: Any = getattr(data_loader, "batch_sampler", None)
    if type(sampler).__name__ == "BatchSplittingSampler":
        sampler = getattr(sampler, "sampler", None)  # BatchMemoryManager's, around the real one
    if type(sampler).__name__ not in POISSON_SAMPLERS:
        raise ValueError(
            f"{type(sampler).__name__} draws no Poisson batches: give the loader that "
            "make_private(poisson_sampling=True) returned"
        )
    rate = float(sampler.sample_rate)
    # the engine counts 1 / batches an epoch, which is a little above where 1 / rate is not whole
    return rate, max(rate, 1 / len(sampler))


def _units_of(event: Any, times: int) -> Iterator[tuple[Document, int]]:
    """Mechanisms of one unit with their units: sums and repetitions at the top fall apart."""
    name = type(event).__name__
    if name == "ComposedDpEvent":
        for each in event.events:
            yield from _units_of(each, times)
    elif name == "SelfComposedDpEvent":
        inner, count = event.event, _count(event.count, f"{name}.count")
        if type(inner).__name__ == "SelfComposedDpEvent":
            yield from _units_of(inner, times * count)
        elif count > 0 and (mechanism := _mechanism_of(inner)) is not None:
            yield mechanism, times * count
    elif (mechanism := _mechanism_of(event)) is not None:
        yield mechanism, times


def _mechanism_of(event: Any) -> Document | None:
    """One event as one mechanism; None where it loses nothing."""
    name = type(event).__name__
    match name:
        case "NoOpDpEvent":
            return None
        case "GaussianDpEvent":
            return {"type": "gaussian", "noise_multiplier": _noise(event.noise_multiplier, name)}
        case "LaplaceDpEvent":
            # its noise multiplier is scale / sensitivity
            scale = _noise(event.noise_multiplier, name)
            return {"type": "laplace", "scale": scale, "sensitivity_l1": "1"}
        case "DiscreteLaplaceDpEvent":
            return _discrete_laplace(event.noise_parameter, event.sensitivity, name)
        case "ZCDpEvent":
            if event.rho == 0 and event.xi == 0:
                return None
            return {"type": "zcdp", "rho": _up(event.rho, name), "xi": _up(event.xi, name)}
        case "RandomizedResponseDpEvent":
            return _randomized_response(event.noise_parameter, event.num_buckets, name)
        case "SingleEpochTreeAggregationDpEvent":
            # a unit is in one tree, at worst in the highest
            counts = event.step_counts
            steps = max(counts) if isinstance(counts, Iterable) else counts
            noise = _noise(event.noise_multiplier, name)
            most = _count(steps, f"{name}.step_counts")
            return {"type": "tree_aggregation", "noise_multiplier": noise, "steps": most}
        case "PoissonSampledDpEvent":
            of = {"type": "gaussian", "noise_multiplier": _joint_noise(event.event)}
            rate = event.sampling_probability
            return None if rate == 0 else _sampled(rate, of)
        case "ComposedDpEvent":
            found = [each for each in map(_mechanism_of, event.events) if each is not None]
            if len(found) < 2:
                return found[0] if found else None
            return {"type": "composed", "of": found}
        case "SelfComposedDpEvent":
            mechanism = _mechanism_of(event.event)
            count = _count(event.count, f"{name}.count")
            if mechanism is None or count == 0:
                return None
            return {"type": "repeated", "count": count, "of": mechanism}
    raise ValueError(f"{name}: {REFUSED_EVENTS.get(name, 'it has no proven price here')}")


def _discrete_laplace(parameter: Any, sensitivity: Any, name: str) -> Document:
    """Mass in proportion to e^(-a |x|), so that the scale is 1 / a, rounded down."""
    exact = _exact(parameter, name)
    if exact == 0:
        raise ValueError(f"{name}: a parameter of 0 is no noise")  # unbounded: no distribution
    scale = _written(1 / exact, up=False)
    moved = str(_count(sensitivity, f"{name}.sensitivity"))
    return {"type": "discrete_laplace", "scale": scale, "sensitivity_l1": moved}


def _randomized_response(parameter: Any, buckets: Any, name: str) -> Document | None:
    """The answer stays with probability 1 - p, else any of k is drawn: e^eps = 1 + k (1-p) / p."""
    drawn, count = _exact(parameter, name), _count(buckets, f"{name}.num_buckets")
    if count == 1 or drawn == 1:
        return None
    if not 0 < drawn < 1:
        raise ValueError(f"{name}: with a noise parameter of {parameter} it is not private")
    odds = 1 + count * (1 - drawn) / drawn
    context = Context(prec=60)
    epsilon = context.ln(context.divide(Decimal(odds.numerator), Decimal(odds.denominator)))
    # the logarithm is right to 40 digits even beside odds of 1
    return {
        "type": "randomized_response",
        "epsilon": _written(Fraction(epsilon) * (1 + Fraction(1, 10**40)), up=True),
    }


def _joint_noise(event: Any) -> str:
    """Gaussians on one and the same sample are one: 1 / z^2 adds up (Dong et al. 2019, 3.3)."""
    precision = _precision(event)
    if precision == 0:
        raise ValueError("PoissonSampledDpEvent: nothing is run on the sample")
    context = Context(prec=DIGITS_MOST, rounding=ROUND_FLOOR)
    wide = Context(prec=60)
    square = wide.divide(Decimal(precision.denominator), Decimal(precision.numerator))
    noise = context.plus(wide.sqrt(square))
    while Fraction(noise) ** 2 * precision > 1:
        noise = context.next_minus(noise)
    return _text(noise)


def _precision(event: Any) -> Fraction:
    name = type(event).__name__
    match name:
        case "GaussianDpEvent":
            noise = Fraction(_noise(event.noise_multiplier, name))
            return 1 / noise**2
        case "ComposedDpEvent":
            return sum(map(_precision, event.events), Fraction(0))
        case "SelfComposedDpEvent":
            return _precision(event.event) * _count(event.count, f"{name}.count")
    raise ValueError(f"PoissonSampledDpEvent of {name}: only of Gaussians there is a proven price")


def _sampled(rate: Any, of: Document) -> Document:
    text = _up(rate, "sampling rate")
    if not 0 < Decimal(text) <= 1:
        raise ValueError(f"not a sampling rate: {rate!r}")
    return {"type": "poisson_sampled", "rate": text, "of": of}


def _merged(units: Iterable[tuple[Document, int]]) -> list[Document]:
    """Parts in the order of their first appearance, one for each different mechanism."""
    counts: dict[str, int] = {}
    for mechanism, count in units:
        text = json.dumps(mechanism)
        counts[text] = counts.get(text, 0) + count
    return [
        {"mechanism": json.loads(text), "max_units": count}
        for text, count in counts.items()
        if count > 0
    ]


def _noise(value: Any, name: str) -> str:
    exact = _exact(value, name)
    if exact == 0:
        raise ValueError(f"{name}: without noise it is not private")
    return _written(exact, up=False)


def _up(value: Any, name: str) -> str:
    return _written(_exact(value, name), up=True)


def _count(value: Any, name: str) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if isinstance(value, bool) or count < 0:
        raise ValueError(f"{name}: not a whole number of times: {value!r}")
    return count


def _exact(value: Any, name: str) -> Fraction:
    """The number itself: a float is a fraction, and is not read through its short decimal form."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except TypeError:
        number = math.nan
    if not math.isfinite(number) or number < 0 or number != value:
        raise ValueError(f"{name}: not a finite number from 0 on: {value!r}")
    return Fraction(number)


def _written(exact: Fraction, *, up: bool) -> str:
    context = Context(prec=DIGITS_MOST, rounding=ROUND_CEILING if up else ROUND_FLOOR)
    return _text(context.divide(Decimal(exact.numerator), Decimal(exact.denominator)))


def _text(value: Decimal) -> str:
    return str(value.normalize(Context(prec=DIGITS_MOST))).replace("E+", "e").replace("E", "e")


@contextmanager
def _shown(title: str) -> Iterator[OnProgress]:
    """Shows lines of progress as they come: gives what to call with each."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield _print_line if sys.stderr.isatty() else (lambda _line: None)
        return
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}")
    # the answer may be read by a program: what is underway goes where a person looks
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(title, total=None, said="waiting for a worker")

        def show(line: Document) -> None:
            done, total = line.get("step"), line.get("steps")
            progress.update(task, completed=done, total=total, said=_line_text(line))

        yield show


def _print_line(line: Document) -> None:
    print(_line_text(line), file=sys.stderr, flush=True)  # noqa: T201 - a person looks on


def _line_text(line: Mapping[str, Any]) -> str:
    """A published line of progress in words."""
    if "step" in line and "steps" in line:
        said = f"step {line['step']} of {line['steps']}"
    else:
        said = str(line.get("stage") or "running")
    if line.get("epsilon") is not None:
        said += f", epsilon so far {line['epsilon']} at delta {line.get('delta', 'unknown')}"
    if line.get("seconds_left") is not None:
        said += f", about {line['seconds_left']} s left"
    return said


def _named(found: Iterable[Document], name: str, kind: str) -> Document:
    every = list(found)
    matching = [each for each in every if each["id"] == name]
    matching = matching or [each for each in every if each["name"].lower() == name.lower()]
    if len(matching) != 1:
        said = "several" if matching else "no"
        raise NotNamed(f"{said} {kind} called {name}; there are: {_listed(matching or every)}")
    return matching[0]


def _listed(found: Sequence[Document]) -> str:
    return ", ".join(f"{each['name']} ({each['id']})" for each in found[:20]) or "none"


def _document(answer: httpx.Response) -> Document:
    document: Document = answer.json() if answer.content else {}
    return document


def _refused(answer: httpx.Response) -> Refused:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": answer.reason_phrase}
    return Refused({"status": answer.status_code, **problem})


def _require_time(deadline: float | None, job_id: str) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise TimeoutError(f"job {job_id} has not ended yet")
