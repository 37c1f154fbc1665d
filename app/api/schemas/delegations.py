"""Delegations on the wire."""

from app.api.wire import Id, IdText, Time, TimeText, WireAnswer, WireRequest, Words
from app.services.delegations import DelegationRequest


class DelegationCreate(WireRequest):
    """Another officer decides on approvals in the caller's place; at once without `starts_at`."""

    delegate_id: Id
    starts_at: Time | None = None
    ends_at: Time
    reason: Words

    def to_request(self) -> DelegationRequest:
        """What the service takes."""
        return DelegationRequest(self.delegate_id, self.starts_at, self.ends_at, self.reason)


class DelegationRead(WireAnswer):
    """A delegation; `ended_at` where one of the two, or an admin, has ended it before its time."""

    id: IdText
    delegator_id: IdText
    delegator_name: str | None = None
    delegate_id: IdText
    delegate_name: str | None = None
    starts_at: TimeText
    ends_at: TimeText
    reason: str
    made_at: TimeText
    ended_at: TimeText | None
    ended_by: IdText | None
    is_in_force: bool


class DelegationPage(WireAnswer):
    """Delegations, oldest first."""

    items: list[DelegationRead]
    next: str | None
