"""Plans for tests: small ones, composed in the test itself, and reservations on their slots."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from app.domain.accounting.plans import parse_slots
from app.domain.privacy import Limit
from app.services import plans
from app.services.access import Caller
from app.services.budgets import BudgetRequest
from app.services.placement import ReservationRequest
from app.services.pricing import InputRequest
from tests.world import World, keyed

COUNTS = {"type": "discrete_laplace", "scale": "20", "sensitivity_l1": "1"}
TRAINING = {"type": "gaussian", "noise_multiplier": "30"}
SLOTS: tuple[dict[str, Any], ...] = (
    {"name": "nightly", "mechanism": COUNTS, "count": 4},
    {"name": "weekly", "mechanism": TRAINING, "count": 3},
)


def plan_request(parent_id: UUID, world: World, /, **changes: Any) -> BudgetRequest:
    """An allocation under `plan-pld/1`; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "kind": "allocation",
        "dataset_id": None,
        "parent_id": parent_id,
        "name": f"plan {uuid4().hex[:6]}",
        "limit": Limit(Decimal("1"), Decimal("1e-6")),
        "accountant": "plan-pld/1",
        "delta_split": Decimal("0.9"),
        "milestones": (),
        "holder_project_id": world.project_id,
        "expires_at": None,
        "reason": "a season of releases",
        "slots": parse_slots(list(SLOTS)),
    }
    return BudgetRequest(**{**fields, **changes})


def propose_plan(world: World, parent_id: UUID, **changes: Any) -> UUID:
    """A plan that waits to be composed."""
    officer = world.people["officer"]
    request = plan_request(parent_id, world, **changes)
    made = world.budgets.create(officer, request, keyed(officer, "budgets", {"p": request.name}))
    return UUID(made["id"])


def open_plan(world: World, parent_id: UUID, **changes: Any) -> UUID:
    """A plan that a worker has composed."""
    budget_id = propose_plan(world, parent_id, **changes)
    plans.compose(world.make_session, budget_id)
    assert world.budget(budget_id).state == "open", world.budget(budget_id).plan_refusal
    return budget_id


def part(slot: str | None, units: int, mechanism: Mapping[str, Any] | None = None) -> Any:
    """A part on a slot, with its mechanism unless another one is given."""
    named = {each["name"]: each["mechanism"] for each in SLOTS}
    said = {"mechanism": dict(mechanism or named[slot or "nightly"]), "max_units": units}
    return said if slot is None else {**said, "slot": slot}


def reserve(
    world: World,
    inputs: UUID | Sequence[InputRequest],
    *parts: Any,
    who: Caller | None = None,
    lease_s: int = 900,
) -> dict[str, Any]:
    """Room for a job that runs elsewhere, in one leaf or in those of several inputs."""
    caller = who or world.engineer
    named = world.inputs(inputs) if isinstance(inputs, UUID) else tuple(inputs)
    request = ReservationRequest(named, list(parts), lease_s, "a tool 1.0")
    return world.admissions.reserve(caller, request, keyed(caller, "reservations", list(parts)))
