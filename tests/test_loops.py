"""The programs beside the API: they work until they are told to stop, and on their schema alone."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.db.session import SessionMaker
from app.loops import Loop, SchemaIsAnother, dispatching, run_until_told, sending
from app.settings import Settings


class Noted:
    """A loop that notes what is done with it, and has its program told to stop once it runs."""

    def __init__(self, said: list[str], name: str) -> None:
        self._said = said
        self._name = name

    def start(self) -> None:
        self._said.append(f"{self._name} starts")
        if self._name == "last":
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()

    def stop(self) -> None:
        self._said.append(f"{self._name} stops")


def test_a_program_ends_its_loops_when_it_is_told_and_gives_the_signals_back(
    sqlite_url: str, tmp_path: Path
) -> None:
    said: list[str] = []

    def loops(settings: Settings, make_session: SessionMaker) -> Sequence[Loop]:
        return (Noted(said, "first"), Noted(said, "last"))

    before = signal.getsignal(signal.SIGTERM)
    run_until_told(Settings(database_url=sqlite_url, home=tmp_path), loops)
    assert said == ["first starts", "last starts", "last stops", "first stops"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("loops", [dispatching, sending])
def test_a_program_does_nothing_with_a_schema_that_is_not_its_own(
    loops: object, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(SchemaIsAnother):
        run_until_told(settings, loops)  # type: ignore[arg-type]
