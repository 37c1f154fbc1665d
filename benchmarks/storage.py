"""How much a ledger's database grows with each piece of work: `python -m benchmarks.storage`.

The service itself makes the pieces, each reserved, started and posted, in paths of one to three
scopes; everything that they leave counts: entries, reservations, answers under keys, the trail.
Nothing is timed, so another load on the machine changes nothing. Prints a table, then one line of
JSON; there is no must.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, text

from app.services import export
from benchmarks.stages.ledgers import LIMIT, MECHANISM, database, staged
from tests.reported import settle, signed_by
from tests.servers import postgresql_server
from tests.world import World

PIECES: Final = 1_000
DEPTHS: Final = (1, 2, 3)
WARM_UP: Final = 50


def size_of(engine: Engine) -> int:
    """Bytes of the database; without what a vacuum would give back."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.execution_options(isolation_level="AUTOCOMMIT")
            raw: Any = connection.connection.driver_connection
            connection.rollback()
            raw.execute("VACUUM")
            (pages,), (page,) = (
                raw.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
            )
            return int(pages) * int(page)
    plain = engine.execution_options(isolation_level="AUTOCOMMIT")
    with plain.connect() as connection:
        connection.execute(text("VACUUM FULL"))
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def do_outside(world: World, leaf: UUID, number: int) -> None:
    """Work of an outside tool: reserved, and committed whole."""
    made = world.reserve(leaf, MECHANISM, 1, key=f"outside {number}")
    world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)


def do_query(world: World, leaf: UUID, number: int) -> None:
    """A query of one measure, with its result."""
    spec = {
        "v": 1,
        "measures": [{"fn": "count"}],
        "privacy": {"epsilon": "0.001", "delta": "0", "noise": "auto"},
    }
    settle(world, world.submit(leaf, spec, key=f"query {number}", reuse=False)["id"])


KINDS: Final = {"outside": do_outside, "query": do_query}


def measure(world: World, folder: Path, depth: int, pieces: int) -> dict[str, Any]:
    """Bytes for each piece of each kind in a path so deep, and of the bundle for each entry."""
    leaf = world.open_root(*LIMIT)
    for level in range(depth - 1):
        leaf = world.open_allocation(leaf, str(8000 - level), accountant="rdp-mix/1", delta="1e-7")
    engine: Engine = world.make_session.kw["bind"]
    found: dict[str, Any] = {"depth": depth}
    for kind, do in KINDS.items():
        for number in range(WARM_UP):
            do(world, leaf, -number - 1)
        before = size_of(engine)
        for number in range(pieces):
            do(world, leaf, number)
        found[kind] = round((size_of(engine) - before) / pieces)
    signed_by(world, folder).make()
    lines = list(export.lines(world.make_session))
    entries = sum(line.startswith(b'{"entry"') for line in lines)
    found |= {"entries": entries, "bundle": round(sum(map(len, lines)) / entries)}
    return found


def main() -> int:
    """Each database and depth in turn, on a ledger of its own."""
    parser = argparse.ArgumentParser(prog="storage")
    parser.add_argument("--pieces", type=int, default=PIECES)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    asked = parser.parse_args()
    rows = []
    print(f"{'database':<12}{'scopes':>7}{'outside':>10}{'query':>10}{'bundle':>10}   bytes")
    with postgresql_server() as server:
        for kind in asked.databases:
            for depth in DEPTHS:
                with (
                    tempfile.TemporaryDirectory() as folder,
                    database(kind, server, Path(folder)) as url,
                    staged(url, Path(folder)) as world,
                ):
                    found = measure(world, Path(folder), depth, asked.pieces)
                rows.append({"database": kind, **found})
                print(
                    f"{kind:<12}{depth:>7}{found['outside']:>10,}{found['query']:>10,}"
                    f"{found['bundle']:>10,}   a piece, and an entry of the bundle",
                    flush=True,
                )
    print(json.dumps({"benchmark": "storage", "pieces": asked.pieces, "rows": rows}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
