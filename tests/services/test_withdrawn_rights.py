"""Work that was admitted while it was allowed starts nothing once it no longer is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.db.models import Job, Principal
from app.db.session import database_now, snapshot, transaction
from app.domain.accounting.prices import price
from app.domain.errors import NotAllowedAnyMore
from app.domain.mechanisms.parsing import parse_mechanism
from app.domain.privacy import Loss
from app.services import settlement
from app.services.datasets import Datasets
from app.services.failures import FAILED_AFTER_TOUCH
from app.services.projects import Projects
from app.services.settlement import Claim
from tests.services.test_settlement import STEP, claimed, post, start, submitted
from tests.world import World, keyed, new_world

PURE = {"type": "pure", "epsilon": "0.01"}
CODE = NotAllowedAnyMore.code


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    columns = (
        {"name": "x", "type": "float64", "bounds": {"low": "0", "high": "1"}},
        {"name": "y", "type": "int64", "domain": [0, 1], "domain_source": "public"},
    )
    with new_world(make_session, tmp_path, columns=columns, rows="x,y\n0.5,1\n") as made:
        yield made


@pytest.fixture
def root(world: World) -> UUID:
    return world.open_root("rdp-mix/1", "8", "1e-5")


def withdraw_grant(world: World) -> None:
    officer = world.people["officer"]
    Datasets(world.make_session).withdraw(officer, world.dataset_id, world.project_id)


def leave_project(world: World) -> None:
    projects, admin = Projects(world.make_session), world.people["admin"]
    projects.remove_member(admin, world.project_id, world.engineer.principal_id)


def lose_role(world: World) -> None:
    with transaction(world.make_session) as session:
        session.get_one(Principal, world.engineer.principal_id).roles = ["auditor"]


def be_deactivated(world: World) -> None:
    with transaction(world.make_session) as session:
        session.get_one(Principal, world.engineer.principal_id).active = False


ENDINGS = (withdraw_grant, leave_project, lose_role, be_deactivated)


def fail(world: World, held: Claim) -> Job:
    with transaction(world.make_session) as session:
        settlement.fail(session, held, CODE, now=database_now(session))
    with snapshot(world.make_session) as session:
        job = session.get_one(Job, held.job_id)
        session.expunge(job)
        return job


def charge_of(units: int) -> Loss:
    return price(parse_mechanism(STEP), "add_remove").charge(units)


@pytest.mark.parametrize("end", ENDINGS)
def test_a_queued_job_touches_nothing_once_its_owner_s_right_has_ended(
    world: World, root: UUID, end: Callable[[World], None]
) -> None:
    job_id = submitted(world, root)
    end(world)
    held = claimed(world, job_id)
    with pytest.raises(NotAllowedAnyMore) as refused:
        start(world, held, 10)
    assert refused.value.budget_id == str(root)
    job = fail(world, held)
    assert (job.state, job.failure_code) == ("failed", CODE)
    budget = world.budget(root)
    assert (budget.committed, budget.reserved) == (Loss.zero(), Loss.zero())
    assert [entry["kind"] for entry in world.bodies(root)] == ["opened", "reserved", "voided"]


@pytest.mark.parametrize("end", ENDINGS)
def test_a_running_job_stops_at_its_next_chunk_and_pays_what_it_had_started(
    world: World, root: UUID, end: Callable[[World], None]
) -> None:
    held = claimed(world, submitted(world, root))
    start(world, held, 10)
    end(world)
    start(world, held, 10)  # what is durable already may be said again
    with pytest.raises(NotAllowedAnyMore):
        start(world, held, 20)
    job = fail(world, held)
    # parameters decided it, so it is told apart from a failure that rows may have caused (R13)
    assert job.failure_code == CODE != FAILED_AFTER_TOUCH
    assert world.budget(root).committed == charge_of(10)
    assert world.verified()


def test_a_job_that_had_started_all_its_units_is_not_held_back(world: World, root: UUID) -> None:
    held = claimed(world, submitted(world, root))
    start(world, held, 40)
    withdraw_grant(world)
    post(world, held)
    assert world.budget(root).committed == charge_of(40)


def test_a_right_through_another_project_is_a_right(world: World, root: UUID) -> None:
    admin, officer = world.people["admin"], world.people["officer"]
    projects = Projects(world.make_session)
    other = UUID(projects.create(admin, "other", keyed(admin, "projects", "other"))["id"])
    projects.add_member(admin, other, world.engineer.principal_id)
    Datasets(world.make_session).grant(officer, world.dataset_id, other)
    held = claimed(world, submitted(world, root))
    withdraw_grant(world)
    start(world, held, 10)
    leave_project(world)
    start(world, held, 20)


def test_who_left_the_team_that_holds_an_allocation_charges_it_no_more(
    world: World, root: UUID
) -> None:
    """Though the dataset is still granted to another project of his."""
    admin, officer = world.people["admin"], world.people["officer"]
    projects = Projects(world.make_session)
    other = UUID(projects.create(admin, "other", keyed(admin, "projects", "other"))["id"])
    projects.add_member(admin, other, world.engineer.principal_id)
    Datasets(world.make_session).grant(officer, world.dataset_id, other)
    team = world.open_allocation(root, "4", accountant="rdp-mix/1", delta="1e-6")
    held = claimed(world, submitted(world, team))
    leave_project(world)
    with pytest.raises(NotAllowedAnyMore):
        start(world, held, 10)


@pytest.mark.parametrize("is_runner", [True, False])
def test_a_job_elsewhere_starts_no_more_units_and_still_settles(
    world: World, root: UUID, is_runner: bool
) -> None:
    caller = replace(world.engineer, is_runner=is_runner)
    reserved = UUID(world.reserve(root, PURE, 10, who=caller)["id"])
    world.reservations.start(caller, reserved, 1, 0, 4)
    withdraw_grant(world)
    with pytest.raises(NotAllowedAnyMore):
        world.reservations.start(caller, reserved, 1, 0, 5)
    posted = world.reservations.commit(caller, reserved, 1, None)
    assert posted["charged_units"] == [4 if is_runner else 10]
