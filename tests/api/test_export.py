"""The bundle over HTTP and by the command: for overseers alone, and the verifier believes it."""

import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import verifier
from app.cli import program
from app.services import signing
from app.services.checkpoints import Checkpoints
from tests.api.world import World, open_root, register, reservation_body

run = CliRunner().invoke


@pytest.mark.parametrize("who", ["auditor", "compliance_officer"])
def test_an_overseer_gets_a_bundle_that_verifies(world: World, who: str) -> None:
    dataset = register(world)
    budget = open_root(world, dataset)
    world.made("/reservations", reservation_body(dataset, budget), by="ml_engineer")
    answer = world.ask("GET", "/ledger/export", by=who)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jsonl"
    report = verifier.verify(io.BytesIO(answer.content), None)
    assert (report.fault, report.entries) == (None, 2)


@pytest.mark.parametrize("who", ["ml_engineer", "admin", "worker", None])
def test_nobody_else_gets_one(world: World, who: str | None) -> None:
    answer = world.ask("GET", "/ledger/export", by=who)
    assert answer.status_code == (401 if who is None else 403)


def test_a_misspelt_parameter_is_refused(world: World) -> None:
    assert world.ask("GET", "/ledger/export?tail=true", by="auditor").status_code == 422


def test_the_commands_write_a_bundle_and_check_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.db.session import make_engine, make_session_maker
    from tests.world import new_world

    engine = make_engine(sqlite_url)
    key_file, bundle = tmp_path / "signing.key", tmp_path / "ledger.jsonl"
    with new_world(make_session_maker(engine), tmp_path) as made:
        made.submit(made.open_root())
        signing.create(key_file)
        Checkpoints(made.make_session, tmp_path / "checkpoints", key_file).make()
        signing.write_public(key_file, signing.load(key_file).public)
    engine.dispose()
    monkeypatch.setenv("EPSILON_DATABASE_URL", sqlite_url)
    written = run(program, ["export", "--from-database", str(bundle)])
    assert written.exit_code == 0, written.output
    assert run(program, ["export", "--from-database", str(bundle)]).exit_code == 1
    key = ["--public-key", str(signing.public_path(key_file))]
    assert run(program, ["verify", str(bundle), *key]).exit_code == 0
    raw = bundle.read_bytes()
    bundle.write_bytes(raw.replace(b'"kind":"reserved"', b'"kind":"reserveb"'))
    found = run(program, ["verify", str(bundle), *key])
    assert found.exit_code == 1
    assert "does not match its hash" in found.output
    assert run(program, ["verify", str(tmp_path / "missing"), *key]).exit_code == 2
    bundle.write_bytes(raw)
    assert run(program, ["verify", str(bundle), "--public-key", str(bundle)]).exit_code == 2
