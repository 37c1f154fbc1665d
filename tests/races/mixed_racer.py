"""One racing process: threads that ask for everything at once and write down what they were told.

Where nobody knows what was decided, or nothing was, a thread asks again as a client would.
"""

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeVar
from uuid import UUID

from sqlalchemy.exc import OperationalError

from app.db.repositories import standing
from app.db.session import make_engine, make_session_maker, snapshot
from app.domain.errors import (
    AlreadyResolved,
    AlreadyTouched,
    ApprovalNotPending,
    BudgetExceeded,
    LowerRefused,
    NothingStarted,
    ReplayedRefusal,
    ScopeClosed,
    TooManyPending,
    VersionMismatch,
    refusal_document,
)
from app.domain.ledger import document_sha256
from app.services.admission import Admissions
from app.services.idempotency import Keyed
from app.services.placement import ReservationRequest
from app.services.reservations import NOTHING_READ
from app.services.writer import WriterBusy
from tests.races.requests import THREADS, THREADS_EACH, act_of, draw_of, reserve_of
from tests.races.scene import Scene
from tests.world import World

ATTEMPTS_MOST = 40
DEADLOCK = "40P01"
LEASE_S = 24 * 3600
OfficerAct = Literal["raise", "lower", "transfer", "freeze"]
OFFICER_ACTS: tuple[OfficerAct, ...] = ("raise", "lower", "transfer", "freeze", "freeze")
NOT_NOW = (
    VersionMismatch,
    ScopeClosed,
    LowerRefused,
    ApprovalNotPending,
    TooManyPending,
)
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Racer:
    """The threads' common ground: the world, what is held in it, and what was told.

    told: of a reservation its key, id and the digest of its answer; of an end its outcome.
    """

    world: World
    scene: Scene
    seed: int
    count: int
    admissions: Admissions
    held: list[tuple[str, int, bool, int]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    changes: int | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self, place: int) -> None:
        """Send every request that is this thread's."""
        for number in range(place, self.count, THREADS):
            draw = draw_of(self.seed, number)
            act = act_of(draw)
            try:
                if act == "officer":
                    self.govern(draw)
                elif act != "end" or not self.end(draw):
                    self.reserve(number, draw)
            except Exception as error:
                with self.guard:
                    self.unexpected.append(f"{number} {act}: {type(error).__name__} {error}")

    def again(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer; a deadlock is a fault of ours, and never waited out."""
        for _ in range(ATTEMPTS_MOST):
            try:
                return ask()
            except (OperationalError, WriterBusy) as error:
                if isinstance(error, OperationalError) and (
                    getattr(error.orig, "sqlstate", None) == DEADLOCK
                ):
                    raise
        raise TimeoutError(f"no answer in {ATTEMPTS_MOST} attempts")

    def write_down(self, **facts: Any) -> None:
        with self.guard:
            self.told.append(facts)

    # --- admissions ---

    def reserve(self, number: int, draw: Random) -> None:
        asked = reserve_of(self.seed, number)
        parts = [{"mechanism": asked.mechanism, "max_units": asked.max_units}]
        inputs = tuple(self.scene.input(leaf, blocks) for leaf, blocks in asked.leaves)
        request = ReservationRequest(inputs, parts, LEASE_S, "a racer")
        body = {"inputs": [each.to_json() for each in inputs], "parts": parts}
        name = "runner" if asked.is_runner else "engineer"
        keyed = Keyed(
            self.world.people[name].principal_id,
            "POST /v1/reservations",
            asked.key,
            document_sha256(body),
        )
        ask = self._at_once if draw.random() < 0.5 else self._in_full
        facts: dict[str, Any] = {"key": asked.key, "number": int(asked.key.split("-")[1])}
        try:
            document = self.again(lambda: ask(name, request, keyed))
        except ReplayedRefusal as refusal:
            answer = refusal.document
        except (BudgetExceeded, ScopeClosed) as refusal:
            answer = refusal_document(refusal)
        else:
            answer = document
            facts["id"] = document["id"]
            is_mine = (document["id"], document["fence"], asked.is_runner, asked.max_units)
            with self.guard:
                self.held.append(is_mine)
        digest = sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()
        self.write_down(act="reserve", answer=digest, **facts)

    def _at_once(self, name: str, request: ReservationRequest, keyed: Keyed) -> dict[str, Any]:
        """As the API does: what was looked up before is decided at once, all else in full."""
        caller = replace(self.world.people[name], standing=self.changes)
        with suppress(Exception):
            answer = self.admissions.at_once(caller, request, keyed)
            if answer is not None:
                return answer.result()
        return self._in_full(name, request, keyed)

    def _in_full(self, name: str, request: ReservationRequest, keyed: Keyed) -> dict[str, Any]:
        with snapshot(self.world.make_session) as session:
            changes = standing.changes(session)
        self.changes = changes
        caller = replace(self.world.people[name], standing=changes)
        return self.admissions.reserve(caller, request, keyed)

    # --- ends ---

    def end(self, draw: Random) -> bool:
        """Start, commit or void something; False where this process holds nothing yet.

        Some stay in the list, so that another thread ends what this one is ending.
        """
        act = draw.choices(["start", "commit", "void"], [3, 4, 4])[0]
        with self.guard:
            if not self.held:
                return False
            place = draw.randrange(len(self.held))
            keeps = act == "start" or draw.random() < 0.2
            reservation, fence, is_runner, most = self.held[place]
            if not keeps:
                self.held[place] = self.held[-1]
                self.held.pop()
        who = self.world.people["runner" if is_runner else "engineer"]
        book, reservation_id = self.world.reservations, UUID(reservation)

        def commit() -> dict[str, Any]:
            try:
                return book.commit(who, reservation_id, fence, None)
            except NothingStarted:
                book.start(who, reservation_id, fence, 0, draw.randint(1, most))
                return book.commit(who, reservation_id, fence, None)

        ways: dict[str, Callable[[], dict[str, Any]]] = {
            "start": lambda: book.start(who, reservation_id, fence, 0, draw.randint(1, most)),
            "commit": commit,
            "void": lambda: book.void(who, reservation_id, fence, NOTHING_READ),
        }
        try:
            document = self.again(ways[act])
        except (AlreadyResolved, AlreadyTouched, ScopeClosed) as refusal:
            self.write_down(act=act, id=reservation, outcome=refusal.code)
            return True
        self.write_down(
            act=act,
            id=reservation,
            outcome=document["state"],
            charged_units=document.get("charged_units"),
            started_units=document["started_units"],
        )
        return True

    # --- officers ---

    def govern(self, draw: Random) -> None:
        """Raise, lower, move or freeze something; a freeze is thawed again by the same thread."""
        name = draw.choice([*self.scene.budgets])
        budget_id = UUID(self.scene.budgets[name])
        # under gdp/1 no limit moves
        act = "freeze" if name == "normal" else draw.choice(OFFICER_ACTS)
        outcome = "done"
        try:
            if act == "freeze":
                self.again(lambda: self.world.change(budget_id, "freeze"))
                self._thaw(budget_id)
            elif act == "transfer":
                strict = UUID(self.scene.budgets["strict"])
                team = UUID(self.scene.budgets["team"])
                self.again(
                    lambda: self.world.change(team, "transfer", to=strict, epsilon=Decimal("0.01"))
                )
            else:
                # the limit and the version of one reading: another officer may be between two
                budget = self.world.budget(budget_id)
                limit = Decimal(budget.policy["limit"]["epsilon"])
                new = limit * (Decimal("1.02") if act == "raise" else Decimal("0.98"))
                self._decided(
                    self.again(
                        lambda: self.world.change(
                            budget_id,
                            act,
                            epsilon=new.quantize(Decimal("1e-9")),
                            if_version=budget.version,
                        )
                    )
                )
        except NOT_NOW as refusal:
            outcome = refusal.code
        self.write_down(act=act, outcome=outcome)

    def _thaw(self, budget_id: UUID) -> None:
        """Thaw, whoever changes the budget meanwhile."""
        for _ in range(ATTEMPTS_MOST):
            if self.world.budget(budget_id).state == "open":
                return
            try:
                self._decided(self.again(lambda: self.world.change(budget_id, "thaw")))
            except NOT_NOW:
                continue

    def _decided(self, made: dict[str, Any]) -> None:
        if made["state"] == "pending":
            self.again(lambda: self.world.decide(UUID(made["approval_id"]), "approve"))


def race(orders: dict[str, Any]) -> dict[str, Any]:
    engine = make_engine(orders["database_url"])
    scene = Scene(**orders["scene"])
    world = scene.world(make_session_maker(engine), Path(orders["home"]))
    racer = Racer(world, scene, orders["seed"], orders["requests"], world.admissions)
    first = orders["process"] * THREADS_EACH
    threads = [
        threading.Thread(target=racer.run, args=(first + place,)) for place in range(THREADS_EACH)
    ]
    world.writer.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # the processes begin together
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.writer.stop()
    world.journal.close()
    engine.dispose()
    return {"told": racer.told, "unexpected": racer.unexpected}


if __name__ == "__main__":
    answered = race(json.loads(sys.stdin.readline()))
    sys.stdout.write(json.dumps(answered))
