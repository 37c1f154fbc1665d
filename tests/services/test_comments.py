"""Comments are read by whoever reads the approval, added to, never edited, and decide nothing."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.db.models import AuditEvent
from app.db.session import snapshot, transaction
from app.domain.errors import InvalidParameter, NotAllowed, NotFound
from app.services import comments
from app.services.comments import Comments
from tests.world import World, keyed


def add(world: World, approval: UUID, said: str, *, who: str, key: str = "k") -> dict[str, Any]:
    caller = world.people[who]
    return Comments(world.make_session).add(
        caller, approval, said, keyed(caller, f"comments {approval}", said, key)
    )


def test_who_asked_and_officers_talk_and_the_change_stays_as_it_is(world: World) -> None:
    approval = UUID(world.propose_root()["approval_id"])
    before = world.approval(approval)
    question = add(world, approval, "for whom?", who="second_officer")
    answer = add(world, approval, "the study", who="officer")
    assert add(world, approval, "the study", who="officer") == answer
    for who in ("officer", "second_officer", "auditor"):
        assert Comments(world.make_session).list(world.people[who], approval) == [question, answer]
    after = world.approval(approval)
    assert (after.change_sha256, after.version, after.state) == (
        before.change_sha256,
        before.version,
        "pending",
    )
    world.decide(approval, "approve")
    assert add(world, approval, "noted", who="officer", key="later")["text"] == "noted"
    with snapshot(world.make_session) as session:
        events = session.scalars(
            select(AuditEvent.facts).where(AuditEvent.action == "approval.commented")
        ).all()
    assert [each["comment"] for each in events][:2] == [question["id"], answer["id"]]
    assert "for whom?" not in str(events)


def test_an_engineer_talks_of_what_he_asked_for_and_of_nothing_else(world: World) -> None:
    opening = UUID(world.propose_root()["approval_id"])
    with pytest.raises(NotFound):
        add(world, opening, "x", who="engineer")
    with pytest.raises(NotFound):
        Comments(world.make_session).list(world.engineer, opening)
    with pytest.raises(NotAllowed):
        add(world, opening, "x", who="auditor")
    with pytest.raises(NotAllowed):
        add(world, opening, "x", who="admin")


def test_a_comment_is_neither_edited_nor_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = UUID(world.propose_root()["approval_id"])
    add(world, approval, "for whom?", who="second_officer")
    for change in ("UPDATE approval_comments SET text = 'x'", "DELETE FROM approval_comments"):
        with (
            pytest.raises(DBAPIError, match="append-only"),
            transaction(world.make_session) as session,
        ):
            session.execute(text(change))
    monkeypatch.setattr(comments, "COMMENTS_MOST", 1)
    with pytest.raises(InvalidParameter):
        add(world, approval, "and when?", who="second_officer", key="two")
