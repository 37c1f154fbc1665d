"""Risk figures and published deployments on the wire: decimal strings, rounded up."""

from typing import Any, Literal

from app.api.wire import IdText, WireAnswer


class AttackRead(WireAnswer):
    """How often a test for one unit catches it, at a share of false alarms."""

    false_alarm_percent: str
    caught_percent: str


class BeliefRead(WireAnswer):
    """What a belief can become at most."""

    before_percent: str
    after_percent: str


class ClaimRead(WireAnswer):
    """How often a claim is right that one unit was in it."""

    before_percent: str
    false_alarm_percent: str
    right_percent: str


class RebuildingRead(WireAnswer):
    """How often one of some equally likely secrets is found, and how often blindly."""

    choices: int
    blind_percent: str
    rebuilt_percent: str


class LinkedUnitsRead(WireAnswer):
    """The bound for several units that belong together."""

    units: int
    epsilon: str
    delta: str
    best_guess_per_100: str


class RiskFigures(WireAnswer):
    """What an epsilon at a delta means; "nearly always" stands for more than 99.5 out of 100.

    Odds and belief hold but for an event of at most `except_with_probability`; all else counts it.
    """

    epsilon: str
    delta: str
    odds_factor: str
    except_with_probability: str
    best_guess_per_100: str
    advantage_percent: str
    attack: list[AttackRead]
    belief: list[BeliefRead]
    claims: list[ClaimRead]
    rebuilding: list[RebuildingRead]
    linked_units: list[LinkedUnitsRead]


class RiskStep(WireAnswer):
    """The figures at one epsilon; `marks` say what it is of the budget, if anything.

    `trade_off`: the corners of the bound on attacks, which is straight between them.
    """

    marks: list[Literal["consumed", "limit", "plan"]]
    risk: RiskFigures
    trade_off: list[AttackRead]


class RiskRead(WireAnswer):
    """The risk of a budget at steps of epsilon, smallest first, all at one delta."""

    budget_id: IdText
    budget: str
    kind: str
    dataset: str
    unit: str
    relation: str
    holds_for: str
    delta: str
    steps: list[RiskStep]


class OwnFigureRead(WireAnswer):
    """Our own figure: what the lifetime has consumed, and what it protects."""

    unit: str
    relation: str
    model: str
    epsilon: str
    delta: str


class DeploymentRead(WireAnswer):
    """A published deployment, native parameter first."""

    organization: str
    product: str
    year: int
    native: dict[str, Any]
    epsilon: str | None
    delta: str | None
    converted: dict[str, str] | None
    unit_as_published: str
    relation: str
    model: str
    verification: str
    note: str | None
    sources: list[str]


class RefusedDeployment(WireAnswer):
    """A deployment that cannot stand beside our figure, and why."""

    organization: str
    product: str
    reason: str
    why: str


class DeploymentGroup(WireAnswer):
    """Published deployments of one unit, in the order of their names."""

    unit: str
    rows: list[DeploymentRead]


class ComparisonRead(WireAnswer):
    """Like with like: never ranked; `published` is for reading and stands beside nothing."""

    budget_id: IdText
    own: OwnFigureRead
    unit: str
    rows: list[DeploymentRead]
    refused: list[RefusedDeployment]
    published: list[DeploymentGroup]
    note: str
    as_of: str
    source: Any
