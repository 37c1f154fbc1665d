"""Attacks on the examination of installed models: what mixes rows, hides weights or remembers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.migrate import upgrade
from app.db.session import make_engine, make_session_maker, snapshot
from app.services.models import Installed, installed_models, read_installed, verdict_on
from tests.installing import NETWORKS, PACKAGE, install, reached
from workers.examining import examine, examine_beside


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    install(tmp_path)
    with reached(tmp_path):
        yield read_installed()


@pytest.mark.parametrize(
    ("name", "module", "problem"),
    [
        ("tried_batch_norm", "norm", "BatchNorm"),
        ("tried_batch_mean", "first", "rows of a batch meet"),
        ("tried_uncovered", "", "no rule"),
        ("tried_memory", "seen", "keeps something of the rows"),
        ("tried_liar", "", "description says"),
    ],
)
def test_a_model_that_cannot_be_trained_privately_is_refused_with_its_remedy(
    installed: Installed, name: str, module: str, problem: str
) -> None:
    found = examine(installed.entries[name])
    assert not found.accepted
    assert module in found.module
    assert problem in found.problem
    assert found.remedy


def test_a_model_whose_rows_stay_apart_is_accepted(installed: Installed) -> None:
    assert examine(installed.entries["tried_good"]).accepted


def test_the_command_names_each_model_and_keeps_what_it_found(tmp_path: Path) -> None:
    install(tmp_path / "packages")
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    upgrade(url)
    done = subprocess.run(
        [sys.executable, "-m", "workers.examining", "--record"],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{tmp_path / 'packages'}:{Path.cwd()}",
            "EPSILON_DATABASE_URL": url,
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(lines) == set(NETWORKS)
    assert lines["tried_good"] == "accepted"
    assert "use nn.GroupNorm" in lines["tried_batch_norm"]
    engine = make_engine(url)
    with reached(tmp_path / "packages"):
        entries = read_installed().entries
    with snapshot(make_session_maker(engine)) as session:
        verdicts = {name: verdict_on(session, each.digest) for name, each in entries.items()}
    engine.dispose()
    assert {name for name, each in verdicts.items() if each.accepted} == {"tried_good"}


def test_a_worker_that_starts_keeps_its_verdicts_and_loads_no_torch_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "packages", ("tried_good", "tried_batch_mean"))
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    upgrade(url)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'packages'}:{Path.cwd()}")
    monkeypatch.setenv("EPSILON_DATABASE_URL", url)
    with reached(tmp_path / "packages"):
        installed_models.cache_clear()
        waiting = examine_beside()
        assert waiting is not None
        waiting.join()
        entries = installed_models().entries
    installed_models.cache_clear()
    engine = make_engine(url)
    with snapshot(make_session_maker(engine)) as session:
        accepted = [n for n, each in entries.items() if verdict_on(session, each.digest).accepted]
    engine.dispose()
    assert accepted == ["tried_good"]
    assert f"{PACKAGE}.networks" not in sys.modules


def test_a_worker_without_installed_models_starts_nothing() -> None:
    installed_models.cache_clear()
    assert examine_beside() is None
