"""Quotes, jobs and reservations on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from app.api.wire import (
    NO_CONTROL,
    AmountAnswer,
    Count,
    DomainDocument,
    Id,
    IdText,
    Sha256,
    TimeText,
    WireAnswer,
    WireRequest,
    Words,
)
from app.domain.datasets import UnitKind
from app.domain.errors import InvalidParameter
from app.domain.jobs import JobKind
from app.domain.partitions import BLOCKS_MOST, RANGES_MOST, parse_asked
from app.services.admission import QuoteRequest
from app.services.placement import JobRequest, ReservationRequest
from app.services.pricing import InputRequest

PARTS_MOST = 100
LEASE_MOST_S = 7 * 24 * 3600

Fence = Annotated[int, Field(ge=1, le=2**31 - 1)]
LeaseSeconds = Annotated[int, Field(ge=10, le=LEASE_MOST_S)]
Tool = Annotated[str, StringConstraints(pattern=r"^[ -~]+$", min_length=1, max_length=200)]
SlotName = Annotated[str, StringConstraints(pattern=NO_CONTROL, min_length=1, max_length=80)]
Units = Annotated[int, Field(ge=1, le=2**53 - 1)]
BlockNumber = Annotated[int, Field(ge=0, lt=BLOCKS_MOST)]
BlockPair = Annotated[list[BlockNumber], Field(min_length=2, max_length=2)]
BlockPairs = Annotated[list[BlockPair], Field(min_length=1, max_length=RANGES_MOST)]


class BlockRange(WireRequest):
    """Some neighbouring blocks, both ends included."""

    first: BlockNumber
    last: BlockNumber


class InputWrite(WireRequest):
    """One dataset version and the budget that is the leaf of its path.

    `blocks` of a dataset that has them: all that are closed in the version, or some of these, as
    one range or as a list of pairs `[first, last]`. Rows of other blocks are not read.
    slots: of a job of ours on a plan: the slot of each of its parts in the order in which a quote
    lists them, or one slot for all.
    """

    dataset_id: Id
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    budget_id: Id
    blocks: Literal["all"] | BlockRange | BlockPairs = "all"
    slots: Annotated[list[SlotName], Field(min_length=1, max_length=PARTS_MOST)] | None = None

    def to_request(self, pointer: str) -> InputRequest:
        """What the service takes.

        Raises:
            InvalidParameter: a range that runs backwards, a block that is named twice.
        """
        asked = self.blocks
        if isinstance(asked, BlockRange):
            asked = [[asked.first, asked.last]]
        blocks = parse_asked(asked, f"{pointer}/blocks")
        slots = tuple(self.slots or ())
        return InputRequest(self.dataset_id, self.version, self.budget_id, blocks, slots)


Inputs = Annotated[list[InputWrite], Field(min_length=1, max_length=16)]


def requests_of(inputs: Inputs) -> tuple[InputRequest, ...]:
    """The inputs of a request as the service takes them."""
    return tuple(item.to_request(f"/inputs/{index}") for index, item in enumerate(inputs))


class PartWrite(WireRequest):
    """The mechanism of one unit, and how many units may start.

    unit: what the mechanism is stated for, where that is not the unit of the dataset.
    slot: the slot of a plan that it is charged to.
    """

    mechanism: DomainDocument
    max_units: Units
    unit: UnitKind | None = None
    slot: SlotName | None = None

    def to_document(self) -> dict[str, Any]:
        """The part as the domain reads it."""
        return {key: value for key, value in self.model_dump().items() if value is not None}


Parts = Annotated[list[PartWrite], Field(min_length=1, max_length=PARTS_MOST)]


class _WithParts(WireRequest):
    """Parts, or one mechanism with its units."""

    inputs: Inputs
    parts: Parts | None = None
    mechanism: DomainDocument | None = None
    max_units: Units | None = None
    unit: UnitKind | None = None
    slot: SlotName | None = None

    def parts_asked(self) -> list[dict[str, Any]] | None:
        """The parts as the domain reads them; None where neither form was sent.

        Raises:
            InvalidParameter: both forms, or half of the short one.
        """
        if (self.mechanism is None) != (self.max_units is None):
            missing = "mechanism" if self.mechanism is None else "max_units"
            raise InvalidParameter(f"/{missing}", "mechanism and max_units come together")
        said = {"unit": self.unit, "slot": self.slot}
        said = {key: value for key, value in said.items() if value is not None}
        if self.mechanism is not None:
            if self.parts is not None:
                raise InvalidParameter("/parts", "either parts, or mechanism with max_units")
            return [{"mechanism": self.mechanism, "max_units": self.max_units, **said}]
        for key in said:
            raise InvalidParameter(f"/{key}", "stands in each of the parts, or beside a mechanism")
        if self.parts is None:
            return None
        return [part.to_document() for part in self.parts]


def _kind_of(spec: DomainDocument) -> JobKind:
    """The kind of a spec that says so itself: by keys that no other kind has."""
    if "algorithm" in spec:
        return "train"
    return "profile" if "groupings" in spec or "values" in spec else "query"


class QuoteCreate(_WithParts):
    """A job of ours (spec, kind where it is not plain) or the parts of one that runs elsewhere."""

    kind: JobKind | None = None
    spec: DomainDocument | None = None
    reuse: bool | None = None

    def to_request(self) -> QuoteRequest:
        """What the service takes.

        Raises:
            InvalidParameter: neither or both of a spec and parts, or a kind without a spec.
        """
        parts = self.parts_asked()
        if (parts is None) == (self.spec is None):
            raise InvalidParameter("/spec", "either a spec, or parts")
        kind = self.kind
        if self.spec is None and kind is not None:
            raise InvalidParameter("/kind", "goes with a spec")
        if self.spec is not None and kind is None:
            kind = _kind_of(self.spec)
        inputs = requests_of(self.inputs)
        return QuoteRequest(inputs=inputs, kind=kind, spec=self.spec, parts=parts, reuse=self.reuse)


class TruncationRead(WireAnswer):
    """What caps and bounds are expected to cut off a query, by a released profile.

    Shares are decimal strings, null with a `reason` where no profile tells them.
    """

    profile: dict[str, Any] | None
    max_groups: dict[str, str | None]
    max_rows: dict[str, str | None]
    measures: list[dict[str, Any]]
    notes: list[str]


class ProposedRead(WireAnswer):
    """The caps and bounds with the least expected truncation and noise together."""

    bounds: dict[str, int] | None
    reason: str | None
    measures: list[dict[str, str | None]]


class QuoteRead(WireAnswer):
    """What would be charged where, what remains, and the largest request that would pass.

    Of a query also a preview: `plan` with every draw of noise, `predicted` with the 95% half-width
    of every measure, `group_size_shown` where keys are private, and, by the newest profile that
    the caller may know of, `truncation` and `proposed`.

    reused_from: the settled job that would answer this request at no charge; all else is said of a
    fresh release.
    """

    charges: list[dict[str, Any]]
    reused_from: IdText | None
    plan: dict[str, Any] | None = None
    predicted: list[dict[str, Any]] | None = None
    group_size_shown: dict[str, int] | None = None
    truncation: TruncationRead | None = None
    proposed: ProposedRead | None = None


class JobSubmit(WireRequest):
    """A job that our workers run.

    kind: a `query`; a `train`; or a `profile`, which is charged once and read by every quote of a
    query after it.
    reuse: a query or a profile is answered by what an equal one has released, at no charge, where
    the caller may read that; `false` draws fresh noise and is charged. So is, where nothing is
    said, what asks a live table, whose rows may have changed; `true` takes the older answer.
    """

    kind: JobKind
    inputs: Inputs
    spec: DomainDocument
    purpose: Words
    reuse: bool | None = None

    def to_request(self) -> JobRequest:
        """What the service takes."""
        return JobRequest(
            kind=self.kind,
            inputs=requests_of(self.inputs),
            spec=self.spec,
            purpose=self.purpose,
            reuse=self.reuse,
        )


class ChargeRead(WireAnswer):
    """What is asked of one scope that the caller may read: of a plan, units of its slots."""

    budget_id: IdText
    asked: AmountAnswer | None
    units: dict[str, int] | None = None


class JobAdmitted(WireAnswer):
    """An admitted job: its worst-case loss is reserved.

    reused_from: the settled job that answers this request; its result is there and nothing is
    charged. None where the job is new.
    """

    id: IdText
    state: str
    reservation_id: IdText
    max_units: int
    charges: list[ChargeRead]
    reused_from: IdText | None = None


class JobEntryRead(WireAnswer):
    """One entry of a job in one scope's chain: what was held, charged or given back.

    alone: what its charge would consume of the budget if it were the only one; null of a plan.
    at_delta: the delta at which that epsilon is proven: the budget's, not that of the job alone.
    """

    budget_id: IdText
    budget_name: str
    budget_kind: str
    seq: int
    kind: str
    at: TimeText
    units: int
    alone: AmountAnswer | None
    at_delta: str | None


class JobRead(WireAnswer):
    """A job as its owner sees it.

    audit_verdict: of a settled training with canaries: `consistent`, `refuted` or `not covered`.
    charge: its newest entry in the budget of its first input, what is held, charged or given back
        there; null where the caller may not read that budget.
    """

    id: IdText
    requested_by: IdText
    requested_by_name: str
    kind: str
    state: str
    purpose: str
    spec: dict[str, Any]
    inputs: list[dict[str, Any]]
    public_versions: dict[str, int]
    reservation_id: IdText
    max_units: int
    started_units: int
    cancel_requested: bool
    failure_code: str | None
    audit_verdict: str | None
    charge: JobEntryRead | None
    created_at: TimeText
    finished_at: TimeText | None


class JobCharges(WireAnswer):
    """The entries of a job, scope by scope, of the scopes that the caller may read."""

    items: list[JobEntryRead]


class JobPage(WireAnswer):
    """Jobs, newest first."""

    items: list[JobRead]
    next: str | None


class JobEvent(WireAnswer):
    """What the stream sends: `progress` with its fields, `state` when it changed, `ended` last."""


class ResultRead(WireAnswer):
    """What a job released, and the files that belong to it."""

    artifacts: list[dict[str, Any]]


class ReservationCreate(_WithParts):
    """Room for a job that runs elsewhere. Charged in full unless a runner reports its starts."""

    lease_s: LeaseSeconds
    tool: Tool

    def to_request(self) -> ReservationRequest:
        """What the service takes.

        Raises:
            InvalidParameter: no parts.
        """
        parts = self.parts_asked()
        if parts is None:
            raise InvalidParameter("/mechanism", "is required, or parts")
        inputs = requests_of(self.inputs)
        return ReservationRequest(inputs=inputs, parts=parts, lease_s=self.lease_s, tool=self.tool)


class ReservationCreated(WireAnswer):
    """An admitted reservation and the fence that its holder shows."""

    id: IdText
    state: str
    fence: int
    started_units: int
    lease_until: TimeText


class ReservationRead(WireAnswer):
    """A reservation; `started_units` is the sum over its parts."""

    id: IdText
    state: str
    fence: int
    started_units: int
    parts: list[dict[str, Any]]
    lease_until: TimeText | None
    charged_units: list[int] | None = None


class StartCreate(WireRequest):
    """Cumulative started units of one part; lower or equal changes nothing."""

    fence: Fence
    part: Annotated[int, Field(ge=0, lt=PARTS_MOST)] = 0
    started_units: Count


class HeartbeatCreate(WireRequest):
    """A longer lease."""

    fence: Fence
    lease_s: LeaseSeconds


class ResumeCreate(WireRequest):
    """A lease for the process that goes on; the answer has its fence."""

    lease_s: LeaseSeconds


class CommitCreate(WireRequest):
    """The end of an outside job; the digest names its output without sending it."""

    fence: Fence
    output_sha256: Sha256 | None = None


class VoidCreate(WireRequest):
    """Nothing was started. `statement` is the sentence: no private row was read."""

    fence: Fence
    statement: Annotated[str, StringConstraints(min_length=1, max_length=200)]
