"""What the chains alone say of budgets and reservations, in the form of the evidence (L4).

Whoever gathers evidence and whoever holds a bundle read the same entries by the same functions, so
that the two can be compared value by value. No row of a database is needed, and no figure is kept:
sums are replayed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.domain.accounting.block_figures import worst_block
from app.domain.accounting.filters import policy_from_json
from app.domain.ledger import ChainedEntry, Replay, replay
from app.domain.privacy import Loss

MOVED: Final = ("raised", "lowered", "transferred")
PEOPLE: Final = ("requested_by", "decided_by", "on_behalf_of")
ENDINGS: Final = ("posted", "voided")
# of a charge's part, beside what it is charged by
SAID: Final = ("stated",)
# how a freeze says that an emergency was its cause
BREAK_GLASS: Final = "break-glass"


def budget_facts(
    budget_id: str, entries: Sequence[ChainedEntry], found: Replay | None = None
) -> dict[str, Any]:
    """What one chain says of its budget: the fields of `BudgetEvidence` that are facts of entries.

    Args:
        budget_id: whose chain it is.
        entries: from genesis on.
        found: their replay, where the caller has made it.

    Raises:
        ValueError: the chain has no entry, or does not follow; a bundle's verifier says more.
    """
    found = replay(budget_id, entries) if found is None else found
    if found.fault is not None or not entries:
        reason = "it has no entry" if found.fault is None else found.fault.reason
        raise ValueError(f"the chain of budget {budget_id} cannot be read: {reason}")
    bodies = [_body(entry) for entry in entries]
    opened = bodies[0]["facts"]
    policy = dict(found.policy or {})
    committed, reserved = sums_of(found)
    published, alarm = publications(bodies), open_alarm(bodies, found.state)
    return {
        "id": budget_id,
        "parent_id": opened["parent"],
        "kind": opened["kind"],
        "state": found.state,
        "accountant": policy["accountant"],
        "policy": policy,
        "window": opened.get("calendar"),
        "span": _span(opened),
        "entries": found.entries,
        "head_hash": found.head_hash,
        "opened_at": bodies[0]["at"],
        "first_entry_at": bodies[0]["at"],
        "last_entry_at": bodies[-1]["at"],
        "limit_changes": limit_changes(bodies),
        "openings": openings(bodies),
        "by_kind": by_kind(bodies),
        "committed_charge": committed.to_json(),
        "reserved_charge": reserved.to_json(),
        # named where there are any: a report from before they were told of agrees as it is
        **({"publications": published} if published else {}),
        **({} if alarm is None else {"break_glass": alarm}),
    }


def sums_of(found: Replay) -> tuple[Loss, Loss]:
    """Committed and reserved, exactly; with blocks those of the one that holds most in all (R8).

    Of no block that was charged, and of a plan whose blocks have no filter to tell the worst by,
    they are the plain sums.
    """
    if found.block_sums is None or found.policy is None or found.plan_units is not None:
        return found.committed, found.reserved
    block = worst_block(policy_from_json(found.policy), found.block_sums.held).block
    if block is None:
        return found.committed, found.reserved
    committed = found.block_sums.committed.loss_of(block)
    return committed, found.block_sums.held.loss_of(block) - committed


def limit_changes(bodies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`[{kind, date, from, to}]` of every limit that was moved, oldest first (R5)."""
    return [
        {
            "kind": body["kind"],
            "date": body["at"][:10],
            "from": body["facts"]["from"],
            "to": body["facts"]["to"],
        }
        for body in bodies
        if body["kind"] in MOVED
    ]


def openings(bodies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`[{seq, date, charge, blocks}]` of spend from before the service (L3)."""
    return [
        {
            "seq": body["seq"],
            "date": body["at"][:10],
            "charge": body["charge"],
            "blocks": body["facts"].get("blocks"),
        }
        for body in bodies
        if body["kind"] == "opening"
    ]


def publications(bodies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`[{seq, date, job}]` of every result that others may read, oldest first."""
    return [
        {"seq": body["seq"], "date": body["at"][:10], "job": body["facts"]["job"]}
        for body in bodies
        if body["kind"] == "published"
    ]


def open_alarm(bodies: Sequence[Mapping[str, Any]], state: str) -> dict[str, Any] | None:
    """`{seq, at, by, reason}` of the emergency that froze a budget which nobody has thawed yet."""
    frozen = next((body for body in reversed(bodies) if body["kind"] == "frozen"), None)
    if state != "frozen" or frozen is None or frozen["facts"].get("cause") != BREAK_GLASS:
        return None
    facts = frozen["facts"]
    return {
        "seq": frozen["seq"],
        "at": frozen["at"],
        "by": facts["decided_by"],
        "reason": facts["reason"],
    }


def by_kind(bodies: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many entries of each kind there are, by kind in the order of their names."""
    counts: dict[str, int] = {}
    for body in bodies:
        counts[body["kind"]] = counts.get(body["kind"], 0) + 1
    return dict(sorted(counts.items()))


def entry_row(body: Mapping[str, Any]) -> dict[str, Any]:
    """`{budget, seq, kind, units, blocks}`: one entry as its reservation's evidence names it."""
    return {
        "budget": body["ledger"],
        "seq": body["seq"],
        "kind": body["kind"],
        "units": [part["units"] for part in body["parts"]],
        "blocks": body["facts"].get("blocks"),
    }


def reservation_facts(
    chains: Mapping[str, Sequence[ChainedEntry]], kinds: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """By id, what the chains of one dataset say of its reservations.

    Args:
        chains: by budget, all entries.
        kinds: by budget, its kind. A reservation's `max_units` are those that it reserved in a
            budget that is no period, which may take the rest of a run alone (R9).

    Returns:
        Of each: its job, its parts without `started_units`, its entries in the order of budgets and
        numbers, its `state` if it has ended, and what it has `posted` of each part then.
    """
    found: dict[str, dict[str, Any]] = {}
    for budget in sorted(chains):
        for entry in chains[budget]:
            body = _body(entry)
            id_ = body["reservation"]
            if id_ is None or body["kind"] not in ("reserved", *ENDINGS):
                continue
            said = found.setdefault(
                id_,
                {
                    "id": id_,
                    "job": body["job"],
                    "parts": [],
                    "entries": [],
                    "state": None,
                    "posted": None,
                },
            )
            row = entry_row(body)
            said["entries"].append(row)
            if kinds.get(budget) == "period":
                continue
            if body["kind"] == "reserved":
                said["parts"] = [_part(part) for part in body["parts"]]
            else:
                said["state"], said["posted"] = body["kind"], row["units"]
    return found


def approval_facts(
    chains: Mapping[str, Sequence[ChainedEntry]],
) -> dict[str, dict[str, Any]]:
    """By id, who asked for and who decided each change that an entry says took two people (R19)."""
    found: dict[str, dict[str, Any]] = {}
    for chain in chains.values():
        for entry in chain:
            # looked for in the text first: most entries name none, and reading one costs more
            if '"approval":"' not in entry.body:
                continue
            facts = _body(entry)["facts"]
            if "approval" in facts:
                people = {key: facts[key] for key in PEOPLE if key in facts}
                found.setdefault(facts["approval"], {}).update(people)
    return found


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "mechanism": part["mechanism"],
        "price": part["price"],
        "max_units": part["units"],
        **{key: part[key] for key in SAID if key in part},
    }


def _span(opened: Mapping[str, Any]) -> list[str] | None:
    if opened["kind"] != "period":
        return None
    return [opened["starts_at"], opened["ends_at"]]


def _body(entry: ChainedEntry) -> Mapping[str, Any]:
    body: Mapping[str, Any] = json.loads(entry.body)
    return body
