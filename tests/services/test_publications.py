"""What is published is read by others, for good; nothing else of the job is, at no charge."""

import io
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError

from app import verifier
from app.db.models import AuditEvent, Entry, Publication
from app.db.session import database_now, snapshot, transaction
from app.domain.errors import InvalidParameter, NotAllowed, NotFound, ResultNotReady
from app.services import export, signing
from app.services.access import Caller
from app.services.projects import Projects
from app.services.publications import PublicationRequest, Publications
from app.services.statements import statement
from app.services.timeline import timeline
from tests.planned import open_plan
from tests.reported import signed_by
from tests.services.test_releases import ask, settle
from tests.tampering import Bundle
from tests.unfenced import unfence
from tests.world import World, keyed

REASON = "the study is done"


def publish(
    world: World,
    job_id: str,
    *projects: UUID,
    who: str = "officer",
    key: str = "publish",
) -> dict[str, Any]:
    caller = world.people[who]
    request = PublicationRequest(REASON, projects or None)
    body = [str(each) for each in projects]
    return Publications(world.make_session).publish(
        caller, UUID(job_id), request, keyed(caller, f"publish {job_id}", body, key)
    )


def outsider(world: World, *projects: UUID) -> Caller:
    """An engineer of no project of the job."""
    mine = frozenset(projects)
    return Caller(uuid4(), "outsider", frozenset({"ml_engineer"}), "key", False, mine)


def released(world: World) -> tuple[UUID, str]:
    root = world.open_root("pure/1", "4")
    job = ask(world, world.inputs(root))
    settle(world, job)
    return root, str(job["id"])


def test_only_what_was_published_is_read_and_only_the_result_of_it(world: World) -> None:
    root, job_id = released(world)
    other = ask(world, world.inputs(root), purpose="another", reuse=False, key="another")
    settle(world, other)
    who = outsider(world)
    with pytest.raises(NotFound):
        world.jobs.result(who, UUID(job_id))
    before = world.budget(root).committed
    assert publish(world, job_id)["project_ids"] is None
    mine = world.jobs.result(world.engineer, UUID(job_id))
    assert world.jobs.result(who, UUID(job_id)) == mine
    for hidden in (world.jobs.get, world.jobs.cancel):
        with pytest.raises(NotFound):
            hidden(who, UUID(job_id))
    with pytest.raises(NotFound):
        world.jobs.progress_after(who, UUID(job_id), 0)
    with pytest.raises(NotFound):
        world.jobs.result(who, UUID(other["id"]))
    for role in ("admin", "worker"):
        with pytest.raises(NotFound):
            world.jobs.result(
                Caller(uuid4(), role, frozenset({role}), "k", False, frozenset()), UUID(job_id)
            )
    assert world.budget(root).committed == before


def test_a_publication_to_projects_is_for_their_members_alone(world: World) -> None:
    _, job_id = released(world)
    admin = world.people["admin"]
    made = Projects(world.make_session).create(admin, "b", keyed(admin, "projects", "b", "b"))
    project = UUID(made["id"])
    assert publish(world, job_id, project)["project_ids"] == [str(project)]
    assert world.jobs.result(outsider(world, project), UUID(job_id))
    for who in (outsider(world), outsider(world, uuid4())):
        with pytest.raises(NotFound):
            world.jobs.result(who, UUID(job_id))


def test_it_is_published_once_with_an_event_and_never_changed(world: World) -> None:
    _, job_id = released(world)
    first = publish(world, job_id)
    assert publish(world, job_id) == first
    assert publish(world, job_id, who="second_officer") == first
    with snapshot(world.make_session) as session:
        events = session.execute(
            select(AuditEvent.subject, AuditEvent.actor_id).where(
                AuditEvent.action == "job.published"
            )
        ).all()
    assert [tuple(each) for each in events] == [(job_id, world.people["officer"].principal_id)]
    admin = world.people["admin"]
    made = Projects(world.make_session).create(admin, "b", keyed(admin, "projects", "b", "b"))
    with pytest.raises(InvalidParameter):
        publish(world, job_id, UUID(made["id"]), key="narrower")
    for change in ("UPDATE publications SET reason = 'x'", "DELETE FROM publications"):
        with (
            pytest.raises(DBAPIError, match="append-only"),
            transaction(world.make_session) as session,
        ):
            session.execute(text(change))


def test_nothing_is_published_that_was_not_released_nor_by_anybody_else(world: World) -> None:
    root = world.open_root("pure/1", "4")
    queued = str(ask(world, world.inputs(root))["id"])
    with pytest.raises(ResultNotReady):
        publish(world, queued)
    for who in ("engineer", "auditor", "admin"):
        with pytest.raises(NotAllowed):
            publish(world, queued, who=who)
    with pytest.raises(NotFound):
        publish(world, str(uuid4()))
    settle(world, {"id": queued})
    with pytest.raises(NotFound):
        publish(world, queued, uuid4(), key="no project")
    project = uuid4()
    with pytest.raises(InvalidParameter):
        publish(world, queued, project, project, key="twice")


@pytest.mark.parametrize("audience", ["officer", "auditor"])
def test_from_then_on_statements_say_that_the_root_is_the_only_true_figure(
    world: World, audience: str
) -> None:
    root, job_id = released(world)
    below = world.open_allocation(root, "1")
    auditor = world.people["auditor"]

    def said(budget: UUID) -> bool:
        document = statement(world.make_session, auditor, budget, audience)
        return "the lifetime budget is the only true figure" in str(document)

    assert not said(root)
    assert not said(below)
    publish(world, job_id)
    assert said(root)
    assert said(below)


def test_it_stands_in_the_chain_of_the_root_that_paid_at_no_charge_and_names_no_project(
    world: World,
) -> None:
    root, job_id = released(world)
    share = world.open_allocation(root, "1")
    before = world.budget(root)
    admin = world.people["admin"]
    made = Projects(world.make_session).create(admin, "b", keyed(admin, "projects", "b", "b"))
    for key in ("once", "twice"):
        publish(world, job_id, UUID(made["id"]), key=key)
    said = [body for body in world.bodies(root) if body["kind"] == "published"]
    officer = str(world.people["officer"].principal_id)
    assert [(body["actor"], body["job"], body["parts"]) for body in said] == [(officer, None, [])]
    assert said[0]["facts"] == {
        "job": job_id,
        "audience": "projects",
        "decided_by": officer,
        "reason": REASON,
    }
    assert made["id"] not in str(said)
    assert (world.budget(root).committed, world.budget(root).version) == (
        before.committed,
        before.version,
    )
    assert {body["kind"] for body in world.bodies(share)} == {"opened"}
    assert world.verified()
    marks = timeline(world.make_session, world.people["officer"], root)["marks"]
    assert [each["kind"] for each in marks][-1] == "published"


def test_one_from_before_it_stood_in_the_chains_is_written_there_by_its_repetition(
    world: World,
) -> None:
    root, job_id = released(world)
    with transaction(world.make_session) as session:
        session.add(
            Publication(
                job_id=UUID(job_id),
                project_ids=None,
                reason=REASON,
                published_by=world.people["officer"].principal_id,
                published_at=database_now(session),
            )
        )
    assert world.verified()
    first = publish(world, job_id, who="second_officer")
    assert first["published_by"] == str(world.people["officer"].principal_id)
    assert world.bodies(root)[-1]["kind"] == "published"
    assert world.bodies(root)[-1]["actor"] == first["published_by"]
    assert world.verified()


def test_a_publication_taken_out_of_the_chain_or_changed_in_it_is_found(
    world: World, tmp_path: Path
) -> None:
    root, job_id = released(world)
    publish(world, job_id)
    world.reserve(root, {"type": "pure", "epsilon": "0.01"}, 1)
    checkpoints = signed_by(world, tmp_path)
    checkpoints.make()
    key = signing.load(checkpoints.key_file).public.raw
    honest = b"".join(export.lines(world.make_session))
    assert verifier.verify(io.BytesIO(honest), key).fault is None
    for level in ("as it is", "hashed", "rooted", "foreign"):
        for is_removed in (True, False):
            bundle = Bundle.read(honest)
            chain = bundle.chains[str(root)]
            place = next(i for i, body in enumerate(chain) if body["kind"] == "published")
            if is_removed:
                del chain[place]
            else:
                chain[place]["facts"]["audience"] = "projects"
            fault = verifier.verify(io.BytesIO(bundle.write(level)), key).fault
            assert fault is not None, (level, is_removed)
    with transaction(world.make_session) as session:
        unfence(session, "entries")
        session.execute(delete(Entry).where(Entry.kind == "published"))
    assert not world.verified()


def test_the_statement_of_a_plan_says_it_too(world: World) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    job = ask(world, world.inputs(root))
    settle(world, job)
    plan = open_plan(world, root)
    officer = world.people["officer"]
    words = "the lifetime budget is the only true figure"
    assert words not in str(statement(world.make_session, officer, plan, "officer"))
    publish(world, str(job["id"]))
    assert words in str(statement(world.make_session, officer, plan, "officer"))
