"""The operator's commands fail in one line and find what they are there to find."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, Table
from typer.testing import CliRunner

from app.cli import program
from app.db.migrate import differences
from app.db.models import Base

run = CliRunner().invoke


@pytest.fixture
def undeclared_table() -> Iterator[None]:
    """A table that the models declare and no migration makes."""
    table = Table("forgotten", Base.metadata, Column("id", Integer, primary_key=True))
    yield
    Base.metadata.remove(table)


def test_models_and_migrations_agree() -> None:
    answer = run(program, ["check-migrations"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.usefixtures("undeclared_table")
def test_a_model_without_a_migration_is_found() -> None:
    answer = run(program, ["check-migrations"])
    assert answer.exit_code == 1
    assert "forgotten" in answer.output


def test_a_misspelt_setting_ends_the_command_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPSILON_DATABSE_URL", "postgresql://me:hunter2@db/ledger")
    answer = run(program, ["migrate"])
    assert answer.exit_code == 1
    assert len(answer.output.splitlines()) == 1
    assert "EPSILON_DATABSE_URL" in answer.output
    assert "hunter2" not in answer.output


def test_migrate_brings_the_database_of_the_settings_to_the_newest_schema(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    monkeypatch.setenv("EPSILON_DATABASE_URL", url)
    assert run(program, ["migrate"]).exit_code == 0
    assert differences(url) == []


def test_the_first_administrator_is_made_once_and_the_key_stands_alone_on_the_output(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    monkeypatch.setenv("EPSILON_DATABASE_URL", sqlite_url)
    made = run(program, ["first-admin"])
    assert made.exit_code == 0
    assert len(made.stdout.split()) == 1
    again = run(program, ["first-admin"])
    assert (again.exit_code, again.stdout) == (1, "")


def test_whoever_waits_for_the_schema_learns_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EPSILON_DATABASE_URL", f"sqlite:///{tmp_path}/ledger.sqlite3")
    assert run(program, ["check-schema"]).exit_code == 1
    assert run(program, ["migrate"]).exit_code == 0
    assert run(program, ["check-schema"]).exit_code == 0


def test_a_signing_key_that_is_there_is_left_as_it_is_and_must_be_usable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "signing.key"
    monkeypatch.setenv("EPSILON_KEY_FILE", str(path))
    assert run(program, ["create-key", "--if-missing"]).exit_code == 0
    key = path.read_bytes()
    assert run(program, ["create-key", "--if-missing"]).exit_code == 0
    assert run(program, ["create-key"]).exit_code == 1
    assert path.read_bytes() == key
    path.write_text("nothing that signs")
    assert run(program, ["create-key", "--if-missing"]).exit_code == 1
