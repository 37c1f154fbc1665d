"""Emergencies on the wire."""

from app.api.wire import IdText, TimeText, WireAnswer, WireRequest, Words


class BreakGlassCreate(WireRequest):
    """Why everything has to stop; it stands in every chain that is frozen."""

    reason: Words


class AlarmRead(WireAnswer):
    """What an emergency has frozen."""

    id: IdText
    at: TimeText
    frozen_budget_ids: list[IdText]


class ExceptionRead(WireAnswer):
    """A root that an emergency has frozen and nobody has thawed yet."""

    alarm_id: IdText
    budget_id: IdText
    dataset_id: IdText
    dataset: str
    entry_seq: int
    at: TimeText
    by: IdText
    reason: str


class ExceptionList(WireAnswer):
    """All of them, oldest first."""

    items: list[ExceptionRead]
