"""Blocks and frozen plans in a bundle: each block has its own filter, each slot its own count."""

import copy
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from app import verifier
from app.db.session import make_engine, make_session_maker
from app.services import export
from app.services.recovery import Recovery
from tests import planned
from tests.histories import DAYS
from tests.restoring import Backup, backup
from tests.services.test_recovery import settle, thaw
from tests.tampering import Bundle, a_uuid
from tests.world import World, new_world

__all__ = ["backup"]

GAUSSIAN = {"type": "gaussian", "noise_multiplier": "12"}


@pytest.fixture
def days(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """Records by the day; ten days are closed."""
    engine = make_engine(sqlite_url)
    with new_world(make_session_maker(engine), tmp_path, **DAYS) as made:
        yield made
    engine.dispose()


@pytest.fixture
def exported(days: World) -> Bundle:
    """A ledger whose blocks are charged unevenly, and a plan whose slots are used up."""
    root = days.open_root("rdp-mix/1", "2", "1e-6")
    team = days.open_allocation(root, "1.5", accountant="rdp-mix/1", delta="1e-6")
    plan = planned.open_plan(days, root)
    for blocks in (((0, 3),), ((2, 2), (5, 9)), "all", ((0, 0),)):
        made = days.reserve(team, GAUSSIAN, 2, blocks=blocks)
        days.reservations.commit(days.engineer, UUID(made["id"]), 1, None)
    for units in (1, 2):
        inputs = days.inputs(plan, ((units, 4),))
        parts = [planned.part("nightly", units), planned.part("weekly", 1)]
        made = planned.reserve(days, inputs, *parts)
        days.reservations.commit(days.engineer, UUID(made["id"]), 1, None)
    return Bundle.read(b"".join(export.lines(days.make_session)))


def fault_of(bundle: Bundle) -> verifier.Fault | None:
    return verifier.verify(io.BytesIO(bundle.write("hashed")), None).fault


def plain(bundle: Bundle, kind: str, *, is_plan: bool) -> list[dict[str, Any]]:
    """The entries of a kind of the reservations that name slots, or of the others."""
    entries = [bundle.at(each) for each in bundle.of(kind)]
    return [each for each in entries if ("slot" in each["parts"][0]) == is_plan]


def test_a_ledger_of_blocks_and_plans_is_found_right(exported: Bundle) -> None:
    assert fault_of(exported) is None
    assert any(
        "slot" in part for each in exported.of("posted") for part in exported.at(each)["parts"]
    )


def more(bundle: Bundle, like: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    """One more reservation like one that is there, changed, in all budgets of its path."""
    draw = Random(5)
    reservation = a_uuid(draw)
    for chain in bundle.chains.values():
        for body in [each for each in chain if each["kind"] == "reserved"]:
            if body["reservation"] == like["reservation"]:
                new = copy.deepcopy(body) | {"id": a_uuid(draw), "reservation": reservation}
                change(new)
                bundle.charge(new)
                chain.append(new | {"at": chain[-1]["at"]})


def test_a_reservation_beyond_the_slots_of_a_plan_is_found(exported: Bundle) -> None:
    like = plain(exported, "reserved", is_plan=True)[0]

    def one_weekly_too_many(body: dict[str, Any]) -> None:
        body["parts"][0]["units"], body["parts"][1]["units"] = 1, 2

    def the_last_of_each(body: dict[str, Any]) -> None:
        body["parts"][0]["units"], body["parts"][1]["units"] = 1, 1

    fits = copy.deepcopy(exported)
    more(fits, like, the_last_of_each)
    assert fault_of(fits) is None
    more(exported, like, one_weekly_too_many)
    fault = fault_of(exported)
    assert fault is not None
    assert (fault.code, "plan-pld/1" in fault.what) == ("limit", True)


def test_a_part_that_is_not_the_mechanism_of_its_slot_is_found(exported: Bundle) -> None:
    for kind in ("reserved", "posted"):
        for body in plain(exported, kind, is_plan=True):
            body["parts"][0]["slot"], body["parts"][1]["slot"] = "weekly", "nightly"
    fault = fault_of(exported)
    assert fault is not None
    assert fault.code == "plan"


def test_only_the_block_that_is_full_refuses(exported: Bundle) -> None:
    like = plain(exported, "reserved", is_plan=False)[0]

    def fill(blocks: list[list[int]], units: int) -> Bundle:
        bundle = copy.deepcopy(exported)

        def change(body: dict[str, Any]) -> None:
            body["parts"][0]["units"] = units
            body["facts"]["blocks"] = blocks

        more(bundle, like, change)
        return bundle

    largest = 0
    while fault_of(fill([[4, 4]], largest + 1)) is None:
        largest += 1
    assert largest > 2
    fault = fault_of(fill([[0, 9]], largest))
    assert fault is not None
    assert fault.code == "limit"
    assert "in block" in fault.what


@pytest.mark.parametrize("blocks", [None, [[0, 0]], [[0, 3], [3, 5]], "all", [[3, 0]]])
def test_an_end_of_other_blocks_than_its_beginning_is_found(exported: Bundle, blocks: Any) -> None:
    body = plain(exported, "posted", is_plan=False)[0]
    if blocks is None:
        del body["facts"]["blocks"]
    else:
        body["facts"]["blocks"] = blocks
    assert fault_of(exported) is not None


def test_a_budget_that_knows_of_no_blocks_in_a_divided_dataset_is_found(exported: Bundle) -> None:
    leaf = next(b for b in exported.chains if exported.kind(b) == "allocation")
    for body in exported.chains[leaf]:
        body["facts"].pop("partition", None)
        body["facts"].pop("blocks", None)
    fault = fault_of(exported)
    assert fault is not None
    assert fault.code in ("tree", "path")


def test_a_plan_whose_slots_were_widened_is_found(exported: Bundle) -> None:
    body = next(
        exported.at(each)
        for each in exported.of("opened")
        if exported.at(each)["facts"]["policy"]["accountant"] == "plan-pld/1"
    )
    body["facts"]["policy"]["slots"][0]["count"] += 1
    fault = fault_of(exported)
    assert fault is not None
    assert fault.code == "plan"


@pytest.fixture
def put_right(days: World, backup: Backup) -> Bundle:
    """A ledger put back from a backup that had forgotten what ran in a plan, and put right (R22).

    One reservation of the plan was under way in the backup, and ended after the plan.
    """
    root = days.open_root("rdp-mix/1", "2", "1e-6")
    plan = planned.open_plan(days, root)
    known = planned.reserve(days, days.inputs(plan, ((1, 4),)), planned.part("weekly", 1))
    put_back = backup(days)
    forgotten = planned.reserve(days, days.inputs(plan, ((1, 4),)), planned.part("nightly", 2))
    days.reservations.start(days.engineer, UUID(forgotten["id"]), 1, 0, 1)
    old = put_back()
    assert Recovery(old.make_session, old.journal.folder, None).compare().frozen == 1
    settle(old, root)
    thaw(old, root)
    old.reservations.commit(old.engineer, UUID(known["id"]), 1, None)
    assert old.verified()
    return Bundle.read(b"".join(export.lines(old.make_session)))


def plan_of(bundle: Bundle) -> list[dict[str, Any]]:
    """The chain of the frozen plan."""
    return next(
        chain
        for chain in bundle.chains.values()
        if chain[0]["facts"]["policy"]["accountant"] == "plan-pld/1"
    )


def test_a_plan_that_was_closed_over_what_no_slot_names_is_found_right(put_right: Bundle) -> None:
    fault = fault_of(put_right)
    assert fault is None, fault.to_json()
    chain = plan_of(put_right)
    assert [body["kind"] for body in chain] == ["opened", "reserved", "opening", "closed", "posted"]
    assert "slot" not in chain[2]["parts"][0]
    assert chain[2]["charge"] != chain[3]["charge"]


def test_a_slot_that_is_used_after_what_no_slot_names_is_found(put_right: Bundle) -> None:
    chain = plan_of(put_right)
    more(put_right, chain[1], lambda _: None)
    new = chain.pop()

    def put_at(place: int) -> verifier.Fault | None:
        bundle = copy.deepcopy(put_right)
        plan_of(bundle).insert(place, new | {"at": chain[place - 1]["at"]})
        return fault_of(bundle)

    # it fits in its slot and stands in all its budgets: only its place is wrong
    assert put_at(2) is None
    found = {3: ("plan", "was not closed by it"), 4: ("state", "a budget that is closed")}
    for place, (code, words) in found.items():
        fault = put_at(place)
        assert fault is not None, place
        assert (fault.code, fault.budget, fault.seq) == (code, chain[0]["ledger"], place + 1)
        assert words in fault.what


def test_a_plan_that_what_no_slot_names_did_not_close_is_found(put_right: Bundle) -> None:
    opened, reserved, opening, closed, posted = plan_of(put_right)
    other = {**closed["facts"], "approval": a_uuid(Random(7))}
    chains = {
        "never": [posted],
        "nothing follows": [],
        "later": [posted, closed | {"at": posted["at"]}],
        "by another approval": [closed | {"facts": other}, posted],
        "only frozen": [closed | {"kind": "frozen"}, posted],
    }
    for how, after in chains.items():
        bundle = copy.deepcopy(put_right)
        plan_of(bundle)[:] = copy.deepcopy([opened, reserved, opening, *after])
        fault = fault_of(bundle)
        assert fault is not None, how
        assert (fault.code, fault.budget) == ("plan", opened["ledger"]), how
        assert fault.seq == (4 if after else 3), how


def test_what_no_slot_names_is_charged_by_its_price(put_right: Bundle) -> None:
    opening = plan_of(put_right)[2]
    opening["parts"][0]["units"] -= 1
    fault = fault_of(put_right)
    assert fault is not None
    assert (fault.code, fault.budget, fault.seq) == ("charge", opening["ledger"], 3)
