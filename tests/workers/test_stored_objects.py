"""A job over an object of a store, from the admin's connection to the posted result."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.domain.errors import SourceAlreadyRegistered
from app.services.closing import VersionFacts
from app.services.connections import Connections
from app.services.datasets import Datasets
from app.services.jobs import artifact_folder
from app.services.placement import JobRequest
from app.services.registrations import DatasetRequest
from app.settings import Settings
from tests.object_store import KEYS, REGION, SECRET, Store, object_store
from tests.workers.test_blocks import DAYS
from tests.workers.test_live_sources import EXACT, UNIT, every_word
from tests.world import World, keyed, new_world
from workers.context import Context
from workers.running import run_job

COLUMNS = [{"name": "who", "type": "string"}, {"name": "cost", "type": "int64"}]
CSV = "who,cost\n" + "".join(f"u{row % 7},{row}\n" for row in range(35)) + ",1\n"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("EPSILON_SOURCE_LAKE", KEYS)
    with object_store() as served:
        yield served


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path) as made:
        yield made


def opened(world: World, store: Store, name: str = "lake", root: str = "s3://lake/clinic") -> Any:
    admin = world.people["admin"]
    place = {
        "endpoint": store.endpoint,
        "region": REGION,
        "credentials": "env:EPSILON_SOURCE_LAKE",
    }
    asked = keyed(admin, "connections", [name, root])
    return Connections(world.make_session).create(
        admin, name=name, kind="s3", root=root, store=place, keyed=asked
    )


def registered(
    world: World,
    path: str,
    *,
    sha256: str | None = None,
    connection: str = "lake",
    facts: VersionFacts | None = None,
    **changes: Any,
) -> None:
    """Register the object, and let the world ask about it."""
    officer = world.people["officer"]
    declaration = {
        "name": path,
        "access": "private",
        "source": {"connection": connection, "path": path, "format": path.rpartition(".")[2]},
        "columns": COLUMNS,
        "unit_of_privacy": UNIT,
        "relation": "add_remove",
        "nominal_size": 10,
        **changes,
    }
    facts = facts or VersionFacts(sha256=sha256, no_line_breaks_in_texts=True)
    request = DatasetRequest(declaration, {}, version=facts, new_people=True)
    asked = keyed(officer, "datasets", [path, connection])
    made = Datasets(world.make_session).register(officer, request, asked)
    assert made["state"] == "active"
    world.dataset_id = UUID(made["id"])
    Datasets(world.make_session).grant(officer, world.dataset_id, world.project_id)


def context_of(world: World) -> Context:
    settings = Settings(database_url="sqlite://", home=world.home / "worker")
    return Context(settings, world.make_session, "a worker", world.journal)


def ran(world: World, root: UUID) -> dict[str, Any]:
    job_id = UUID(world.submit(root, EXACT, reuse=False)["id"])
    run_job(context_of(world), job_id)
    return world.jobs.get(world.engineer, job_id)


def committed(world: World, root: UUID) -> str:
    spent = world.budgets.get(world.people["auditor"], root)
    return str(spent["committed"]["epsilon"])


def as_parquet(folder: Path) -> bytes:
    file, rows = folder / "made.parquet", folder / "made.csv"
    rows.write_text(CSV)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM read_csv('{rows}')) TO '{file}' (FORMAT parquet)")
    return file.read_bytes()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_worker_answers_from_an_object_and_keeps_neither_rows_nor_keys(
    world: World, store: Store, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    content = CSV.encode() if form == "csv" else as_parquet(tmp_path)
    store.objects[f"lake/clinic/visits 1.{form}"] = content
    opened(world, store)
    registered(world, f"visits 1.{form}", sha256=hashlib.sha256(content).hexdigest())
    root = world.open_root(epsilon="500")
    job_id = UUID(world.submit(root, EXACT, reuse=False)["id"])
    # left behind by an attempt that was killed
    killed = artifact_folder(world.home / "worker", job_id, 0) / "copies" / "rows"
    killed.parent.mkdir(parents=True)
    killed.write_text(CSV)
    run_job(context_of(world), job_id)
    # seven people with five rows each, of which two count
    result = world.jobs.result(world.engineer, job_id)
    assert result["rows"][0]["cells"][0]["value"] == 14
    assert [asked[0] for asked in store.asked] == ["HEAD", "GET"]
    assert list((world.home / "worker").rglob("copies")) == []
    assert world.verified()
    assert SECRET not in every_word(world.make_session)
    assert SECRET not in caplog.text


def test_an_object_that_this_worker_cannot_get_costs_nothing(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(world, store)
    registered(world, "visits.csv")
    root = world.open_root(epsilon="500")
    missing = ran(world, root)
    assert (missing["state"], missing["failure_code"]) == ("failed", "source-unavailable")
    store.objects["lake/clinic/visits.csv"] = CSV.encode()
    monkeypatch.delenv("EPSILON_SOURCE_LAKE")
    keyless = ran(world, root)
    assert (keyless["state"], keyless["failure_code"]) == ("failed", "engine-refused")
    assert committed(world, root) == "0"
    assert {asked[0] for asked in store.asked} == {"HEAD"}


def test_an_object_that_is_not_the_declared_one_gives_no_number_and_is_paid_for(
    world: World, store: Store
) -> None:
    opened(world, store)
    registered(world, "visits.csv", sha256=hashlib.sha256(CSV.encode()).hexdigest())
    store.objects["lake/clinic/visits.csv"] = CSV.encode() + b"u8,1\n"
    root = world.open_root(epsilon="500")
    changed = ran(world, root)
    assert (changed["state"], changed["failure_code"]) == ("failed", "failed-after-touch")
    assert committed(world, root) == "50"
    assert list((world.home / "worker").rglob("copies")) == []


def test_blocks_of_time_are_read_from_the_objects_of_all_their_versions(
    world: World, store: Store
) -> None:
    opened(world, store)
    store.objects["lake/clinic/first.csv"] = b"day,cost\n2020-01-01,1\n2020-01-01,1\n2020-01-03,1\n"
    store.objects["lake/clinic/later.csv"] = b"day,cost\n2020-01-02,1\n"
    columns = [{"name": "day", "type": "date"}, {"name": "cost", "type": "int64"}]
    registered(
        world,
        "first.csv",
        facts=VersionFacts(0),
        columns=columns,
        unit_of_privacy={"kind": "record"},
        blocks=DAYS,
    )
    officer, datasets = world.people["officer"], Datasets(world.make_session)
    datasets.add_version(
        officer,
        world.dataset_id,
        path="later.csv",
        format="csv",
        if_version=datasets.get(officer, world.dataset_id)["revision"],
        keyed=keyed(officer, "versions", "later"),
        stated=VersionFacts(2),
    )
    root = world.open_root(epsilon="500")
    asked = JobRequest("query", world.inputs(root, version=2), EXACT, "a test")
    job = world.admissions.submit(world.engineer, asked, keyed(world.engineer, "jobs", "all"))
    run_job(context_of(world), UUID(job["id"]))
    result = world.jobs.result(world.engineer, UUID(job["id"]))
    assert result["rows"][0]["cells"][0]["value"] == 4
    got = sorted(asked[1] for asked in store.asked if asked[0] == "GET")
    assert got == ["/lake/clinic/first.csv", "/lake/clinic/later.csv"]
    assert world.verified()


def test_an_object_has_one_ledger_through_every_door(world: World, store: Store) -> None:
    opened(world, store)
    opened(world, store, "whole", "s3://lake")
    registered(world, "visits.csv")
    with pytest.raises(SourceAlreadyRegistered):
        registered(world, "clinic/visits.csv", connection="whole")


def test_where_a_store_is_and_what_its_keys_are_called_is_for_admins(
    world: World, store: Store
) -> None:
    made = opened(world, store)
    assert made["root"] == "s3://lake/clinic"
    assert made["store"]["credentials"] == "env:EPSILON_SOURCE_LAKE"
    (shown,) = [
        each
        for each in Connections(world.make_session).list(world.people["officer"])
        if each["kind"] == "s3"
    ]
    assert not {"root", "store"} & set(shown)
