"""The demo in a house of its own, played to its end."""

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from app.db.session import make_engine, make_session_maker
from app.embedded import House, running
from app.settings import Settings
from examples.demo import data, people
from examples.demo.scenario import Scenario
from examples.demo.stage import Stage

HOME = Path(".epsilon") / "demo"


@contextmanager
def played(
    stage: Stage, *, home: Path = HOME, port: int = 0
) -> Iterator[tuple[House, people.Cast, dict[str, Any]]]:
    """The house after the last act, its people, and the facts that --json prints.

    Raises:
        HouseRefused: another process keeps the house.
        ChildFailed: a program of the house ended.
    """
    began_s = time.monotonic()
    # every demo begins with an empty ledger of its own; a real one is never deleted
    shutil.rmtree(home, ignore_errors=True)
    folder = home / "data"
    folder.mkdir(parents=True)
    stage.say("Writing the demo's data and starting database, broker, worker and API …")
    data.write_flights(folder)
    data.write_digits(folder)
    with running(Settings(home=home, port=port)) as house:
        if house.admin_key is None:
            raise RuntimeError("a fresh demo found people in its database")
        engine = make_engine(house.settings.database_url)
        scenario = Scenario(folder.resolve(), make_session_maker(engine), stage, began_s)
        with closing(people.introduce(house.url, house.admin_key)) as cast:
            facts = scenario.play(cast)
        engine.dispose()
        yield house, cast, facts
