"""How fast a hot budget admits, durably: `python -m benchmarks.admission`.

In process on PostgreSQL, and over HTTP with 64 clients on PostgreSQL and SQLite, where group commit
and a row lock a request take turns in one run. Afterwards every chain is replayed, and what is held
must be what was answered. Prints a table, then one line of JSON with the raw samples; exits with 1
where a must falls short. The clients share the machine with the service and its database.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL, Engine, event

from app.embedded import answers
from app.programs import api_child
from app.services.api_keys import ApiKeys, KeyRequest
from app.services.writer import BATCH_MOST, AdmissionWriter
from app.settings import Settings
from benchmarks.stages.ledgers import (
    MECHANISM,
    Ledger,
    database,
    fifty_scopes,
    hot_budget,
    hundred_budgets,
    load_entries,
    thousand_blocks,
)
from tests.servers import postgresql_server
from tests.world import keyed

# how requests lie in the ledger, and how many of them one round decides
SHAPES: Final[dict[str, tuple[Callable[..., AbstractContextManager[Ledger]], int]]] = {
    "hot budget": (hot_budget, 1024),
    "100 budgets": (hundred_budgets, 512),
    "50 scopes a request": (fifty_scopes, 64),
    "1,000 blocks": (thousand_blocks, 128),
}
LOCKING_THREADS: Final = 16
LENGTHS: Final = (10, 1_000_000)
LENGTH_ROUNDS: Final = 20
LENGTH_BATCH: Final = 64
CLIENTS: Final = 64
ROUNDS: Final = 3
ROUND_S: Final = 6.0
WARM_UP_S: Final = 1.5
READY_S: Final = 60.0


@dataclass
class Figure:
    """A number, its must and its aim. at_least: or, where that is None, at_most."""

    name: str
    value: float
    unit: str
    must: float
    aim: float
    is_least: bool = True
    samples: list[float] = field(default_factory=list)

    @property
    def falls_short(self) -> bool:
        return self.value < self.must if self.is_least else self.value > self.must


@dataclass
class House:
    """A running service over its own database, and what was answered by it."""

    name: str
    settings: Settings
    orders: dict[str, Any]
    admitted: int = 0
    rates: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    def load(self, seconds: float, *, is_counted: bool = True) -> None:
        """Let the clients run once."""
        orders = {**self.orders, "seconds": seconds, "round": uuid4().hex}
        command = [sys.executable, "-m", "benchmarks.clients.reservations"]
        done = subprocess.run(  # noqa: S603 - our own client
            command, input=json.dumps(orders), capture_output=True, text=True, check=True
        )
        seen = json.loads(done.stdout)
        if set(seen["statuses"]) != {"201"}:
            raise AssertionError(f"{self.name} answered {seen['statuses']}")
        self.admitted += seen["statuses"]["201"]
        if is_counted:
            self.rates.append(seen["statuses"]["201"] / seen["took_s"])
            self.latencies_ms += seen["latencies_ms"]


def in_process(server: URL) -> list[Figure]:
    """Each shape of ledger on each database: both writers by turns, the same requests."""
    figures = []
    for kind, (name, (stage, requests)) in product(("postgresql", "sqlite"), SHAPES.items()):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(database(kind, server, folder))
            ledger = stack.enter_context(stage(url, folder))
            engine = ledger.world.make_session.kw["bind"]
            trips, commits = [0], [0]
            rates: dict[int, list[float]] = {BATCH_MOST: [], 0: []}
            for round_ in range(ROUNDS + 1):
                for batch_most, found in rates.items():
                    listening = batch_most > 0 and round_ > 0
                    with counted(engine, trips, commits) if listening else nullcontext():
                        rate = decided_per_second(ledger, batch_most, requests)
                    if round_ > 0:  # the first of each warms up
                        found.append(rate)
            ledger.check(2 * (ROUNDS + 1) * requests)
        grouped, locking = rates[BATCH_MOST], rates[0]
        ratios = [a / b for a, b in zip(grouped, locking, strict=True)]
        is_bound = (kind, name) == ("postgresql", "hot budget")
        must, aim = (1500, 3000) if is_bound else (0, 0)
        said = f"in process, {kind}, {name}"
        figures += [
            Figure(f"{said}: group commit", median(grouped), "/s", must, aim, samples=grouped),
            Figure(f"{said}: row lock", median(locking), "/s", 0, 0, samples=locking),
            Figure(f"{said}: ratio", median(ratios), "x", 0, 0, samples=ratios),
        ]
        if is_bound:
            each = trips[0] / commits[0] + 2  # begin and commit are statements of no cursor
            figures.append(Figure(f"{said}: round trips a batch", each, "", 12, 12, is_least=False))
    return figures


def decided_per_second(ledger: Ledger, batch_most: int, requests: int) -> float:
    """How fast so many requests are decided by one process, all of them durably."""
    writer = AdmissionWriter(ledger.world.make_session, batch_most=batch_most)
    writer.start()
    asked = [ledger.ask() for _ in range(requests)]
    began_s = time.perf_counter()
    if batch_most:
        for answer in [writer.submit(each, wait_s=60) for each in asked]:
            answer.result()
    else:
        with ThreadPoolExecutor(LOCKING_THREADS) as threads:
            for _ in threads.map(writer.decide, asked):
                pass
    took_s = time.perf_counter() - began_s
    writer.stop()
    return requests / took_s


@contextmanager
def counted(engine: Engine, trips: list[int], commits: list[int]) -> Iterator[None]:
    """Count statements and commits on an engine."""

    def statement(*_: Any) -> None:
        trips[0] += 1

    def commit(*_: Any) -> None:
        commits[0] += 1

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


def by_length(server: URL) -> list[Figure]:
    """What a decision costs at ten entries and at a million; CPU time of this process."""
    figures = []
    for kind in ("postgresql", "sqlite"):
        with ExitStack() as stack:
            ledgers = []
            for entries in LENGTHS:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                url = stack.enter_context(database(kind, server, folder))
                ledger = stack.enter_context(hot_budget(url, folder))
                (root,) = ledger.roots
                load_entries(ledger.world, root, entries - 1)
                ledgers.append((ledger, AdmissionWriter(ledger.world.make_session)))
            costs_ms: list[list[float]] = [[] for _ in ledgers]
            for round_ in range(LENGTH_ROUNDS + 3):
                for (ledger, writer), found in zip(ledgers, costs_ms, strict=True):
                    asked = [ledger.ask() for _ in range(LENGTH_BATCH)]
                    began_s = time.process_time()
                    outcomes = writer._decide_together(asked)  # noqa: SLF001 - the decision alone
                    took_s = time.process_time() - began_s
                    if not all(isinstance(outcome, dict) for outcome in outcomes):
                        raise AssertionError(outcomes)
                    if round_ >= 3:
                        found.append(took_s * 1000 / LENGTH_BATCH)
        short, long = (median(found) for found in costs_ms)
        said = f"a decision, {kind}"
        figures += [
            Figure(
                f"{said}, at {LENGTHS[0]} entries",
                short,
                "ms",
                1,
                1,
                is_least=False,
                samples=costs_ms[0],
            ),
            Figure(
                f"{said}, at {LENGTHS[1]:,} entries",
                long,
                "ms",
                1,
                1,
                is_least=False,
                samples=costs_ms[1],
            ),
            Figure(f"{said}, long over short", long / short, "x", 1.2, 1.2, is_least=False),
        ]
    return figures


@contextmanager
def house(kind: str, batch_most: int, server: URL) -> Iterator[House]:
    """A service as a process of its own, on a port of the loopback."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database(kind, server, folder))
        ledger = stack.enter_context(hot_budget(url, folder))
        world, (root,) = ledger.world, ledger.roots
        admin, engineer = world.people["admin"], world.engineer
        made = ApiKeys(world.make_session).create(
            admin, KeyRequest(engineer.principal_id), keyed(admin, "keys", {})
        )
        settings = Settings(
            database_url=url,
            home=folder / "home",
            port=free_port(),
            admission_batch_most=batch_most,
            requests_per_second_most=0,  # all clients share one key here
            log_level="WARNING",
        )
        child = api_child(settings)
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(  # noqa: S603 - our own service
            child.command, env={**os_environment(), **child.environment}, stdout=log, stderr=log
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        address_ = f"http://127.0.0.1:{settings.port}/healthz"
        over = time.monotonic() + READY_S
        while not answers(address_):
            if time.monotonic() > over or process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.1)
        orders = {
            "host": "127.0.0.1",
            "port": settings.port,
            "path": "/v1/reservations",
            "key": made["key"],
            "clients": CLIENTS,
            "body": {
                "inputs": [each.to_json() for each in world.inputs(root)],
                "mechanism": MECHANISM,
                "max_units": 1,
                "lease_s": 900,
                "tool": "bench",
            },
        }
        found = House(f"{kind}, {'group commit' if batch_most else 'row lock'}", settings, orders)
        yield found
        ledger.check(found.admitted)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def os_environment() -> dict[str, str]:
    """What a child inherits: everything but settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith("EPSILON_")}


def over_http(server: URL) -> list[Figure]:
    """Both ways on both databases, by turns."""
    musts = {"postgresql": (4.0, 5.0), "sqlite": (2.0, 3.0)}
    figures = []
    for kind, (must, aim) in musts.items():
        with house(kind, 256, server) as grouped, house(kind, 0, server) as locking:
            for each in (grouped, locking):
                each.load(WARM_UP_S, is_counted=False)
            for _ in range(ROUNDS):
                grouped.load(ROUND_S)
                locking.load(ROUND_S)
        rate, p99 = median(grouped.rates), quantiles(grouped.latencies_ms, n=100)[98]
        ratios = [a / b for a, b in zip(grouped.rates, locking.rates, strict=True)]
        name = f"HTTP, {CLIENTS} clients, {kind}"
        figures += [
            Figure(f"{name}: group commit", rate, "/s", 600, 1000, samples=grouped.rates),
            Figure(f"{name}: p99", p99, "ms", 400, 200, is_least=False),
            Figure(f"{name}: row lock", median(locking.rates), "/s", 0, 0, samples=locking.rates),
            Figure(f"{name}: ratio", median(ratios), "x", must, aim, samples=ratios),
        ]
    return figures


def main() -> int:
    """Run all of it; 1 where a must falls short."""
    with postgresql_server() as server:
        figures = [*in_process(server), *by_length(server), *over_http(server)]
    for each in figures:
        sign = ">=" if each.is_least else "<="
        verdict = "FALLS SHORT" if each.falls_short else "ok"
        bounds = f"must {sign} {each.must:g}, aim {each.aim:g}" if each.must else ""
        print(f"{each.name:<58} {each.value:>9.1f} {each.unit:<3} {bounds:<28} {verdict}")
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    raw = [{**vars(each), "falls_short": each.falls_short} for each in figures]
    print(json.dumps({"benchmark": "admission", "on": machine, "figures": raw}))
    return int(any(each.falls_short for each in figures))


if __name__ == "__main__":
    sys.exit(main())
