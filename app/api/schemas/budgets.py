"""Budgets, entries, approvals and the ledger's verification on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from app.api.wire import (
    NO_CONTROL,
    AmountAnswer,
    Decimals,
    DomainDocument,
    Id,
    IdText,
    LimitRequest,
    Name,
    Sha256,
    Time,
    TimeText,
    WireAnswer,
    WireRequest,
    Words,
)
from app.domain.accounting.plan_units import PLAN_ACCOUNTANT
from app.domain.accounting.plans import MOST_SLOTS, Slot, parse_slots
from app.domain.decimals import parse_decimal
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.kinds import LARGEST_COUNT
from app.domain.privacy import Limit, parse_limit
from app.domain.windows import Window, parse_window
from app.services.budgets import BudgetRequest

MILESTONES_MOST = 50


class HolderWrite(WireRequest):
    """The project that an allocation belongs to."""

    project_id: Id


class WindowWrite(WireRequest):
    """A calendar: a period that begins at local midnight of its first day and repeats."""

    period: Literal["day", "week", "month", "quarter", "year"]
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    first_day: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class SlotWrite(WireRequest):
    """One kind of job of a plan: the mechanism of one unit, and how many units may ever start."""

    name: Annotated[str, StringConstraints(pattern=NO_CONTROL, min_length=1, max_length=80)]
    mechanism: DomainDocument
    count: Annotated[int, Field(ge=1, le=LARGEST_COUNT)]


class BudgetCreate(WireRequest):
    """A lifetime root of a dataset, or an allocation or a window below another budget.

    slots: of an allocation under `plan-pld/1`, all that may ever run in it, fixed in advance.
    """

    kind: Literal["lifetime", "allocation", "window"]
    dataset_id: Id | None = None
    parent_id: Id | None = None
    name: Name
    limit: LimitRequest
    accountant: Literal["rdp-mix/1", "gdp/1", "pure/1", "basic/1", "plan-pld/1"] = "rdp-mix/1"
    delta_split: Decimals = "0.9"
    milestones: Annotated[list[Decimals], Field(max_length=MILESTONES_MOST)] = Field(
        default_factory=list
    )
    holder: HolderWrite | None = None
    expires_at: Time | None = None
    window: WindowWrite | None = None
    refresh_when: Literal["always", "new_data"] | None = None
    slots: Annotated[list[SlotWrite], Field(min_length=1, max_length=MOST_SLOTS)] | None = None
    reason: Words

    def to_request(self) -> BudgetRequest:
        """What the service takes.

        Raises:
            InvalidParameter: a field of the other kind, or a decimal out of range.
        """
        for key in FIELDS_OF_THE_OTHER[self.kind]:
            if getattr(self, key) is not None:
                raise InvalidParameter(f"/{key}", f"is not a field of a budget of kind {self.kind}")
        needed = "dataset_id" if self.kind == "lifetime" else "parent_id"
        if getattr(self, needed) is None:
            raise InvalidParameter(f"/{needed}", "is required")
        limit = parse_limit(self.limit.model_dump())
        for index, text in enumerate(self.milestones):
            _require_below(limit, text, f"/milestones/{index}")
        return BudgetRequest(
            kind=self.kind,
            dataset_id=self.dataset_id,
            parent_id=self.parent_id,
            name=self.name,
            limit=limit,
            accountant=self.accountant,
            delta_split=parse_decimal(self.delta_split, "/delta_split"),
            milestones=tuple(self.milestones),
            holder_project_id=self.holder.project_id if self.holder else None,
            expires_at=self.expires_at,
            reason=self.reason,
            window=self._window(),
            slots=self._slots(),
        )

    def _slots(self) -> tuple[Slot, ...]:
        if self.accountant == PLAN_ACCOUNTANT and self.slots is None:
            raise InvalidParameter("/slots", "is required")
        return parse_slots([slot.model_dump() for slot in self.slots]) if self.slots else ()

    def _window(self) -> Window | None:
        if self.kind != "window":
            return None
        if self.window is None:
            raise InvalidParameter("/window", "is required")
        if self.refresh_when is None:
            raise InvalidParameter("/refresh_when", "is required")
        return parse_window(self.window.model_dump(), self.refresh_when)


FIELDS_OF_THE_OTHER = {
    "lifetime": ("parent_id", "holder", "expires_at", "window", "refresh_when"),
    "allocation": ("dataset_id", "window", "refresh_when"),
    "window": ("dataset_id", "holder", "expires_at"),
}


def _require_below(limit: Limit, text: str, pointer: str) -> None:
    milestone = parse_decimal(text, pointer)
    if not 0 < milestone <= limit.epsilon:
        raise InvalidParameter(pointer, "a level above 0 and up to the limit's epsilon")


class BudgetCreated(WireAnswer):
    """A budget that is open, or `proposed`: for a second person, or a plan for a worker."""

    id: IdText
    state: str
    version: int
    approval_id: IdText | None = None
    change_sha256: str | None = None


class PeriodRead(WireAnswer):
    """The period of a window that is in force; its amounts are those shown for the window."""

    budget_id: IdText
    starts_at: TimeText
    ends_at: TimeText


class SlotRead(WireAnswer):
    """One slot of a plan: `used` is posted, `reserved` is of jobs under way."""

    name: str
    mechanism: dict[str, Any]
    count: int
    used: int
    reserved: int
    left: int


class PlanFigure(WireAnswer):
    """What a frozen plan comes to if every slot is used up; no bound for jobs outside of it."""

    epsilon: str
    delta: str
    method: str


class PlanRead(WireAnswer):
    """A plan: `composing` until a worker has composed it, then `frozen`, or `refused`."""

    state: Literal["composing", "frozen", "refused"]
    slots: list[SlotRead]
    if_fixed_in_advance: PlanFigure | None
    digest: str | None
    refusal: dict[str, Any] | None


class BudgetRead(WireAnswer):
    """A scope. committed + reserved = consumed; remaining is the largest pure charge that fits.

    Of a dataset with blocks these are the figures of the worst block, `worst_block` (R8).
    These four are null of a plan, which has slots and the figure of its whole, and no part of it.
    """

    id: IdText
    dataset_id: IdText
    parent_id: IdText | None
    kind: str
    name: str
    state: str
    version: int
    accountant: str
    holder: dict[str, Any] | None
    milestones: list[str]
    inside_milestones: dict[str, bool]
    limit: AmountAnswer
    committed: AmountAnswer | None
    reserved: AmountAnswer | None
    consumed: AmountAnswer | None
    remaining: AmountAnswer | None
    worst_block: int | None
    plan: PlanRead | None
    window: dict[str, Any] | None
    rate_limits: dict[str, int]
    period: PeriodRead | None
    entries: int
    head_hash: str
    expires_at: TimeText | None
    created_at: TimeText
    opened_at: TimeText | None


class BudgetPage(WireAnswer):
    """Budgets that the caller may read, oldest first."""

    items: list[BudgetRead]
    next: str | None


class BlockRun(WireAnswer):
    """Neighbouring blocks that hold the same; an open one shows what was spent before."""

    first: int
    last: int
    closed: bool
    consumed: AmountAnswer


class BlockPage(WireAnswer):
    """Blocks in order of their number."""

    items: list[BlockRun]
    next: str | None


class PointRead(WireAnswer):
    """What was consumed at a moment."""

    at: TimeText
    consumed: str


class MarkRead(WireAnswer):
    """A decision or a refresh on the way, and its entry in the budget's chain."""

    seq: int
    kind: str
    at: TimeText


class ForecastRead(WireAnswer):
    """When the limit is reached at the recent pace; null where there is no pace."""

    exhausted_at: TimeText | None
    basis: str


class TimelineRead(WireAnswer):
    """A budget over time; a window shows the period in force, and a plan its marks alone."""

    points: list[PointRead]
    with_reservations: str | None
    limit: AmountAnswer
    marks: list[MarkRead]
    forecast: ForecastRead


class AdvanceRead(WireAnswer):
    """The PLD figure of one piece of work by itself; it bounds no other work and admits nothing."""

    epsilon: str | None
    delta: str
    state: Literal["known", "composing, ask again", "not composable", "needs a delta above 0"]


class SpendRead(WireAnswer):
    """One charge, in the order of the chain; names are null where the caller may not read them."""

    seq: int
    at: TimeText
    kind: str
    job: IdText | None
    reservation: IdText | None
    person: IdText | None
    person_name: str | None
    purpose: str | None
    tool: str | None
    units: int
    slots: list[str]
    blocks: list[list[int]] | None
    consumed_after: AmountAnswer | None
    alone: AmountAnswer | None
    if_fixed_in_advance: AdvanceRead | None


class SpentByRead(WireAnswer):
    """Charges under one name, and what these alone would consume; it does not add up."""

    name: str
    charges: int
    alone: AmountAnswer


class SpentByPersonRead(SpentByRead):
    """The same of a person, `others` where the caller may not read whose work it was."""

    person_name: str | None


class WayOutRead(WireAnswer):
    """A lawful way on; `is_open` false where it leads nowhere. Figures are epsilons or times."""

    way: Literal["wait", "merge_queries", "frozen_plan", "let_reservations_end", "ask_for_more"]
    is_open: bool
    text: str
    figures: dict[str, Any]
    route: str | None


class TraceRead(WireAnswer):
    """How a budget was spent; a window shows the period in force, a plan its slots alone."""

    budget_id: IdText
    limit: AmountAnswer
    consumed: AmountAnswer | None
    items: list[SpendRead]
    next: str | None
    by_person: list[SpentByPersonRead]
    by_kind: list[SpentByRead]
    by_month: list[SpentByRead]
    note: str
    forecast: ForecastRead
    ways_out: list[WayOutRead]


class StatementRead(WireAnswer):
    """What is proven about a budget, under which assumptions, and its limits."""


class ApprovalRead(WireAnswer):
    """A change that waits for a second person, bound to its hash and its subject's version."""

    id: IdText
    action: str
    budget_id: IdText | None
    budget_name: str | None
    budget_version: int | None
    dataset_id: IdText | None
    dataset_name: str | None
    dataset_revision: int | None
    change: dict[str, Any]
    change_sha256: str
    state: str
    version: int
    reason: str
    requested_by: str
    requested_by_name: str | None
    requested_at: TimeText
    expires_at: TimeText
    decided_by: IdText | None
    decided_by_name: str | None
    on_behalf_of: IdText | None
    on_behalf_of_name: str | None
    decided_at: TimeText | None
    decision_reason: str | None


class ApprovalPage(WireAnswer):
    """Approvals, oldest first."""

    items: list[ApprovalRead]
    next: str | None


class DecisionCreate(WireRequest):
    """A second person's word on the exact change that was read."""

    decision: Literal["approve", "reject"]
    change_sha256: Sha256
    reason: Words
    # by a delegation in force; one's own decision without it
    on_behalf_of: Id | None = None


class DecisionRead(WireAnswer):
    """What the decision did."""

    state: str
