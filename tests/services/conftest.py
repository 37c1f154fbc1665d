"""A fresh world on each of the two databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.divided import COLUMNS, DAYS, ROWS
from tests.world import World, new_world


@pytest.fixture
def world(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    with new_world(make_session, tmp_path) as made:
        yield made


@pytest.fixture
def days(make_session: sessionmaker[Session], tmp_path: Path) -> Iterator[World]:
    """Records by the day; ten days are closed."""
    with new_world(
        make_session, tmp_path, columns=COLUMNS, rows=ROWS, blocks=DAYS, closes_through=9
    ) as made:
        yield made
