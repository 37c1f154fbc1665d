"""The application over a real database, with a house in it."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings
from tests.api.world import TestClient, World, build


@cache
def one_app() -> FastAPI:
    """The routes of a process, put together once: that takes longer than most tests."""
    return create_app(Settings())


def app_over(settings: Settings) -> FastAPI:
    """The application, to be started over another house; one at a time."""
    app = one_app()
    app.state.settings = settings
    return app


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> FastAPI:
    return app_over(Settings(database_url=database_url, home=tmp_path / "home"))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture
def world(client: TestClient, tmp_path: Path) -> World:
    folder = tmp_path / "files"
    folder.mkdir()
    return build(client, folder)


@pytest.fixture
def on_sqlite(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    """A house on SQLite alone, for what does not depend on the database."""
    folder = tmp_path / "files"
    folder.mkdir()
    settings = Settings(database_url=sqlite_url, home=tmp_path / "home")
    with TestClient(app_over(settings)) as client:
        yield build(client, folder)
