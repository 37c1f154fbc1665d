"""The operator's commands fail in one line and find what they are there to find."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, Table
from typer.testing import CliRunner

from app.cli import app
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
    answer = run(app, ["check-migrations"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.usefixtures("undeclared_table")
def test_a_model_without_a_migration_is_found() -> None:
    answer = run(app, ["check-migrations"])
    assert answer.exit_code == 1
    assert "forgotten" in answer.output


def test_a_misspelt_setting_ends_the_command_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPSILON_DATABSE_URL", "postgresql://me:hunter2@db/ledger")
    answer = run(app, ["migrate"])
    assert answer.exit_code == 1
    assert len(answer.output.splitlines()) == 1
    assert "EPSILON_DATABSE_URL" in answer.output
    assert "hunter2" not in answer.output


def test_migrate_brings_the_database_of_the_settings_to_the_newest_schema(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    monkeypatch.setenv("EPSILON_DATABASE_URL", url)
    assert run(app, ["migrate"]).exit_code == 0
    assert differences(url) == []
