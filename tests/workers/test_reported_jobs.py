"""Jobs that real workers ran, in a report: what they released of themselves is what rules read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.db.session import make_engine, make_session_maker
from app.domain.ledger import canonical_bytes
from app.reporting.report import build, signed
from app.reporting.verification import verify_report
from app.services import export, signing
from app.services.placement import JobRequest
from app.settings import Settings
from tests.reported import gathered, signed_by
from tests.training_document import training_document
from tests.world import World, keyed, new_world
from workers.context import Context
from workers.running import run_job

COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "x", "type": "float64", "bounds": {"low": "0", "high": "1"}, "grid": "0.01"},
    {"name": "y", "type": "int64", "domain": [0, 1], "domain_source": "public"},
    {"name": "place", "type": "string", "keys": "private"},
)
QUERIES: list[dict[str, Any]] = [
    {
        "v": 1,
        "group_by": [{"col": "y", "keys": "domain"}],
        "measures": [
            {"fn": "count"},
            {"fn": "mean", "col": "x"},
            {"fn": "quantile", "col": "x", "q": "0.5"},
            {"fn": "histogram", "col": "x", "bins": 4},
        ],
        "privacy": {"epsilon": "0.5", "delta": "0"},
    },
    {
        "v": 1,
        "group_by": [{"col": "place", "keys": "private"}],
        "measures": [{"fn": "count"}, {"fn": "sum", "col": "x"}],
        "privacy": {"epsilon": "1", "delta": "1e-9"},
    },
]
PROFILE: dict[str, Any] = {
    "v": 1,
    "values": [{"col": "x"}],
    "privacy": {"epsilon": "1", "delta": "0"},
}


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    engine = make_engine(sqlite_url)
    rows = "x,y,place\n" + "".join(f"0.{n % 10},{n % 2},p{n % 3}\n" for n in range(300))
    with new_world(make_session_maker(engine), tmp_path, columns=COLUMNS, rows=rows) as made:
        yield made
    engine.dispose()


def test_jobs_of_real_workers_satisfy_what_is_about_jobs_and_their_report_is_verified(
    world: World, sqlite_url: str, tmp_path: Path
) -> None:
    checkpoints = signed_by(world, tmp_path / "keys")
    root = world.open_root("rdp-mix/1", "8", "1e-6")
    training = training_document(
        ["x"],
        "y",
        sampling={"kind": "poisson", "rate": "0.05"},
        steps=10,
        chunk_steps=10,
        audit={"canaries": 1000, "delta": "1e-5"},
    )
    asked = [*(("query", each) for each in QUERIES), ("profile", PROFILE), ("train", training)]
    context = Context(
        Settings(database_url=sqlite_url, home=world.home), world.make_session, "w", world.journal
    )
    for kind, spec in asked:
        request = JobRequest(kind, world.inputs(root), spec, "a test")
        made = world.admissions.submit(world.engineer, request, keyed(world.engineer, "jobs", kind))
        run_job(context, UUID(made["id"]))
    checkpoints.make()
    evidence = gathered(world)
    results = [each["result"] for each in evidence["jobs"]]
    assert all(result is not None for result in results), evidence["jobs"]
    (trained,) = [result for result in results if result and result["kind"] == "train"]
    assert float(trained["if_fixed_in_advance"]["delta"]) == 1e-6
    key = signing.load(checkpoints.key_file)
    report = signed(build(evidence), key.sign, key.public.sha256)
    found = {each["id"]: each for each in report["criteria"]}
    satisfied = [
        *("N226-02", "N226-13", "N226-14", "N226-15", "N226-F02", "N226-F05", "N226-F08"),
        *("N226-F12", "N226-F13", "N226-F14", "N226-F15", "PRJ-01", "PRJ-02", "PRJ-03"),
        *("PRJ-04", "PRJ-06", "PRJ-07"),
    ]
    assert {id_: found[id_]["state"] for id_ in satisfied} == dict.fromkeys(satisfied, "satisfied")
    assert found["N226-F06"]["state"] == "partly_satisfied"
    assert found["N226-F16"]["state"] == "partly_satisfied"
    widths = [each for result in results if result for each in result.get("measures", [])]
    assert widths
    assert all(each["has_half_width"] for each in widths)
    bundle = b"".join(export.lines(world.make_session))
    checked = verify_report(canonical_bytes(report), bundle, key.public.raw)
    assert checked.difference is None, checked.in_words()
