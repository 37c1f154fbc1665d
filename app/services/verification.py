"""Replay: what the chains say against what the budgets hold; what does not agree is frozen (L4).

The replay of a budget starts at genesis and reproduces its sums. On a mismatch the budget is frozen
whatever the cause, since its balance can be believed no more. The entry that says so is appended
behind the highest entry or head that is known: the fault stays where it is, for a verifier to
find, and nothing is renumbered over it. A frozen budget whose fault stands is frozen again however
often it is thawed: it goes on from a database without the fault, or not at all.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Budget, Entry
from app.db.repositories import budgets as budget_rows
from app.db.repositories import entries as entry_rows
from app.db.session import SessionMaker, database_now, snapshot, transaction
from app.domain.ledger import ChainFault, replay
from app.services import audit, notifications
from app.services.states import write_state

log = logging.getLogger(__name__)

ACTOR: Final = "verification"
NOT_BEGUN: Final = frozenset({"proposed", "closed"})
BROKEN: Final = "the chain does not agree with the budget"
# a replay may take this share of one core: a step that took a second rests for nineteen
SHARE: Final = 0.05
# after this a step leaves the other budgets to the next one
STEP_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Verified:
    """What the replay of one budget found; fault None where all agrees."""

    entries: int
    fault: ChainFault | None


def started_ids(session: Session) -> list[UUID]:
    """Every budget that has a chain, or should have one; oldest first."""
    has_entries = select(Entry.budget_id).distinct()
    statement = (
        select(Budget.id)
        .where((Budget.last_seq > 0) | Budget.id.in_(has_entries))
        .order_by(Budget.created_at, Budget.id)
    )
    return list(session.scalars(statement))


def verify(session: Session, budget_id: UUID) -> Verified:
    """Replay one budget and compare hashes, head, balances, limit and state; a step that reads."""
    walked = replay(str(budget_id), entry_rows.chain(session, budget_id))
    budget = session.get_one(Budget, budget_id)
    if walked.fault is not None:
        return Verified(walked.entries, walked.fault)
    reason = None
    if walked.entries == budget.last_seq == 0 and budget.state in NOT_BEGUN:
        return Verified(0, None)  # proposed, or closed without ever having been opened
    if (walked.entries, walked.head_hash) != (budget.last_seq, budget.head_hash):
        reason = "the chain ends elsewhere than at the head that the budget names"
    elif (walked.committed, walked.reserved, walked.plan_units) != (
        budget.committed,
        budget.reserved,
        budget.plan_units,
    ):
        reason = "the balances are not the sums of the entries"
    elif walked.block_sums != budget.block_sums:
        reason = "the balances of the blocks are not the sums of their entries"
    elif (walked.policy, walked.state) != (budget.policy, budget.state):
        reason = "limit or state are not those that the entries decided"
    return Verified(walked.entries, None if reason is None else ChainFault(walked.entries, reason))


def freeze_broken(session: Session, budget_id: UUID, fault: ChainFault) -> bool:
    """Freeze a budget whose chain is broken, once, with audit and notification; a step.

    Of a period its window is frozen: that is what lets nothing start, and what people can thaw.

    Returns:
        Whether it was frozen now.
    """
    broken = session.get_one(Budget, budget_id)
    subject_id = budget_id
    if broken.kind == "period" and broken.parent_id is not None:
        subject_id = broken.parent_id
    subject = budget_rows.lock(session, [subject_id])[0]
    now = database_now(session)
    facts = {"budget_id": str(budget_id), "seq": fault.seq, "reason": fault.reason}
    found = {**facts, "last_seq": broken.last_seq, "head_hash": broken.head_hash}
    frozen = subject.state == "open"
    if frozen:
        _put_behind_the_highest(session, subject)
        write_state(
            session, subject, "freeze", actor=ACTOR, facts={**facts, "cause": BROKEN}, now=now
        )
    # told once for each time that it is frozen, whatever is appended to it meanwhile
    if notifications.notice_broken_chain(session, subject, facts, now=now):
        audit.record(
            session,
            actor_id=None,
            action="ledger.broken-chain",
            subject=str(budget_id),
            facts=found,
            at=now,
        )
    return frozen


@dataclass(slots=True)
class Verifier:
    """Replays what has moved, a bounded share of the time, and freezes what does not agree.

    What was replayed is remembered by this process alone, so that nobody who can write to the
    database can tell it that something was verified. Its first steps replay everything.
    """

    make_session: SessionMaker
    clock_s: Callable[[], float] = time.monotonic
    _seen: dict[UUID, tuple[int, str]] = field(default_factory=dict)
    _turns: dict[UUID, int] = field(default_factory=dict)
    _rests_until_s: float = 0.0

    def step(self) -> int:
        """Replay budgets that have moved, unless it must rest; says how many it froze.

        Who has waited longest comes first, so that a busy budget keeps no other from its turn.
        """
        if self.clock_s() < self._rests_until_s:
            return 0
        began_s = self.clock_s()
        with snapshot(self.make_session) as session:
            # one that is proposed has no chain yet: nothing to agree with, and nothing to freeze
            statement = select(Budget.id, Budget.last_seq, Budget.head_hash).where(
                (Budget.last_seq > 0) | Budget.opened_at.is_not(None)
            )
            heads = {row.id: (row.last_seq, row.head_hash) for row in session.execute(statement)}
        moved = [each for each, head in heads.items() if self._seen.get(each) != head]
        frozen = 0
        for budget_id in sorted(moved, key=lambda each: self._turns.get(each, -1)):
            self._turns[budget_id] = 1 + max(self._turns.values(), default=0)
            frozen += self._verify(budget_id)
            if self.clock_s() - began_s > STEP_S:
                break
        ended_s = self.clock_s()
        self._rests_until_s = ended_s + (ended_s - began_s) * (1 / SHARE - 1)
        return frozen

    def everything(self) -> dict[UUID, Verified]:
        """Replay every budget from genesis, whatever was seen before, and freeze what is broken."""
        self._seen.clear()
        with snapshot(self.make_session) as session:
            ids = started_ids(session)
        found = {}
        for budget_id in ids:
            with snapshot(self.make_session) as session:
                found[budget_id] = verify(session, budget_id)
            fault = found[budget_id].fault
            if fault is not None:
                self._freeze(budget_id, fault)
        return found

    def _verify(self, budget_id: UUID) -> bool:
        with snapshot(self.make_session) as session:
            found = verify(session, budget_id)
            budget = session.get_one(Budget, budget_id)
            head = (budget.last_seq, budget.head_hash)
        frozen = found.fault is not None and self._freeze(budget_id, found.fault)
        if found.fault is None:
            self._seen[budget_id] = head
        return frozen

    def _freeze(self, budget_id: UUID, fault: ChainFault) -> bool:
        log.error(
            "ledger.broken_chain budget_id=%s seq=%s reason=%s", budget_id, fault.seq, fault.reason
        )
        with transaction(self.make_session) as session:
            # what was found was found without a lock: only what still stands under it counts
            budget = session.get_one(Budget, budget_id)
            is_period = budget.kind == "period" and budget.parent_id is not None
            held = [budget_id, budget.parent_id] if is_period else [budget_id]
            budget_rows.lock(session, [each for each in held if each is not None])
            stands = verify(session, budget_id).fault
            return stands is not None and freeze_broken(session, budget_id, stands)


def _put_behind_the_highest(session: Session, budget: Budget) -> None:
    """Let the next entry come behind every entry that stands, where the head was set back."""
    highest = session.scalar(select(func.max(Entry.seq)).where(Entry.budget_id == budget.id))
    if highest is not None and highest > budget.last_seq:
        last = session.get_one(Entry, (budget.id, highest))
        budget.last_seq, budget.head_hash = last.seq, last.hash
