"""Jobs elsewhere: full charge unless a registered runner says less in time (R15)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.db.models import Reservation
from app.db.session import database_now, transaction
from app.domain.accounting.prices import price
from app.domain.errors import (
    AlreadyResolved,
    AlreadyTouched,
    InvalidParameter,
    LeaseLost,
    NotAllowed,
    NotFound,
)
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from tests.world import World

GAUSSIAN = {"type": "gaussian", "noise_multiplier": "20"}
SENTENCE = "no private row was read"


@pytest.fixture
def root(world: World) -> UUID:
    return world.open_root("rdp-mix/1", "8", "1e-5")


def charge_of(units: int) -> Loss:
    return price(parse_mechanism(GAUSSIAN), "add_remove").charge(units)


def test_a_team_that_is_no_runner_pays_for_the_whole_whatever_it_says(
    world: World, root: UUID
) -> None:
    reserved = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    world.reservations.start(world.engineer, reserved, 1, 0, 2)
    posted = world.reservations.commit(world.engineer, reserved, 1, "a" * 64)
    assert (posted["state"], posted["charged_units"]) == ("posted", [10])
    assert world.budget(root).committed == charge_of(10)


def test_a_registered_runner_pays_for_what_it_started(world: World, root: UUID) -> None:
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, GAUSSIAN, 10, who=runner)["id"])
    for units in (3, 7, 5, 7):
        started = world.reservations.start(runner, reserved, 1, 0, units)
    assert started["started_units"] == 7
    assert world.reservations.commit(runner, reserved, 1, None)["charged_units"] == [7]
    assert world.budget(root).committed == charge_of(7)


def test_a_commit_repeats_without_charging_again(world: World, root: UUID) -> None:
    reserved = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    first = world.reservations.commit(world.engineer, reserved, 1, "a" * 64)
    assert world.reservations.commit(world.engineer, reserved, 1, "a" * 64) == first
    with pytest.raises(AlreadyResolved):
        world.reservations.commit(world.engineer, reserved, 1, "b" * 64)
    assert world.budget(root).committed == charge_of(10)


def test_a_void_needs_the_sentence_and_an_untouched_reservation(world: World, root: UUID) -> None:
    touched = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    world.reservations.start(world.engineer, touched, 1, 0, 1)
    with pytest.raises(AlreadyTouched):
        world.reservations.void(world.engineer, touched, 1, SENTENCE)
    untouched = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    with pytest.raises(InvalidParameter):
        world.reservations.void(world.engineer, untouched, 1, "trust me")
    for _ in range(2):
        assert world.reservations.void(world.engineer, untouched, 1, SENTENCE)["state"] == "voided"
    assert world.budget(root).reserved == charge_of(10)


def test_a_stale_fence_moves_nothing(world: World, root: UUID) -> None:
    reserved = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    calls: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        (world.reservations.start, (2, 0, 1)),
        (world.reservations.heartbeat, (2, 900)),
        (world.reservations.commit, (2, None)),
        (world.reservations.void, (2, SENTENCE)),
    ]
    for call, arguments in calls:
        with pytest.raises(LeaseLost):
            call(world.engineer, reserved, *arguments)


def test_a_reservation_of_somebody_else_does_not_exist(world: World, root: UUID) -> None:
    reserved = UUID(world.reserve(root, GAUSSIAN, 10)["id"])
    with pytest.raises(NotFound):
        world.reservations.get(world.people["outsider"], reserved)
    with pytest.raises(NotFound):
        world.reservations.start(world.people["auditor"], reserved, 1, 0, 1)
    assert world.reservations.get(world.people["auditor"], reserved)["state"] == "reserved"


def test_of_two_processes_under_one_reservation_only_the_last_can_start_units(
    world: World, root: UUID
) -> None:
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, GAUSSIAN, 10, who=runner)["id"])
    world.reservations.start(runner, reserved, 1, 0, 4)
    resumed = world.reservations.resume(runner, reserved, 900)
    assert (resumed["fence"], resumed["started_units"]) == (2, 4)
    zombie: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        (world.reservations.start, (1, 0, 5)),
        (world.reservations.heartbeat, (1, 900)),
        (world.reservations.commit, (1, None)),
    ]
    for call, arguments in zombie:
        with pytest.raises(LeaseLost):
            call(runner, reserved, *arguments)
    world.reservations.start(runner, reserved, 2, 0, 6)
    assert world.reservations.resume(runner, reserved, 900)["fence"] == 3
    with pytest.raises(LeaseLost):
        world.reservations.start(runner, reserved, 2, 0, 7)
    assert world.reservations.commit(runner, reserved, 3, None)["charged_units"] == [6]
    assert world.budget(root).committed == charge_of(6)


def test_an_untouched_reservation_that_was_resumed_cannot_be_given_back_by_the_first(
    world: World, root: UUID
) -> None:
    runner = replace(world.engineer, is_runner=True)
    reserved = UUID(world.reserve(root, GAUSSIAN, 10, who=runner)["id"])
    world.reservations.resume(runner, reserved, 900)
    with pytest.raises(LeaseLost):
        world.reservations.void(runner, reserved, 1, SENTENCE)
    assert world.reservations.void(runner, reserved, 2, SENTENCE)["state"] == "voided"


def test_nobody_but_a_registered_runner_can_resume(world: World, root: UUID) -> None:
    runner = replace(world.engineer, is_runner=True)
    by_team = UUID(world.reserve(root, GAUSSIAN, 2)["id"])
    by_runner = UUID(world.reserve(root, GAUSSIAN, 2, who=runner)["id"])
    for caller, reserved in (
        (world.engineer, by_team),
        (runner, by_team),
        (world.engineer, by_runner),
    ):
        with pytest.raises(NotAllowed):
            world.reservations.resume(caller, reserved, 900)
        assert world.reservations.get(world.engineer, reserved)["fence"] == 1
    stranger = replace(world.people["outsider"], is_runner=True)
    with pytest.raises(NotFound):
        world.reservations.resume(stranger, by_runner, 900)


def test_what_has_ended_or_lapsed_is_not_resumed(world: World, root: UUID) -> None:
    runner = replace(world.engineer, is_runner=True)
    ended = UUID(world.reserve(root, GAUSSIAN, 2, who=runner)["id"])
    world.reservations.void(runner, ended, 1, SENTENCE)
    with pytest.raises(AlreadyResolved):
        world.reservations.resume(runner, ended, 900)
    lapsed = UUID(world.reserve(root, GAUSSIAN, 2, who=runner)["id"])
    with transaction(world.make_session) as session:
        row = session.get_one(Reservation, lapsed)
        row.lease_until = database_now(session) - timedelta(seconds=1)
    with pytest.raises(LeaseLost):
        world.reservations.resume(runner, lapsed, 900)
