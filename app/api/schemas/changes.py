"""Changes of budgets, opening entries, notifications and populations on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field

from app.api.wire import (
    AmountAnswer,
    Decimals,
    DomainDocument,
    Id,
    IdText,
    Sha256,
    Time,
    TimeText,
    WireAnswer,
    WireRequest,
    Words,
)
from app.domain.decimals import parse_decimal
from app.domain.errors import InvalidParameter
from app.services.changes import Action, ChangeRequest
from app.services.discrepancies import RecoveryRequest
from app.services.opening import OpeningRequest
from app.services.pricing import UNITS_MOST

RateMost = Annotated[int, Field(ge=0, le=UNITS_MOST)]
# the fields that an action takes beside its reason
FIELDS: dict[str, tuple[str, ...]] = {
    "raise": ("limit", "expires_at"),
    "lower": ("limit",),
    "freeze": (),
    "thaw": ("expires_at",),
    "close": (),
    "transfer": ("to", "epsilon"),
    "limit_rate": ("rate_limits",),
}
NEEDED: dict[str, tuple[str, ...]] = {
    "raise": ("limit",),
    "lower": ("limit",),
    "transfer": ("to", "epsilon"),
    "limit_rate": ("rate_limits",),
}


class LimitChange(WireRequest):
    """The new limit; what is absent stays as it is."""

    epsilon: Decimals | None = None
    delta: Decimals | None = None


class RateLimitsWrite(WireRequest):
    """The new limits on the rate, whole: what is absent or null is not limited."""

    jobs_per_hour: RateMost | None = None
    units_per_day: RateMost | None = None


class ChangeCreate(WireRequest):
    """A change of a budget.

    `limit` belongs to raise and lower, `to` and `epsilon` to transfer, `rate_limits` to limit_rate;
    `expires_at` says until when a change of two people may be decided.
    """

    action: Action
    reason: Words
    limit: LimitChange | None = None
    to: Id | None = None
    epsilon: Decimals | None = None
    rate_limits: RateLimitsWrite | None = None
    expires_at: Time | None = None

    def to_request(self) -> ChangeRequest:
        """What the service takes.

        Raises:
            InvalidParameter: a field that the action does not take, or one that it needs.
        """
        for key in ("limit", "to", "epsilon", "rate_limits", "expires_at"):
            if getattr(self, key) is not None and key not in FIELDS[self.action]:
                raise InvalidParameter(f"/{key}", f"is not a field of {self.action}")
        for key in NEEDED.get(self.action, ()):
            if getattr(self, key) is None:
                raise InvalidParameter(f"/{key}", "is required")
        limit = self.limit or LimitChange()
        epsilon, pointer = (
            (self.epsilon, "/epsilon")
            if self.action == "transfer"
            else (limit.epsilon, "/limit/epsilon")
        )
        return ChangeRequest(
            action=self.action,
            reason=self.reason,
            epsilon=None if epsilon is None else parse_decimal(epsilon, pointer),
            delta=None if limit.delta is None else parse_decimal(limit.delta, "/limit/delta"),
            to=self.to,
            rate_limits=None if self.rate_limits is None else self.rate_limits.model_dump(),
            expires_at=self.expires_at,
        )


class ChangeRead(WireAnswer):
    """A change that is `done`, or `pending` with the approval that a second person decides."""

    state: Literal["done", "pending"]
    budget_id: IdText
    budget_version: int
    change_sha256: str
    effect: dict[str, Any]
    approval_id: IdText | None = None
    expires_at: TimeText | None = None


class OpeningCreate(WireRequest):
    """Spend from before the service: a mechanism and its units, or an epsilon and a delta."""

    mechanism: DomainDocument | None = None
    units: Annotated[int, Field(ge=1, le=UNITS_MOST)] | None = None
    epsilon: Decimals | None = None
    delta: Decimals | None = None
    evidence_sha256: Sha256
    reason: Words
    expires_at: Time | None = None

    def to_request(self) -> OpeningRequest:
        """What the service takes; the domain reads the spend."""
        return OpeningRequest(
            reason=self.reason,
            evidence_sha256=self.evidence_sha256,
            mechanism=self.mechanism,
            units=self.units,
            epsilon=self.epsilon,
            delta=self.delta,
            expires_at=self.expires_at,
        )


class RecoveryCreate(WireRequest):
    """What a restored database has forgotten, by the digest of its evidence (R22)."""

    evidence_sha256: Sha256
    reason: Words
    expires_at: Time | None = None

    def to_request(self) -> RecoveryRequest:
        """What the service takes."""
        return RecoveryRequest(
            reason=self.reason, evidence_sha256=self.evidence_sha256, expires_at=self.expires_at
        )


class DiscrepancyRead(WireAnswer):
    """What the witness knows of a root and the database does not; settled by an approval."""

    id: IdText
    budget_id: IdText
    evidence: dict[str, Any]
    evidence_sha256: str
    found_at: TimeText
    approval_id: IdText | None


class DiscrepancyPage(WireAnswer):
    """Every discrepancy, oldest first."""

    items: list[DiscrepancyRead]
    next: str | None


class NotificationRead(WireAnswer):
    """A line in the officers' inbox."""

    id: int
    at: TimeText
    kind: str
    subject: str
    facts: dict[str, Any]
    read_by: IdText | None
    read_at: TimeText | None


class NotificationPage(WireAnswer):
    """Lines, newest first."""

    items: list[NotificationRead]
    next: str | None


class PopulationDataset(WireAnswer):
    """One dataset of a population; limit and consumed are those of its lifetime root."""

    dataset_id: IdText
    name: str
    state: str
    unit: str
    relation: str
    budget_id: IdText | None
    limit: AmountAnswer | None
    consumed: AmountAnswer | None


class PopulationSum(WireAnswer):
    """The worst-case sum over the datasets of one unit and one relation."""

    unit: str
    relation: str
    datasets: int
    limit: AmountAnswer
    consumed: AmountAnswer


class PopulationRead(WireAnswer):
    """The same people in several datasets, and what all of these may lose together."""

    name: str
    datasets: list[PopulationDataset]
    sums: list[PopulationSum]
    note: str
