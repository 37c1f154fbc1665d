"""Admission: the one place where loss is reserved, behind the process's one writer (L1, L5).

A request is priced first, in its caller's thread. The writer then takes it with what waits beside
it, locks the union of their scopes in id order, asks every filter against the running remainder,
and writes reservations, jobs, entries, outbox and idempotency rows in one transaction. Where it
answers, that transaction is durable.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.db.models import AuditEvent, Budget, DatasetRow, Job
from app.db.repositories import budgets as budget_rows
from app.db.session import SessionMaker, snapshot
from app.domain.errors import (
    DomainError,
    RateLimited,
    ScopeClosed,
    refusal_document,
)
from app.domain.training.offer import OURS, Offer
from app.services import (
    access,
    audit,
    explanation,
    idempotency,
    profiles,
    rates,
    releases,
    windows,
)
from app.services.access import Caller
from app.services.batches import Asked, Batch
from app.services.holdings import Scope, holding_of
from app.services.idempotency import Keyed
from app.services.placement import (
    Admitted,
    JobRequest,
    Place,
    ReservationRequest,
    job_place,
    place_of,
    reservation_place,
)
from app.services.pricing import (
    InputRequest,
    PricedRequest,
    Unpriced,
    look_up_job,
    look_up_parts,
)
from app.services.standing import KnownRequest, LookUps, require_credential, require_standing
from app.services.writer import AdmissionWriter


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What a quote is asked for: a job of ours, or the parts of a job that runs elsewhere."""

    inputs: tuple[InputRequest, ...]
    kind: str | None = None
    spec: Any = None
    parts: Any = None
    reuse: bool | None = None


class NoRoom(Exception):
    """Some scope refused; carries what each held under the lock, for the explanation."""

    code = "budget-exceeded"

    def __init__(self, scopes: Sequence[Scope]) -> None:
        super().__init__("some scope of the path has no room")
        self.scopes = scopes


@dataclass(frozen=True, slots=True)
class Admissions:
    """Use cases that ask for room: quote, submit a job, reserve for a job elsewhere."""

    make_session: SessionMaker
    writer: AdmissionWriter
    look_ups: LookUps = field(default_factory=LookUps)
    offer: Offer = OURS

    def quote(self, caller: Caller, request: QuoteRequest) -> dict[str, Any]:
        """Price a request and say what would be left; touches no row, takes no lock.

        A query comes with a preview of its errors, by its plan and by a released profile.

        Raises:
            InvalidParameter, MechanismNotPriced, RefusedByName: as a submit would.
        """
        access.require_role(caller, "ml_engineer", action="ask for a quote")
        with snapshot(self.make_session) as session:
            if request.parts is not None:
                asked = look_up_parts(session, caller, inputs=request.inputs, parts=request.parts)
            else:
                asked = look_up_job(
                    session,
                    caller,
                    kind=request.kind or "",
                    inputs=request.inputs,
                    spec=request.spec,
                    offer=self.offer,
                )
            may_reuse = asked.may_reuse(request.reuse)
            released = _released(session, caller, asked) if may_reuse else None
            reused_from = None if released is None else str(released.id)
        priced = asked.priced()
        with snapshot(self.make_session) as session:
            path = _path_with_windows(session, priced)
            quoted = explanation.quote_json(session, caller, path, priced)
            shown = profiles.preview_json(session, caller, priced)
        return {**quoted, **shown, "reused_from": reused_from}

    def submit(self, caller: Caller, request: JobRequest, keyed: Keyed) -> dict[str, Any]:
        """Admit a job: reserve its worst-case privacy loss and queue it, or refuse.

        A query whose very release is posted and readable by this caller is answered by it, at no
        charge. Two equal ones at once may both be charged: the look-up takes no lock.

        Raises:
            BudgetExceeded: some scope's filter would not hold; says what would fit (R12).
            ScopeClosed: a scope of the path is not open.
        """
        access.require_role(caller, "ml_engineer", action="submit a job")

        def look_up(session: Session) -> Unpriced:
            return look_up_job(
                session,
                caller,
                kind=request.kind,
                inputs=request.inputs,
                spec=request.spec,
                offer=self.offer,
            )

        return self._admit(caller, keyed, look_up, job_place(caller, request), job=request)

    def reserve(self, caller: Caller, request: ReservationRequest, keyed: Keyed) -> dict[str, Any]:
        """Reserve room for a job that runs elsewhere, under a lease.

        Raises:
            BudgetExceeded, ScopeClosed: as for a job.
        """
        access.require_role(caller, "ml_engineer", action="reserve")

        def look_up(session: Session) -> Unpriced:
            return look_up_parts(session, caller, inputs=request.inputs, parts=request.parts)

        return self._admit(caller, keyed, look_up, reservation_place(caller, request))

    def at_once(
        self, caller: Caller, request: JobRequest | ReservationRequest, keyed: Keyed
    ) -> "Future[dict[str, Any]] | None":
        """Ask the writer for what was looked up before, without a look at the database.

        None where it was not. An answer is as good as that of `submit` or `reserve`; on any
        exception nothing was decided, and these have to be asked.
        """
        place = place_of(caller, request)
        known = self.look_ups.request(caller, place.action, keyed.body_sha256)
        if known is None or "ml_engineer" not in caller.roles or not self.writer.is_grouping:
            return None
        asked = self._asked(caller, keyed, known, place, is_known=True)
        return self.writer.submit(asked)

    def _admit(
        self,
        caller: Caller,
        keyed: Keyed,
        look_up: Callable[[Session], Unpriced],
        place: Place,
        *,
        job: JobRequest | None = None,
    ) -> dict[str, Any]:
        """Look up, price, decide: the way of every request for room, in this order.

        job: of our own kinds, which an earlier release may answer.
        """
        with snapshot(self.make_session) as session:
            if (stored := idempotency.replay(session, keyed)) is not None:
                return stored
            unpriced = look_up(session)
            may_reuse = job is not None and unpriced.may_reuse(job.reuse)
            released = _released(session, caller, unpriced) if may_reuse else None
            if released is not None:
                reused = releases.answer(session, caller, released, unpriced.budget_ids)
        if job is not None and released is not None:
            return self.writer.decide(releases.asked_again(keyed, reused, job.purpose))
        priced = unpriced.priced()
        with snapshot(self.make_session) as session:
            charges = _charges(session, caller, priced)
        known = KnownRequest(priced, tuple(charges), caller.standing)
        answer = self._decide(caller, known, self._asked(caller, keyed, known, place))
        if unpriced.is_lasting and not may_reuse:
            # what a release may answer is looked for each time
            self.look_ups.keep_request(caller, place.action, keyed.body_sha256, known)
        return answer

    def _asked(
        self,
        caller: Caller,
        keyed: Keyed,
        known: KnownRequest,
        place: Place,
        *,
        is_known: bool = False,
    ) -> Asked:
        """The decision of a priced request, for the writer.

        is_known: it was looked up by an earlier request, so it has to be so still.
        """
        priced = known.priced.afresh() if is_known else known.priced

        def decide(batch: Batch) -> dict[str, Any]:
            if is_known:
                require_standing(caller, batch.changes, batch.now)
            else:
                require_credential(batch.session, caller, batch.changes, batch.now)
            if (stored := batch.replay(keyed)) is not None:
                return stored
            locked = require_room(batch, priced)
            placed = place.write(Admitted(batch, priced, locked))
            document = {**placed, "charges": list(known.charges)}
            batch.remember(keyed, document)
            batch.add(
                AuditEvent,
                audit.event(
                    actor_id=caller.principal_id,
                    action=place.action,
                    subject=document["id"],
                    facts={"max_units": document["max_units"]},
                    at=batch.now,
                ),
            )
            return document

        return Asked(keyed, priced.budget_ids, decide)

    def _decide(self, caller: Caller, known: KnownRequest, asked: Asked) -> dict[str, Any]:
        try:
            return self.writer.decide(asked)
        except RateLimited as limited:
            # passes by itself: not remembered, so that the same key may try again
            with snapshot(self.make_session) as session:
                raise explanation.as_seen(session, caller, limited) from None
        except (NoRoom, ScopeClosed) as refused:
            # explained after the lock is gone: the search for what fits costs many decisions
            refusal = self._explained(caller, known.priced, refused)
        stored = self._store_refusal(asked.keyed, refusal, known.priced)
        if stored is not None:
            return stored
        raise refusal

    def _explained(
        self, caller: Caller, priced: PricedRequest, refused: NoRoom | ScopeClosed
    ) -> DomainError:
        with snapshot(self.make_session) as session:
            if isinstance(refused, ScopeClosed):
                return explanation.as_seen(session, caller, refused)
            return explanation.budget_exceeded(session, caller, refused.scopes, priced)

    def _store_refusal(
        self, keyed: Keyed, refusal: DomainError, priced: PricedRequest
    ) -> dict[str, Any] | None:
        """A refusal is answered for ever too: one idempotency row and one audit row (R12, R16).

        Returns:
            The answer of an equal request that was admitted meanwhile, by another process or by a
            commit whose outcome was unknown: under one key the first answer is the only one.
        """
        admitted: list[dict[str, Any]] = []

        def write(batch: Batch) -> dict[str, Any]:
            admitted.clear()
            if (stored := batch.replay(keyed)) is not None:
                admitted.append(stored)
                return stored
            document = refusal_document(refusal)
            batch.remember(keyed, document, outcome="refused")
            batch.add(
                AuditEvent,
                audit.event(
                    actor_id=keyed.principal_id,
                    action=f"refused.{refusal.code}",
                    subject=keyed.route,
                    facts={"key": keyed.key, "dataset_ids": _dataset_ids(priced)},
                    at=batch.now,
                ),
            )
            return document

        self.writer.decide(Asked(keyed, (), write))
        return admitted[0] if admitted else None


def _released(session: Session, caller: Caller, asked: Unpriced) -> Job | None:
    """The job whose release answers a request, if there is one that the caller may read."""
    if asked.release_sha256 is None:
        return None
    leaf_ids = [each.budget_id for each in asked.inputs]
    return releases.find(session, caller, asked.release_sha256, leaf_ids)


def _dataset_ids(priced: PricedRequest) -> list[str]:
    """In whose scopes a request was refused: a report counts its dataset's refusals by these."""
    return sorted({str(each.dataset_id) for each in priced.inputs})


def require_room(batch: Batch, priced: PricedRequest) -> list[Budget]:
    """Ask every filter of a priced request's locked scopes (L1, R4).

    Returns:
        The path in id order, then the period in force of each of its windows; all of them admit the
        loss on top of what they hold by now.

    Raises:
        ScopeClosed: a scope is not open, has expired, or its dataset was retired.
        NoRoom: some filter would not hold.
        RateLimited: a scope has had its jobs or units for now.
    """
    path = batch.path(priced.budget_ids)
    scopes = [budget for budget in path if budget.kind != "window"]
    for budget in scopes:
        require_open(batch.session, budget, now=batch.now)
    periods = [batch.period(budget) for budget in path if budget.kind == "window"]
    scopes += sorted(periods, key=lambda period: period.id)
    if any(budget.rate_limits for budget in scopes):
        batch.write()  # rates are counted by the entries, those of this batch too
        rates.require_rate(batch.session, scopes, priced.max_units, now=batch.now)
    holdings = [
        holding_of(budget, priced.ranges_in(budget.dataset_id), priced.slot_units)
        for budget in scopes
    ]
    if not all(holding.admits(priced.loss) for holding in holdings):
        raise NoRoom(holdings)
    return scopes


def require_open(session: Session, budget: Budget, *, now: datetime) -> None:
    """Refuse a scope in which nothing may start now.

    Raises:
        ScopeClosed: frozen, closed, not opened yet, expired, or on a retired dataset.
    """
    state = budget.state
    if state == "open" and budget.expires_at is not None and budget.expires_at <= now:
        state = "expired"
    if state == "open" and session.get_one(DatasetRow, budget.dataset_id).state != "active":
        state = "retired"
    if state != "open":
        raise ScopeClosed(windows.scope_of(budget), state)


def _charges(session: Session, caller: Caller, priced: PricedRequest) -> list[dict[str, Any]]:
    """What is asked of each scope that the caller may read, as epsilon on its own.

    It depends on no balance, so it is worked out before the lock.
    """
    path = _path_with_windows(session, priced)
    return [
        {"budget_id": str(budget.id), **explanation.asked_json(budget, priced)}
        for budget in path
        if access.may_read_budget(session, caller, budget)
    ]


def _path_with_windows(session: Session, priced: PricedRequest) -> list[Budget]:
    """The scopes of a request as rows: leaf and ancestors, then the windows that limit them."""
    ids = [*priced.budget_ids, *budget_rows.windows_of(session, priced.budget_ids)]
    return [session.get_one(Budget, budget_id) for budget_id in ids]
