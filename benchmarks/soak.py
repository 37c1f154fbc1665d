"""Whether the service stays as it is: `python -m benchmarks.soak --minutes 30`.

The production topology on PostgreSQL, at half of what it was just measured to bear: room taken and
settled at a steady rate, and a query a few seconds apart. Memory and latency are told minute by
minute and have to stay flat; at the end every chain is replayed, and the ledger has to hold exactly
what was answered. Writes soak.json and soak.md to benchmarks/results; exits with 1 where anything
of this fails. The clients share the machine with the service and its database.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import func, select

from app.db.models import Entry
from app.db.session import snapshot
from app.domain.privacy import Loss
from tests.chaos import assert_nothing_is_lost_or_doubled
from tests.production.story import Cast, cast
from tests.production.topology import Program, Topology
from tests.production.upkeep import looked_at, running
from tests.servers import postgresql_server

RESULTS: Final = Path(__file__).parent / "results"
CLIENTS: Final = 32
WARM_UP_S: Final = 10.0
CAPACITY_S: Final = 30.0
JOB_EVERY_S: Final = 3.0
MINUTE_S: Final = 60.0
LIMIT: Final = {"epsilon": "9000", "delta": "1e-6"}
MECHANISM: Final = {"type": "gaussian", "noise_multiplier": "50"}
# flat: the end over the beginning, the first minute left out; memory may move by what a cache holds
LATENCY_MOST: Final = 1.5
MEMORY_MOST: Final = 1.1
MEMORY_SPARE_MB: Final = 24.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Soak:
    """One run. minutes: the figures of each. rates: lives a second, measured and then asked for."""

    services: Topology
    story: Cast
    capacity: float = 0.0
    rate: float = 0.0
    lives: int = 0
    minutes: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    _settled_s: list[float] = field(default_factory=list)

    def load(self, seconds: float, rate: float) -> Iterator[dict[str, Any]]:
        """Let the clients run; the figures of each minute as it ends."""
        orders = {
            "ports": [api.port for api in self.services.of("api")],
            "key": self.story.keys["engineer"],
            "clients": CLIENTS,
            "rate": rate,
            "seconds": seconds,
            "period_s": MINUTE_S,
            "round": uuid4().hex,
            "body": {
                "inputs": self.story.inputs,
                "mechanism": MECHANISM,
                "max_units": 1,
                "lease_s": 900,
                "tool": "soak",
            },
        }
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.clients.steady"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as clients:
            if clients.stdin is None or clients.stdout is None:
                raise RuntimeError("pipes were asked for")
            clients.stdin.write(json.dumps(orders))
            clients.stdin.close()
            for line in clients.stdout:
                figures = json.loads(line)
                if figures.get("refused"):
                    raise AssertionError(f"refused: {figures['refused']}")
                if "all" in figures:
                    self.lives += figures["all"]
                yield figures
        if clients.returncode:
            raise AssertionError("the clients failed")

    def measure(self) -> None:
        """What it bears, and half of that as the rate of the soak."""
        *_, _ = self.load(WARM_UP_S, 0)
        *_, last = self.load(CAPACITY_S, 0)
        self.capacity = last["all"] / last["took_s"]
        self.rate = self.capacity / 2

    def run(self, minutes: float) -> None:
        """The soak itself, with a line on the terminal for each minute."""
        with self.asking():
            for figures in self.load(minutes * MINUTE_S, self.rate):
                # a last period may be a few requests long and says nothing
                if "period" in figures and figures["lives"] > self.rate * MINUTE_S / 4:
                    self.minutes.append(figures | self.beside())
                    print(row(self.minutes[-1]), flush=True)

    def beside(self) -> dict[str, Any]:
        """What else there is to say about the minute that has ended."""
        settled, self._settled_s = self._settled_s, []
        memory = {
            f"{program.service} {number}": memory_mb(program)
            for number, program in enumerate(self.services.running, 1)
        }
        return {
            "memory_mb": memory,
            "jobs": len(settled),
            "job_s": median(settled) if settled else None,
        }

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Within the block somebody asks a count every few seconds, and waits for it."""
        over, failures = threading.Event(), list[BaseException]()

        def ask() -> None:
            try:
                while not over.wait(JOB_EVERY_S):
                    began_s = time.monotonic()
                    job = self.story.count("a soak")
                    self.jobs.append(job["id"])
                    self.story.wait(job)
                    self._settled_s.append(time.monotonic() - began_s)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=ask, name="asking")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failures:
            raise failures[0]

    def check(self) -> int:
        """The ledger is exactly what was answered; says how many entries were replayed."""
        with looked_at(self.services, self.story) as world:
            ids = [UUID(each) for each in self.jobs]
            results = assert_nothing_is_lost_or_doubled(world, self.story.root, ids)
            if results != len(ids):
                raise AssertionError(f"{results} results of {len(ids)} jobs")
            with snapshot(world.make_session) as session:
                counted = select(Entry.kind, func.count().label("number")).group_by(Entry.kind)
                kinds = {row.kind: row.number for row in session.execute(counted)}
            answered = self.lives + len(ids)
            held = {kind: kinds.get(kind, 0) for kind in ("reserved", "posted", "voided")}
            if held != {"reserved": answered, "posted": answered, "voided": 0}:
                raise AssertionError(f"{answered} answered, {held} in the ledger")
            if world.budget(self.story.root).reserved != Loss.zero():
                raise AssertionError("something is still reserved")
        return sum(kinds.values())


def memory_mb(program: Program) -> float:
    """The resident memory of a program and all that it has started."""
    waiting, pages = [program.process.pid], 0
    while waiting:
        pid = waiting.pop()
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(word) for word in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return pages * PAGE_BYTES / 1e6


def row(minute: Mapping[str, Any]) -> str:
    """One minute as a row of the table."""
    memory = " / ".join(f"{each:.0f}" for each in minute["memory_mb"].values())
    reserve, commit = minute["reserve_ms"], minute["commit_ms"]
    job = "" if minute["job_s"] is None else f"{minute['job_s']:.2f}"
    return (
        f"| {minute['period'] + 1} | {minute['lives']:,} | {reserve['p50']:.1f} "
        f"| {reserve['p99']:.1f} | {commit['p50']:.1f} | {commit['p99']:.1f} "
        f"| {job} | {memory} |"
    )


def verdicts(minutes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | bool]]:
    """The end over the beginning: a third of the minutes each, the first minute left out."""
    counted = minutes[1:] if len(minutes) > 2 else minutes
    third = max(1, len(counted) // 3)
    first, last = counted[:third], counted[-third:]
    found: dict[str, dict[str, float | bool]] = {}
    for what in ("reserve_ms", "commit_ms"):
        for cut in ("p50", "p99"):
            before, after = (median(m[what][cut] for m in part) for part in (first, last))
            found[f"{what} {cut}"] = {
                "before": before,
                "after": after,
                "flat": after <= before * LATENCY_MOST,
            }
    for name in counted[0]["memory_mb"]:
        before, after = (median(m["memory_mb"][name] for m in part) for part in (first, last))
        found[f"memory_mb {name}"] = {
            "before": before,
            "after": after,
            "flat": after <= before * MEMORY_MOST + MEMORY_SPARE_MB,
        }
    return found


def document(soak: Soak, entries: int, restored: str) -> dict[str, Any]:
    """The whole run."""
    return {
        "benchmark": "soak",
        "on": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
        },
        "clients": CLIENTS,
        "capacity_per_s": soak.capacity,
        "rate_per_s": soak.rate,
        "lives": soak.lives,
        "jobs": len(soak.jobs),
        "entries_replayed": entries,
        "restore_check": "; ".join(restored.split("\n")).strip("; "),
        "minutes": soak.minutes,
        "verdicts": verdicts(soak.minutes),
    }


def table(made: Mapping[str, Any]) -> str:
    """The run as a page."""
    programs = " / ".join(made["minutes"][0]["memory_mb"])
    lines = [
        "# Soak",
        "",
        f"{len(made['minutes'])} minutes at {made['rate_per_s']:.0f} lives a second, half of the "
        f"{made['capacity_per_s']:.0f} that the same processes had just borne; a life is a "
        f"reservation and its commit on one hot budget. {made['on']['cores']} cores, shared by "
        f"service, database, broker and {made['clients']} clients. Latency counts from the time "
        "at which a request was due. By `python3 dev.py bench soak`.",
        "",
        f"| minute | lives | reserve p50 ms | p99 | commit p50 ms | p99 | job s | MB: {programs} |",
        "|---|---|---|---|---|---|---|---|",
        *(row(minute) for minute in made["minutes"]),
        "",
        f"{made['lives']:,} lives and {made['jobs']} jobs were answered, and the ledger holds "
        f"exactly these; {made['entries_replayed']:,} entries replay. {made['restore_check']}.",
        "",
        "| figure | beginning | end | flat |",
        "|---|---|---|---|",
        *(
            f"| {name} | {each['before']:.1f} | {each['after']:.1f} | "
            f"{'yes' if each['flat'] else '**no**'} |"
            for name, each in made["verdicts"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where something grew, was refused, or does not add up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    with (
        postgresql_server() as server,
        tempfile.TemporaryDirectory(prefix="epsilon-soak-") as folder,
        running(
            server,
            Path(folder) / "house",
            workers=1,
            EPSILON_REQUESTS_PER_SECOND_MOST="0",  # all clients share one key here
            EPSILON_LOG_LEVEL="WARNING",
        ) as (services, admin_key),
        cast(services.balancer.url, admin_key, Path(folder) / "rows", limit=LIMIT) as story,
    ):
        soak = Soak(services, story)
        soak.measure()
        print(f"{soak.capacity:.0f} lives a second; {given.minutes:g} minutes at half", flush=True)
        soak.run(given.minutes)
        entries = soak.check()
        checked = services.cli("restore-check")
        if checked.returncode:
            raise AssertionError(checked.stdout + checked.stderr)
        made = document(soak, entries, checked.stdout)
    given.results.mkdir(exist_ok=True)
    (given.results / "soak.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    (given.results / "soak.md").write_text(table(made), "utf-8")
    print(table(made))
    return int(not all(each["flat"] for each in made["verdicts"].values()))


if __name__ == "__main__":
    sys.exit(main())
