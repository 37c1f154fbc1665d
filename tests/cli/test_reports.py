"""A report from a terminal is the one that the service signed, in the form that was asked for."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from app.db.models import ReportRow
from app.db.session import snapshot
from app.services import report_building, signing
from app.settings import Settings
from tests.api.conftest import app_over
from tests.api.world import TestClient, World, build, open_root, register
from tests.cli.conftest import Terminal

SignIn = Callable[[str], Terminal]


@pytest.fixture
def on_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A house with a key, one dataset and its root."""
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    signing.create(settings.key_file)
    with TestClient(app_over(settings)) as client:
        world = build(client, folder)
        world.ids["trips"] = register(world)
        open_root(world, world.ids["trips"])
        yield world


@contextmanager
def a_worker(world: World) -> Iterator[None]:
    """Builds whatever is queued, until the end of the block."""
    services = world.client.app.state.services  # type: ignore[attr-defined]
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            with snapshot(services.make_session) as session:
                ids: list[UUID] = list(
                    session.scalars(select(ReportRow.id).where(ReportRow.state == "queued"))
                )
            for report_id in ids:
                report_building.build(
                    services.make_session,
                    report_id,
                    owner="me",
                    terms_file=Path(),
                    embedded=False,
                )
            time.sleep(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_a_report_is_built_while_one_waits_and_written_in_each_form(
    on_sqlite: World, sign_in: SignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = sign_in("auditor")
    monkeypatch.chdir(tmp_path)
    with a_worker(on_sqlite):
        said = terminal.run("report", "--dataset", "trips")
    assert said.exit_code == 0, said.output
    written = (tmp_path / "trips.report.json").read_bytes()
    assert sha256(written).hexdigest() in said.output
    assert json.loads(written)["scope"]["dataset"]["name"] == "trips"
    # an equal one is ready, so nobody has to build it again
    for form, start in (("html", b"<!"), ("pdf", b"%PDF-")):
        target = tmp_path / f"a.{form}"
        found = terminal.json(
            "report", "--dataset", "trips", "--format", form, "--out", str(target)
        )
        assert found["sha256"] == sha256(written).hexdigest()
        assert target.read_bytes().lower().startswith(start.lower())


def test_who_may_not_read_reports_gets_none_and_no_file(
    on_sqlite: World, sign_in: SignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = sign_in("ml_engineer").run("report", "--dataset", "trips")
    assert said.exit_code == 4, said.output
    assert not list(tmp_path.glob("*.report.*"))
    officer = sign_in("compliance_officer")
    assert officer.run("report", "--dataset", "elsewhere").exit_code == 2
    assert officer.run("report", "--dataset", "trips", "--checkpoint", "99").exit_code == 3
    # the kept key is for the service that it was kept for
    away = officer.run("report", "--dataset", "trips", "--url", "http://127.0.0.1:9")
    assert away.exit_code == 4
