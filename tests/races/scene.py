"""The ledger that mixed races run on: two datasets, one of them by days, with windows.

Most requests go where there is room. The rest meet at edges: of a strict allocation, of a window,
and of a few days, whose limits grow with the race, so that they are contested until its end.
"""

from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from app.db.session import database_now, transaction
from app.domain.partitions import AskedBlocks
from app.domain.privacy import Limit
from app.domain.windows import Window
from app.services.access import Caller
from app.services.budgets import BudgetRequest
from app.services.closing import VersionFacts
from app.services.datasets import Datasets
from app.services.pricing import InputRequest
from app.services.registrations import DatasetRequest
from app.services.witness import WitnessJournal
from app.services.writer import AdmissionWriter
from tests.divided import COLUMNS, DAYS, ROWS
from tests.world import World, api_key, keyed

ROOMY, DELTA, BELOW = "4000", "1e-3", "1e-4"
CLOSED_DAYS = 10
# nobody races across the end of a year, whichever day it is
YEAR = Window("year", "UTC", date(2020, 7, 1), "always")


@dataclass(frozen=True, slots=True)
class Scene:
    """Where requests go and who asks; crosses to the racing processes as JSON.

    budgets: by the names that requests use. team, normal, basic and days have room; strict,
        paced and few_days are at an edge.
    """

    people: dict[str, dict[str, Any]]
    datasets: dict[str, str]
    budgets: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def input(self, leaf: str, blocks: AskedBlocks) -> InputRequest:
        dataset = "divided" if "days" in leaf else "plain"
        return InputRequest(UUID(self.datasets[dataset]), 1, UUID(self.budgets[leaf]), blocks)

    def world(self, make_session: sessionmaker[Session], home: Path) -> World:
        """The same world in a racing process, with a writer and a journal of its own."""
        people = {
            name: Caller(
                UUID(each["id"]),
                name,
                frozenset(each["roles"]),
                name,
                each["is_runner"],
                frozenset(UUID(project) for project in each["projects"]),
            )
            for name, each in self.people.items()
        }
        plain = UUID(self.datasets["plain"])
        writer, journal = AdmissionWriter(make_session), WitnessJournal(home / "witness")
        return World(make_session, home, people, UUID(int=0), plain, writer, journal)


def stage(world: World, *, requests: int) -> Scene:
    """Open everything that a race of so many requests asks for."""
    divided = replace(world, dataset_id=_register_days(world))
    root = world.open_root("rdp-mix/1", ROOMY, DELTA)
    days_root = divided.open_root("rdp-mix/1", ROOMY, DELTA)
    # an edge is asked for about twice what it has
    edge = str(requests * Decimal("0.0004"))
    edge_of_days = str(Decimal(requests / 1500).sqrt().quantize(Decimal("0.01")))
    budgets = {
        "root": root,
        "team": world.open_allocation(root, ROOMY, accountant="rdp-mix/1", delta=BELOW),
        "normal": world.open_allocation(root, "200", accountant="gdp/1", delta=BELOW),
        "basic": world.open_allocation(root, ROOMY, accountant="basic/1", delta=BELOW),
        "strict": world.open_allocation(root, edge),
        "paced": world.open_allocation(root, ROOMY, accountant="basic/1", delta=BELOW),
        "days_root": days_root,
        "days": divided.open_allocation(days_root, ROOMY, accountant="basic/1", delta=BELOW),
        "few_days": divided.open_allocation(
            days_root, edge_of_days, accountant="rdp-mix/1", delta=BELOW
        ),
    }
    budgets["window"] = _open_window(world, budgets["team"], "rdp-mix/1", ROOMY, BELOW)
    budgets["pace"] = _open_window(world, budgets["paced"], "pure/1", edge, "0")
    budgets["days_window"] = _open_window(divided, budgets["days"], "basic/1", ROOMY, BELOW)
    people = {**world.people, "runner": replace(world.engineer, is_runner=True)}
    with transaction(world.make_session) as session:
        now = database_now(session)
        # one key each, by the name under which they race
        session.add_all(api_key(name, each.principal_id, now) for name, each in people.items())
    return Scene(
        {
            name: {
                "id": str(each.principal_id),
                "roles": sorted(each.roles),
                "is_runner": each.is_runner,
                "projects": [str(project) for project in each.project_ids],
            }
            for name, each in people.items()
        },
        {"plain": str(world.dataset_id), "divided": str(divided.dataset_id)},
        {name: str(budget_id) for name, budget_id in budgets.items()},
    )


def _register_days(world: World) -> UUID:
    (world.home / "data" / "days.csv").write_text(ROWS)
    officer = world.people["officer"]
    declaration = {
        "name": "days",
        "access": "private",
        "source": {"connection": "files", "path": "days.csv", "format": "csv"},
        "columns": [dict(column) for column in COLUMNS],
        "unit_of_privacy": {"kind": "record"},
        "relation": "add_remove",
        "nominal_size": 1000,
        "blocks": DAYS,
    }
    version = VersionFacts(CLOSED_DAYS - 1, no_line_breaks_in_texts=True)
    request = DatasetRequest(
        declaration, {}, population="some people", version=version, new_people=True
    )
    registered = Datasets(world.make_session).register(
        officer, request, keyed(officer, "datasets", "days")
    )
    if registered.get("approval_id"):
        world.decide(UUID(registered["approval_id"]), "approve")
    dataset_id = UUID(registered["id"])
    Datasets(world.make_session).grant(officer, dataset_id, world.project_id)
    return dataset_id


def _open_window(world: World, budget_id: UUID, accountant: str, epsilon: str, delta: str) -> UUID:
    officer = world.people["officer"]
    request = BudgetRequest(
        kind="window",
        dataset_id=None,
        parent_id=budget_id,
        name="a pace",
        limit=Limit(Decimal(epsilon), Decimal(delta)),
        accountant=accountant,
        delta_split=Decimal("0.9"),
        milestones=(),
        holder_project_id=None,
        expires_at=None,
        reason="a pace",
        window=YEAR,
    )
    proposed = world.budgets.create(officer, request, keyed(officer, "budgets", str(budget_id)))
    world.decide(UUID(proposed["approval_id"]), "approve")
    return UUID(proposed["id"])
