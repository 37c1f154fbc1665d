"""How a budget was spent: which work, people and periods, in order, and what can be done about it.

Readers of the budget see its charges, as its entries show them; who asked and why stands beside
those that the caller may read as jobs (R12). Nothing here depends on a row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Budget, DatasetRow, Entry, Job, Principal, Reservation
from app.db.session import SessionMaker, database_now, snapshot
from app.domain.accounting.policy import Policy
from app.domain.accounting.spending import Spend, Total, consumed_after, groups, total_of
from app.domain.forecast import PACE_DAYS, Point, exhausted_at
from app.domain.mechanisms.parsing import Part, parse_mechanism
from app.domain.partitions import ranges_from_json
from app.domain.privacy import Loss
from app.domain.windows import window_from_json
from app.reporting.ways_out import WaysOutFacts, ways_out
from app.services import access, plans, policies, windows
from app.services.access import Caller
from app.services.alone_figures import FIGURES
from app.services.budgets import readable
from app.services.evidence_ledger import portions

SPENDING: Final = ("posted", "opening")
GROUPS_MOST: Final = 20
PERIODS_MOST: Final = 24
PACE_POINTS_MOST: Final = 8
BEFORE: Final = "before the service"
ALONE_NOTE: Final = (
    "Alone is what a charge would consume of this budget if it were the only one; such figures do"
    " not add up. If fixed in advance is the PLD figure of that work by itself: no bound for work"
    " that was chosen in view of results, and it admits nothing."
)


@dataclass(slots=True)
class Work:
    """What is behind the charges of a budget; hidden names are None."""

    spends: list[Spend] = field(default_factory=list)
    bodies: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    reservations: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)


def trace(
    make_session: SessionMaker, caller: Caller, budget_id: UUID, after_seq: int, limit: int
) -> dict[str, Any]:
    """A page of the charges of a budget in order, sums by person, kind and month, and ways out.

    A window shows the period in force; a plan has slots and no figure before its whole (R10).

    Raises:
        NotFound: no such budget, or none that this caller may know of.
    """
    with snapshot(make_session) as session:
        budget = readable(session, caller, budget_id)
        now = database_now(session)
        shown = budget
        if budget.kind == "window":
            shown = windows.seen_in_force(session, budget, now=now) or budget
        work = _work(session, shown)
        relation = str(session.get_one(DatasetRow, shown.dataset_id).relation)
        seen = _seer(session, caller)
        if plans.is_plan(shown):
            return _of_a_plan(shown, work, seen, after_seq, limit)
        policy = policies.policy_of(shown)
        page = consumed_after(policy, work.spends, after_seq=after_seq, limit=limit)
        items = [
            {
                **_item(work, spend, seen),
                "consumed_after": policies.amount_json(consumed),
                "alone": policies.amount_json(policies.alone(policy, spend.loss)),
                "if_fixed_in_advance": _advance(work, spend, policy, relation),
            }
            for spend, consumed in page
        ]
        return {
            "budget_id": str(shown.id),
            "limit": policies.limit_json(policy),
            "consumed": policies.amount_json(policies.held_by_worst(shown).consumed),
            "items": items,
            "by_person": _by_person(work, policy, seen),
            "by_kind": _by(work, policy, lambda spend: _kind(work, spend), GROUPS_MOST),
            "by_month": sorted(
                _by(work, policy, lambda spend: spend.at.strftime("%Y-%m"), PERIODS_MOST),
                key=lambda each: str(each["name"]),
            ),
            "note": ALONE_NOTE,
            "forecast": _forecast(work.spends, policy, now),
            "ways_out": ways_out(_facts(session, budget, shown, work, policy, relation, now=now)),
        }


def _of_a_plan(
    shown: Budget, work: Work, seen: Callable[[Job | None], bool], after_seq: int, limit: int
) -> dict[str, Any]:
    bodies = [each for each in work.spends if each.seq > after_seq][:limit]
    return {
        "budget_id": str(shown.id),
        "limit": plans.limit_of(shown),
        "consumed": None,
        "items": [
            {
                **_item(work, spend, seen),
                "consumed_after": None,
                "alone": None,
                "if_fixed_in_advance": None,
            }
            for spend in bodies
        ],
        "by_person": [],
        "by_kind": [],
        "by_month": [],
        "note": "A plan has one figure, of its whole; its slots say how far it has come.",
        "forecast": {"exhausted_at": None, "basis": "a plan ends with its slots"},
        "ways_out": [],
    }


def _work(session: Session, budget: Budget) -> Work:
    work = Work()
    rows = session.execute(
        select(Entry.seq, Entry.created_at, Entry.body)
        .where(Entry.budget_id == budget.id, Entry.kind.in_(SPENDING))
        .order_by(Entry.seq)
    )
    for seq, at, text in rows:
        body = json.loads(text)
        blocks = body["facts"].get("blocks")
        ranges = None if blocks is None else ranges_from_json(blocks)
        work.spends.append(Spend(seq, at, Loss.from_json(body["charge"]), ranges))
        work.bodies[seq] = body
    named = sorted({body["reservation"] for body in work.bodies.values() if body["reservation"]})
    for some in portions(named):
        ids = [UUID(each) for each in some]
        for row in session.execute(
            select(Reservation.id, Reservation.principal_id, Reservation.tool).where(
                Reservation.id.in_(ids)
            )
        ):
            work.reservations[str(row.id)] = row
        for job in session.scalars(select(Job).where(Job.reservation_id.in_(ids))):
            work.jobs[str(job.id)] = job
    for person_id, name in session.execute(select(Principal.id, Principal.name)):
        work.people[str(person_id)] = name
    return work


def _seer(session: Session, caller: Caller) -> Callable[[Job | None], bool]:
    """Whether the caller may read a job; of work elsewhere whether he sees every budget."""
    sees_all = not caller.roles.isdisjoint(access.SEES_EVERY_BUDGET)
    known: dict[tuple[str, ...], bool] = {}

    def seen(job: Job | None) -> bool:
        if sees_all or job is None:
            return sees_all
        if job.principal_id == caller.principal_id:
            return True
        leaves = tuple(sorted(item["budget_id"] for item in job.inputs))
        if leaves not in known:
            known[leaves] = access.may_read_jobs_of(session, caller, map(UUID, leaves))
        return known[leaves]

    return seen


def _item(work: Work, spend: Spend, seen: Callable[[Job | None], bool]) -> dict[str, Any]:
    body = work.bodies[spend.seq]
    job = work.jobs.get(body["job"] or "")
    reservation = work.reservations.get(body["reservation"] or "")
    is_seen = seen(job)
    person = None if reservation is None or not is_seen else str(reservation.principal_id)
    return {
        "seq": spend.seq,
        "at": spend.at.isoformat(),
        "kind": _kind(work, spend),
        "job": body["job"] if is_seen else None,
        "reservation": body["reservation"],
        "person": person,
        "person_name": None if person is None else work.people.get(person),
        "purpose": None if job is None or not is_seen else job.purpose,
        "tool": None if reservation is None or not is_seen else reservation.tool,
        "units": sum(part["units"] for part in body["parts"]),
        "slots": [part["slot"] for part in body["parts"] if "slot" in part],
        "blocks": body["facts"].get("blocks"),
    }


def _kind(work: Work, spend: Spend) -> str:
    body = work.bodies[spend.seq]
    if body["kind"] == "opening":
        return BEFORE
    job = work.jobs.get(body["job"] or "")
    return "outside tool" if job is None else job.kind


def _parts(body: Mapping[str, Any]) -> list[Part]:
    return [
        Part(parse_mechanism(part["mechanism"]), part["units"])
        for part in body["parts"]
        if part["units"]
    ]


def _advance(work: Work, spend: Spend, policy: Policy, relation: str) -> dict[str, Any] | None:
    """The figure of one piece of work by itself; None of what has no parts, as earlier spend."""
    parts = _parts(work.bodies[spend.seq])
    return _composed(parts, policy, relation) if parts else None


def _composed(parts: Sequence[Part], policy: Policy, relation: str) -> dict[str, Any]:
    delta = policy.limit.delta
    if not delta:
        return {"epsilon": None, "delta": "0", "state": "needs a delta above 0"}
    epsilon, is_known = FIGURES.of(parts, relation, delta)
    state = "composing, ask again" if not is_known else "known" if epsilon else "not composable"
    return {"epsilon": epsilon, "delta": policy.limit.to_json()["delta"], "state": state}


def _by(
    work: Work, policy: Policy, name_of: Callable[[Spend], str], most: int
) -> list[dict[str, Any]]:
    return [
        {"name": name, "charges": count, "alone": policies.amount_json(total.consumed(policy))}
        for name, count, total in groups(work.spends, name_of, most=most)
    ]


def _by_person(
    work: Work, policy: Policy, seen: Callable[[Job | None], bool]
) -> list[dict[str, Any]]:
    def person(spend: Spend) -> str:
        body = work.bodies[spend.seq]
        if body["kind"] == "opening":
            return BEFORE
        reservation = work.reservations.get(body["reservation"] or "")
        if reservation is None or not seen(work.jobs.get(body["job"] or "")):
            return "others"
        return str(reservation.principal_id)

    return [
        {**each, "person_name": work.people.get(each["name"])}
        for each in _by(work, policy, person, GROUPS_MOST)
    ]


def _forecast(spends: Sequence[Spend], policy: Policy, now: datetime) -> dict[str, Any]:
    """The line of the timeline, by its last days alone."""
    days: dict[str, Spend] = {each.at.date().isoformat(): each for each in spends}
    last = list(days.values())[-PACE_POINTS_MOST:]
    points = [
        Point(
            each.at,
            Decimal(
                total_of(one for one in spends if one.seq <= each.seq).consumed(policy).epsilon
            ),
        )
        for each in last
    ]
    reached = exhausted_at(points, policy.limit.epsilon, now)
    return {
        "exhausted_at": None if reached is None else reached.isoformat(),
        "basis": f"the pace of the last {PACE_DAYS} days, as a straight line; not a promise",
    }


def _facts(
    session: Session,
    budget: Budget,
    shown: Budget,
    work: Work,
    policy: Policy,
    relation: str,
    *,
    now: datetime,
) -> WaysOutFacts:
    """What the ways out are computed from."""
    held = policies.held_by_worst(shown)
    last = work.spends[-1] if work.spends else None
    repeats = _repeats(work)
    without = Total.empty()
    if repeats:
        without = total_of(each for each in work.spends if each.seq not in repeats)
    whole = [part for each in work.spends for part in _parts(work.bodies[each.seq])]
    has_earlier = any(body["kind"] == "opening" for body in work.bodies.values())
    dataset = session.get_one(DatasetRow, shown.dataset_id)
    return WaysOutFacts(
        budget_id=str(budget.id),
        kind=budget.kind,
        consumed=held.consumed.epsilon,
        limit=policies.limit_json(policy)["epsilon"],
        opens_again_at=_opens_again(budget, shown),
        refresh_when=None if budget.window is None else budget.window["refresh_when"],
        has_time_blocks=dataset.document.get("blocks", {}).get("kind") == "time",
        in_advance=_composed(whole, policy, relation)["epsilon"]
        if whole and not has_earlier
        else None,
        repeats=len(repeats),
        without_repeats=without.consumed(policy).epsilon if repeats else None,
        reserved=policies.balances(shown)["reserved"]["epsilon"],
        one_more_like_the_last=None
        if last is None
        else policy.consumed(held.loss + last.loss).epsilon,
        takes_two=budget.kind in ("lifetime", "window"),
    )


def _repeats(work: Work) -> set[int]:
    """Charges of queries that had been released before in this budget: asked again at a price."""
    seen, found = set[str](), set[int]()
    for spend in work.spends:
        job = work.jobs.get(work.bodies[spend.seq]["job"] or "")
        if job is None or job.release_sha256 is None:
            continue
        if job.release_sha256 in seen:
            found.add(spend.seq)
        seen.add(job.release_sha256)
    return found


def _opens_again(budget: Budget, shown: Budget) -> str | None:
    if budget.window is None or shown.ends_at is None:
        return None
    zone = ZoneInfo(window_from_json(budget.window).time_zone)
    return shown.ends_at.astimezone(zone).isoformat()
