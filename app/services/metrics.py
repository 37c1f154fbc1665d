"""What a process counts of itself, and what the database says at a scrape, as Prometheus reads it.

Everything about a budget is for those who may read it: a scrape shows a token, and sees ids alone.
Figures of the process are its own, so every process is scraped; those of the database are the same
whichever process is asked.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, CheckpointRow, Job, OutboxMessage
from app.db.session import SessionMaker, database_now, snapshot
from app.services import beats, figures, plans, tallies
from app.services.readiness import outbox_age

PREFIX: Final = "epsilon_ledger_"
# amounts are searched for the first time that a chain ends where it does; a scrape has its limit
BUDGETS_MOST: Final = 200
AMOUNTS: Final = ("limit", "consumed", "remaining")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its samples are label pairs with a value."""

    name: str
    kind: str
    about: str
    samples: Sequence[tuple[Mapping[str, str], float]]

    def lines(self) -> Iterable[str]:
        """The text form; values of labels are ours, so nothing in them needs an escape."""
        name = PREFIX + self.name
        yield f"# HELP {name} {self.about}"
        yield f"# TYPE {name} {self.kind}"
        for labels, value in self.samples:
            suffix = labels.get("", "")
            shown = ",".join(f'{key}="{each}"' for key, each in labels.items() if key)
            yield f"{name}{suffix}{{{shown}}} {value:g}" if shown else f"{name}{suffix} {value:g}"


class Counter:
    """How often something has happened in this process, by one label."""

    def __init__(self, name: str, about: str, label: str) -> None:
        self._name, self._about, self._label = name, about, label
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Once more."""
        with self._lock:
            self._counts[value] = self._counts.get(value, 0) + 1

    def family(self) -> Family:
        """As it stands."""
        with self._lock:
            counts = sorted(self._counts.items())
        samples = [({self._label: value}, float(count)) for value, count in counts]
        return Family(self._name, "counter", self._about, samples)


class Histogram:
    """How large something has been in this process."""

    def __init__(self, name: str, about: str, bounds: Sequence[float]) -> None:
        self._name, self._about, self._bounds = name, about, tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """One more."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def family(self) -> Family:
        """As it stands, with buckets that hold those below them."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        samples: list[tuple[Mapping[str, str], float]] = []
        below = 0
        for bound, count in zip((*map("{:g}".format, self._bounds), "+Inf"), counts, strict=True):
            below += count
            samples.append(({"": "_bucket", "le": bound}, below))
        samples += [({"": "_sum"}, total), ({"": "_count"}, below)]
        return Family(self._name, "histogram", self._about, samples)


ADMISSIONS: Final = Counter(
    "admissions_total",
    "Requests for room that this process decided, by what became of them.",
    "outcome",
)
BATCH_SIZE: Final = Histogram(
    "admission_batch_size",
    "Requests that one transaction decided.",
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
COMMIT_SECONDS: Final = Histogram(
    "admission_commit_seconds",
    "From the last decision of a batch until it was durable.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RESPONSES: Final = Counter(
    "responses_total", "Answers of this process over HTTP, by the class of their status.", "status"
)
OF_THE_PROCESS: Final = (ADMISSIONS, BATCH_SIZE, COMMIT_SECONDS, RESPONSES)


def text(make_session: SessionMaker, *, waiting: int) -> str:
    """Everything, in Prometheus's text form.

    waiting: how many requests wait for the admission writer of this process.
    """
    families = [each.family() for each in OF_THE_PROCESS]
    families.append(
        _gauge("admission_queue_length", "Requests that wait for this process's writer.", waiting)
    )
    with snapshot(make_session) as session:
        families += _of_the_database(session)
        families += _of_budgets(session)
    return "\n".join(line for family in families for line in family.lines()) + "\n"


def _of_the_database(session: Session) -> list[Family]:
    now = database_now(session)
    counted = tallies.totals(session)
    unsent = select(func.count()).where(
        OutboxMessage.sent_at.is_(None), OutboxMessage.due_at <= now
    )
    states = select(Job.state, func.count()).where(Job.state.in_(("queued", "running")))
    jobs = {row[0]: row[1] for row in session.execute(states.group_by(Job.state))}
    last_beat = beats.newest(session)
    signed = session.scalar(
        select(CheckpointRow.created_at).order_by(CheckpointRow.seq.desc()).limit(1)
    )
    frozen = select(func.count()).where(Budget.state == "frozen")
    families = [
        _gauge(
            "outbox_age_seconds",
            "For how long the oldest due message has waited for the relay.",
            outbox_age(session, now=now).total_seconds(),
        ),
        _gauge(
            "outbox_waiting", "Messages that are due and not sent.", session.scalar(unsent) or 0
        ),
        Family(
            "lease_expiries_total",
            "counter",
            "Claims taken from workers and tools that went silent.",
            [({}, counted.get(tallies.LEASE_EXPIRIES, 0))],
        ),
        Family(
            "duplicate_deliveries_total",
            "counter",
            "Messages that found their job claimed or ended.",
            [({}, counted.get(tallies.DUPLICATE_DELIVERIES, 0))],
        ),
        Family(
            "jobs",
            "gauge",
            "Jobs that have not ended.",
            [({"state": state}, jobs.get(state, 0)) for state in ("queued", "running")],
        ),
        Family(
            "workers",
            "gauge",
            "Workers that live, by the queue that they serve.",
            [({"queue": queue}, n) for queue, n in sorted(beats.alive(session, now=now).items())],
        ),
        _gauge(
            "frozen_budgets", "Budgets in which nothing may start.", session.scalar(frozen) or 0
        ),
    ]
    for name, about, at in (
        ("worker_heartbeat_age_seconds", "Since any worker was last alive.", last_beat),
        ("checkpoint_age_seconds", "Since the newest checkpoint was signed.", signed),
    ):
        if at is not None:
            families.append(_gauge(name, about, max(0.0, (now - at).total_seconds())))
    return families


def _of_budgets(session: Session) -> list[Family]:
    """Amounts of open and frozen budgets, oldest first; a plan has its limit alone (R10)."""
    statement = (
        select(Budget)
        .where(Budget.state.in_(("open", "frozen")), Budget.kind.in_(("lifetime", "allocation")))
        .order_by(Budget.created_at, Budget.id)
        .limit(BUDGETS_MOST)
    )
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {name: [] for name in AMOUNTS}
    for budget in session.scalars(statement):
        if plans.is_plan(budget):
            continue
        amounts = figures.amounts(budget)
        labels = {"budget": str(budget.id), "kind": budget.kind}
        for name in AMOUNTS:
            samples[name].append((labels, float(amounts[name]["epsilon"])))
    about = "Epsilon of a budget, lifetime or allocated: {}. Shown; decided elsewhere, exactly."
    return [
        Family(f"budget_{name}_epsilon", "gauge", about.format(name), samples[name])
        for name in AMOUNTS
    ]


def _gauge(name: str, about: str, value: float) -> Family:
    return Family(name, "gauge", about, [({}, value)])
