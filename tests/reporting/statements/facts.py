"""Facts of a made-up budget, for the tests of statements."""

from app.domain.datasets import UnitOfPrivacy
from app.reporting.statements import LimitChange, StatementFacts
from app.reporting.statements.plans import PlanFacts

RECORD = UnitOfPrivacy("record")
USER = UnitOfPrivacy("user", "who", 4, 4, 4)
USER_PERIOD = UnitOfPrivacy("user_period", "who", 4, 4, 4)

FACTS = StatementFacts(
    dataset="flights",
    budget="flights, for life",
    kind="lifetime",
    accountant="rdp-mix/1",
    unit=RECORD,
    relation="add_remove",
    limit={"epsilon": "8", "delta": "1e-7"},
    consumed={"epsilon": "1.25", "delta": "1e-10"},
    committed={"epsilon": "1", "delta": "1e-10"},
    reserved={"epsilon": "0.25", "delta": "0"},
    remaining={"epsilon": "6.75", "delta": "1e-9"},
    jobs=3,
    has_training=False,
    has_outside_tools=False,
    has_outside_runners=False,
    since="2026-11-22",
    as_of="2026-12-01",
    entries=7,
    head_hash="ab" * 32,
)
RAISE = LimitChange(
    "raised",
    "2026-11-22",
    {"epsilon": "4", "delta": "1e-7"},
    {"epsilon": "8", "delta": "1e-7"},
)
LIFETIME = {"limit": FACTS.limit, "consumed": {"epsilon": "7.5", "delta": "0"}}
PLAN = PlanFacts(
    dataset="flights",
    budget="march",
    unit=RECORD,
    relation="add_remove",
    limit={"epsilon": "1", "delta": "1e-7"},
    epsilon="0.9",
    digest="cd" * 32,
    slots=(
        {
            "name": "nightly",
            "mechanism": {"type": "gaussian", "noise_multiplier": "20"},
            "count": 16,
            "used": 4,
            "reserved": 1,
            "left": 11,
        },
        {
            "name": "weekly",
            "mechanism": {"type": "gaussian", "noise_multiplier": "10"},
            "count": 5,
            "used": 0,
            "reserved": 0,
            "left": 5,
        },
    ),
    has_training=False,
    has_outside_tools=False,
    has_outside_runners=False,
    since="2026-11-22",
    as_of="2026-12-01",
    entries=9,
    head_hash="ef" * 32,
    lifetime=LIFETIME,
    lifetime_bound_delta="1e-7",
    outside_slots=("2026-11-25",),
)
