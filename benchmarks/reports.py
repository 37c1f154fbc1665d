"""How long a report takes in a warm worker: `python -m benchmarks.reports`.

The ledger is made by the service itself, outside the timing: a root and an allocation below it,
half queries that settle with a released table, half work of outside tools, several mechanisms, all
in real rows. Then a queued report is claimed, gathered, built, kept and signed, as often as asked;
a machine that others use takes its time from the wall clock, so the core's own seconds count.
Prints a table, then one line of JSON with every raw sample; exits with 1 where a must falls short.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import update

from app.db.models import ReportRow
from app.db.session import transaction
from app.services import report_building
from app.services.report_signing import sign_built
from app.services.reports import Reports
from benchmarks.stages.ledgers import database, staged
from tests.reported import settle, signed_by
from tests.servers import postgresql_server
from tests.world import World, keyed

ENTRIES: Final = 10_000
MUST_S: Final = 5.0
# a reservation is held and resolved, in two scopes
ENTRIES_A_PIECE: Final = 4
NOISES: Final = ("400", "450", "500", "600", "800")
LIMIT: Final = ("rdp-mix/1", "9000", "1e-6")


def fill(world: World, entries: int) -> None:
    """Work in an allocation until the two chains have so many entries together."""
    root = world.open_root(*LIMIT)
    team = world.open_allocation(root, "8000", accountant="rdp-mix/1", delta="1e-7")
    for number in range(entries // ENTRIES_A_PIECE):
        if number % 2:
            privacy = {"epsilon": f"0.0{1 + number % 5}", "delta": "0", "noise": "auto"}
            spec = {"v": 1, "measures": [{"fn": "count"}], "privacy": privacy}
            settle(world, world.submit(team, spec, reuse=False)["id"])
            continue
        mechanism = {"type": "gaussian", "noise_multiplier": NOISES[number // 2 % len(NOISES)]}
        made = world.reserve(team, mechanism, 1 + number % 7)
        world.reservations.commit(world.engineer, UUID(made["id"]), 1, None)


def measure(world: World, folder: Path, rounds: int) -> tuple[list[dict[str, float]], int, int]:
    """Seconds of each round, the bytes of the report, and the entries that it stands on."""
    reports = Reports(world.make_session, signed_by(world, folder))
    auditor = world.people["auditor"]
    asked = reports.ask(auditor, world.dataset_id, None, keyed(auditor, "reports", {}))
    report_id, samples, first = UUID(asked["id"]), [], b""
    for _ in range(rounds):
        with transaction(world.make_session) as session:
            session.execute(
                update(ReportRow)
                .where(ReportRow.id == report_id)
                .values(state="queued", document=None, sha256=None)
            )
        wall, cpu = time.perf_counter(), time.process_time()
        report_building.build(
            world.make_session, report_id, owner="bench", terms_file=Path(), embedded=False
        )
        built = time.perf_counter() - wall
        sign_built(world.make_session, reports.checkpoints)
        samples.append(
            {
                "built_s": built,
                "signed_s": time.perf_counter() - wall,
                "cpu_s": time.process_time() - cpu,
            }
        )
        document, _ = reports.document(auditor, report_id, "json")
        if first and document != first:
            raise SystemExit("the same head gave other bytes")
        first = document
    report: dict[str, Any] = json.loads(first)
    if report["evidence"]["ledger"]["faults"]:
        raise SystemExit("an honest ledger was found at fault")
    return samples, len(first), int(report["evidence"]["ledger"]["entries"])


def main() -> int:
    """Fill a ledger on each database and report on it; 1 where the must falls short."""
    parser = argparse.ArgumentParser(prog="reports")
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    falls_short = False
    with postgresql_server() as server:
        for kind in asked.databases:
            with (
                tempfile.TemporaryDirectory() as folder,
                database(kind, server, Path(folder)) as url,
                staged(url, Path(folder)) as world,
            ):
                fill(world, asked.entries)
                samples, size, entries = measure(world, Path(folder), asked.rounds)
            # the first round warms the worker
            best = min(each["cpu_s"] for each in samples[1:])
            falls_short |= best >= MUST_S
            found[kind] = {"samples": samples, "bytes": size, "entries": entries, "best_s": best}
            verdict = "FALLS SHORT" if best >= MUST_S else "ok"
            wall = min(each["signed_s"] for each in samples[1:])
            print(f"{kind:<12} {entries:,} entries, report of {size / 1e6:.1f} MB")
            print(f"{'':<12} first {samples[0]['cpu_s']:.2f} s of a core", end="")
            print(f", warm {best:.2f} s ({wall:.2f} s by the wall), must < {MUST_S:.0f}: {verdict}")
    document = {
        "benchmark": "reports",
        "on": {"python": platform.python_version(), "machine": platform.machine()},
        "must_s": MUST_S,
        "databases": found,
    }
    print(json.dumps(document, separators=(",", ":")))
    return int(falls_short)


if __name__ == "__main__":
    raise SystemExit(main())
