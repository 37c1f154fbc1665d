"""A profile is charged once as any job is; quotes read it ever after, without rows (R12, R17)."""

import builtins
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.db.session import snapshot, transaction
from app.domain.errors import (
    BudgetExceeded,
    DomainError,
    InvalidParameter,
    NominalSizeTooSmall,
    ScopeClosed,
)
from app.domain.profiles.expectation import NO_PROFILE
from app.services.admission import QuoteRequest
from app.services.datasets import Datasets
from app.services.projects import Projects
from app.settings import Settings
from tests.world import World, keyed, new_world
from workers.context import Context
from workers.running import run_job

UNIT = {"kind": "user", "column": "who", "max_groups_per_user": 4, "max_rows_per_user_group": 10}
COLUMNS: list[dict[str, Any]] = [
    {"name": "who", "type": "string"},
    {"name": "place", "type": "string", "keys": "private"},
    {"name": "cost", "type": "int64", "bounds": {"low": "0", "high": "1000"}, "grid": "1"},
]
# 400 people: each in 2 places with 3 rows, one in ten in 8 places with 6 rows
ROWS = "who,place,cost\n" + "".join(
    f"p{who},{chr(97 + place)},{(who * 7 + row) % 100}\n"
    for who in range(400)
    for place in range(8 if who % 10 == 0 else 2)
    for row in range(6 if who % 10 == 0 else 3)
)
BY_PLACE = [{"col": "place", "keys": "private"}]
PROFILE: dict[str, Any] = {
    "v": 1,
    "groupings": [{"by": BY_PLACE, "groups_most": 16, "rows_most": 16}],
    "values": [{"col": "cost"}],
    "privacy": {"epsilon": "40", "delta": "0"},
}
QUERY: dict[str, Any] = {
    "v": 1,
    "group_by": BY_PLACE,
    "measures": [{"fn": "count"}, {"fn": "sum", "col": "cost"}],
    "bounds": {"max_groups": 2, "max_rows": 4},
    "privacy": {"epsilon": "1", "delta": "1e-6"},
}


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path, columns=COLUMNS, unit=UNIT, rows=ROWS) as made:
        yield made


def quote(world: World, budget: UUID, spec: Any = None, **changes: Any) -> dict[str, Any]:
    asked = {"kind": "query", "spec": spec or QUERY, **changes}
    request = QuoteRequest(inputs=world.inputs(budget), **asked)
    return world.admissions.quote(world.engineer, request)


def profiled(world: World, budget: UUID, spec: Any = None) -> dict[str, Any]:
    """The result of a profile that ran."""
    job = world.submit(budget, spec or PROFILE, kind="profile")
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    run_job(Context(settings, world.make_session, "a worker", world.journal), UUID(str(job["id"])))
    return world.jobs.result(world.engineer, UUID(job["id"]))


def test_a_profile_is_charged_once_and_every_quote_after_it_is_free(world: World) -> None:
    root = world.open_root("rdp-mix/1", "100", "1e-5")
    before = quote(world, root)
    assert before["truncation"]["profile"] is None
    assert before["truncation"]["measures"][0]["reason"] == NO_PROFILE
    assert before["proposed"] == {
        "bounds": None,
        "reason": NO_PROFILE,
        "measures": [{"measure": "sum(cost)", "lo": None, "hi": None, "reason": NO_PROFILE}],
    }
    result = profiled(world, root)
    (grouping,) = result["groupings"]
    # noise of 0 but for one run in many: the very histogram of the 400
    assert grouping["groups"]["from"] == [1, 2, 3, 4, 6, 8, 12, 16]
    assert grouping["groups"]["units"] == pytest.approx([0, 360, 0, 0, 0, 40, 0, 0], abs=12)
    assert grouping["rows"]["units"] == pytest.approx([0, 0, 360, 0, 40, 0, 0, 0], abs=12)
    quantiles = [each["value"] for each in result["values"][0]["quantiles"]]
    assert quantiles == pytest.approx([1, 50, 98], abs=12)
    charged = world.budget(root).committed
    assert charged.maximum_atto > 39 * 10**18
    assert not world.budget(root).reserved.maximum_atto

    after = quote(world, root)
    truncation = after["truncation"]
    # 40 people lose 6 of their 8 places: 240 of 1,040 pairs; they lose 2 of 6 rows, as shares
    assert float(truncation["max_groups"]["lost_share"]) == pytest.approx(240 / 1040, abs=0.05)
    assert float(truncation["max_rows"]["lost_share"]) == pytest.approx(80 / 1320, abs=0.05)
    assert truncation["profile"]["version"] == 1
    assert set(after["proposed"]["bounds"]) == {"max_groups", "max_rows"}
    assert int(after["proposed"]["measures"][0]["hi"]) <= 120
    assert all(quote(world, root)["truncation"] == truncation for _ in range(3))
    again = world.submit(root, {**PROFILE, "privacy": {"epsilon": "40.0"}}, kind="profile")
    assert again["reused_from"] == again["id"]
    assert world.budget(root).committed == charged
    assert world.verified()


def test_the_newest_profile_is_the_one_that_is_read(world: World) -> None:
    root = world.open_root("rdp-mix/1", "400", "1e-5")
    profiled(world, root)
    assert quote(world, root)["proposed"]["measures"][0]["hi"] is not None
    profiled(world, root, {**PROFILE, "values": []})
    assert quote(world, root)["proposed"]["measures"][0]["hi"] is None


def test_a_preview_opens_no_engine_and_no_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.open_root("rdp-mix/1", "100", "1e-5")
    profiled(world, root)
    quote(world, root)  # what is read once a process, such as code, is read by now
    # the rows are gone, and whatever would look for them is told
    (world.home / "data" / "rows.csv").unlink()
    database = str(world.make_session.kw["bind"].url)

    def tripped(*asked: Any, **_: Any) -> Any:
        raise AssertionError(f"a quote opened {asked[:1]}")

    monkeypatch.setattr(duckdb, "connect", tripped)
    for place, name in ((builtins, "open"), (io, "open"), (Path, "open")):
        monkeypatch.setattr(place, name, tripped)
    found = quote(world, root)
    assert found["truncation"]["profile"] is not None, database
    assert found["plan"]["draws"]
    assert [charge["fits"] for charge in found["charges"]] == [True]
    figures = quote(world, root, PROFILE, kind="profile")
    assert len(figures["noise"]) == len(figures["parts"]) == 5
    monkeypatch.undo()


def test_a_profile_of_another_teams_budget_is_not_known_here(world: World) -> None:
    root = world.open_root("rdp-mix/1", "400", "1e-5")
    held = world.open_allocation(root, "100", accountant="rdp-mix/1", delta="1e-6")
    profiled(world, held)
    assert quote(world, root)["truncation"]["profile"] is not None
    admin = world.people["admin"]
    other = Projects(world.make_session).create(admin, "others", keyed(admin, "projects", "o"))
    theirs = UUID(other["id"])
    outsider = world.people["outsider"]
    Projects(world.make_session).add_member(admin, theirs, outsider.principal_id)
    Datasets(world.make_session).grant(world.people["officer"], world.dataset_id, theirs)
    stranger = replace(outsider, project_ids=frozenset({theirs}))
    request = QuoteRequest(inputs=world.inputs(root), kind="query", spec=QUERY)
    found = world.admissions.quote(stranger, request)
    assert found["truncation"]["profile"] is None
    # what was charged to a budget that nobody holds is known to all who may ask
    profiled(world, root)
    assert world.admissions.quote(stranger, request)["truncation"]["profile"] is not None


BAD: list[tuple[dict[str, Any], type[DomainError]]] = [
    ({"v": 3}, InvalidParameter),
    ({"groupings": [], "values": []}, InvalidParameter),
    ({"values": [{"col": "who"}]}, InvalidParameter),
    ({"sql": "SELECT 1"}, InvalidParameter),
    ({"privacy": {"epsilon": "0.5", "delta": "0"}}, NominalSizeTooSmall),
    ({"privacy": {"epsilon": "500", "delta": "0"}}, BudgetExceeded),
]


@pytest.mark.parametrize(("changes", "refusal"), BAD)
def test_a_bad_profile_is_refused_before_anything_is_charged(
    world: World, changes: dict[str, Any], refusal: type[DomainError]
) -> None:
    root = world.open_root("rdp-mix/1", "100", "1e-5")
    entries = len(world.bodies(root))
    with pytest.raises(refusal):
        world.submit(root, {**PROFILE, **changes}, kind="profile")
    assert len(world.bodies(root)) == entries
    assert not world.budget(root).reserved.maximum_atto
    with snapshot(world.make_session) as session:
        assert session.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 0


def test_a_profile_of_two_datasets_is_refused(world: World) -> None:
    root = world.open_root("rdp-mix/1", "100", "1e-5")
    inputs = world.inputs(root) * 2
    with pytest.raises(InvalidParameter) as refused:
        world.admissions.quote(world.engineer, QuoteRequest(inputs, "profile", PROFILE))
    assert refused.value.pointer == "/inputs"


def test_a_profile_that_never_started_gives_its_room_back_and_is_not_read(world: World) -> None:
    root = world.open_root("rdp-mix/1", "100", "1e-5")
    job = world.submit(root, PROFILE, kind="profile")
    world.change(root, "freeze")
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    run_job(Context(settings, world.make_session, "a worker", world.journal), UUID(job["id"]))
    found = world.jobs.get(world.engineer, UUID(job["id"]))
    assert (found["state"], found["failure_code"]) == ("failed", ScopeClosed.code)
    assert not world.budget(root).reserved.maximum_atto
    assert quote(world, root)["truncation"]["profile"] is None


def test_only_a_profile_is_kept_as_one(world: World) -> None:
    root = world.open_root("rdp-mix/1", "100", "1e-5")
    profiled(world, root)
    job = world.submit(root, QUERY)
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    run_job(Context(settings, world.make_session, "a worker", world.journal), UUID(job["id"]))
    with transaction(world.make_session) as session:
        found = session.execute(
            text(
                "SELECT jobs.kind, results.profile_of FROM jobs JOIN results"
                " ON results.job_id = jobs.id ORDER BY jobs.kind"
            )
        ).all()
    assert [(kind, of is not None) for kind, of in found] == [("profile", True), ("query", False)]
