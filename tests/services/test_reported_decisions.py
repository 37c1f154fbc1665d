"""Reports tell of emergencies that are not over and of what others may read, by the chains."""

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.domain.ledger import canonical_bytes
from app.reporting.evidence import Evidence
from app.reporting.report import build, signed
from app.reporting.verification import Checked, verify_report
from app.services import export, signing
from app.services.checkpoints import Checkpoints
from tests.reported import gathered, settle, signed_by
from tests.services.test_break_glass import REASON, stop
from tests.services.test_delegations import decide_for, hand_over
from tests.services.test_publications import publish
from tests.services.test_rendered_reports import require_readable
from tests.world import World

ONLY_TRUE = "the lifetime budget is the only true figure"


@pytest.fixture
def checkpoints(world: World, tmp_path: Path) -> Checkpoints:
    return signed_by(world, tmp_path)


def checked(world: World, checkpoints: Checkpoints, evidence: Evidence) -> Checked:
    """What the check of a report says, whose evidence the key's holder has signed."""
    key = signing.load(checkpoints.key_file)
    report = canonical_bytes(signed(build(evidence), key.sign, key.public.sha256))
    return verify_report(report, b"".join(export.lines(world.make_session)), key.public.raw)


def alarms(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in report["exceptions"] if "break-glass" in each["title"]]


def test_an_emergency_stands_in_every_later_report_until_two_people_have_ended_it(
    world: World, checkpoints: Checkpoints
) -> None:
    root = world.open_root()
    checkpoints.make()
    assert alarms(build(gathered(world))) == []
    stop(world)
    stopped = checkpoints.make().checkpoint
    assert stopped is not None
    first = gathered(world)
    report = build(first)
    (alarm,) = alarms(report)
    officer = str(world.people["officer"].principal_id)
    assert (alarm["about"], alarm["state"]) == (f"budget:{root}", "open")
    assert (alarm["observed"], alarm["owner"]) == (REASON, officer)
    assert alarm["evidence"] == [f"entry:{root}:{world.budget(root).last_seq}"]
    listed = report["statements"]["officer"]["exceptions"]
    assert f"{alarm['evidence'][0]} (break-glass)" in listed
    page = require_readable(report)
    assert "An emergency (break-glass) has frozen this budget" in page
    assert checked(world, checkpoints, first).difference is None
    asked = world.change(root, "thaw")
    checkpoints.make()
    # that one officer wants to go on ends nothing
    assert len(alarms(build(gathered(world)))) == 1
    world.decide(UUID(asked["approval_id"]), "approve")
    checkpoints.make()
    after = gathered(world)
    assert alarms(build(after)) == []
    assert checked(world, checkpoints, after).difference is None
    # of the older checkpoint it is told as it was
    assert canonical_bytes(gathered(world, stopped.seq)) == canonical_bytes(first)
    world.change(root, "freeze")
    checkpoints.make()
    assert alarms(build(gathered(world))) == []


def test_a_report_after_a_publication_says_that_the_root_is_the_only_true_figure(
    world: World, checkpoints: Checkpoints
) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    job_id = world.submit(root)["id"]
    settle(world, job_id)
    before = checkpoints.make().checkpoint
    assert before is not None
    publish(world, job_id)
    checkpoints.make()
    evidence = gathered(world)
    report = build(evidence)
    place = {"budget": str(root), "seq": world.budget(root).last_seq, "job": job_id}
    (said,) = report["ledger"]["publications"]
    assert {key: said[key] for key in place} == place
    for audience in ("officer", "auditor"):
        assert ONLY_TRUE in str(report["statements"][audience]["text"])
    assert ONLY_TRUE in require_readable(report)
    assert checked(world, checkpoints, evidence).difference is None
    older = build(gathered(world, before.seq))
    assert ONLY_TRUE not in str(older)
    assert "publications" not in older["ledger"]


def test_an_emergency_or_a_publication_left_out_or_made_up_is_found(
    world: World, checkpoints: Checkpoints
) -> None:
    root = world.open_root("rdp-mix/1", "4", "1e-6")
    job_id = world.submit(root)["id"]
    settle(world, job_id)
    checkpoints.make()
    quiet = gathered(world)
    publish(world, job_id)
    stop(world)
    checkpoints.make()
    loud = gathered(world)
    for name in ("publications", "break_glass"):
        left_out = copy.deepcopy(loud)
        told = left_out["budgets"][0].pop(name)  # type: ignore[misc]
        found = checked(world, checkpoints, left_out).difference
        assert found is not None, name
        assert f"/evidence/budgets/0/{name}" in found.pointer
        made_up = copy.deepcopy(quiet)
        made_up["budgets"][0][name] = told
        found = checked(world, checkpoints, made_up).difference
        assert found is not None, name
        assert f"/evidence/budgets/0/{name}" in found.pointer


def test_a_decision_in_somebody_s_place_is_told_and_none_can_be_left_out_or_made_up(
    world: World, checkpoints: Checkpoints
) -> None:
    root = world.open_root()
    checkpoints.make()
    plain = gathered(world)
    hand_over(world)
    asked = world.change(root, "raise", epsilon=Decimal(2))
    decide_for(world, UUID(asked["approval_id"]), "third")
    checkpoints.make()
    evidence = gathered(world)
    giver = str(world.people["third"].principal_id)
    assert evidence["approvals"][1]["on_behalf_of"] == giver
    report = build(evidence)
    assert f"on behalf of {giver}" in str(report["exceptions"])
    assert giver in require_readable(report)
    assert checked(world, checkpoints, evidence).difference is None
    left_out, made_up = copy.deepcopy(evidence), copy.deepcopy(plain)
    del left_out["approvals"][1]["on_behalf_of"]
    made_up["approvals"][0]["on_behalf_of"] = giver
    for number, each in ((1, left_out), (0, made_up)):
        found = checked(world, checkpoints, each).difference
        assert found is not None
        assert found.pointer == f"/evidence/approvals/{number}/on_behalf_of"
