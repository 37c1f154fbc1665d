"""The effect of an approval on the wire."""

from app.api.wire import AmountAnswer, IdText, TimeText, WireAnswer


class StandingRead(WireAnswer):
    """The figures of a scope; `best_guess_per_100` is of its whole limit, if all of it is spent.

    `exhausted_at` is null where there is no pace, or none that leads to the limit in ten years.
    """

    state: str
    limit: AmountAnswer
    consumed: AmountAnswer
    remaining: AmountAnswer
    best_guess_per_100: str
    exhausted_at: TimeText | None


class ScopeEffectRead(WireAnswer):
    """One scope: the subject of the change, what is above it, or a window that stays as it is.

    `now` is null of what is not open yet; `if_approved` where nothing is foretold.
    """

    budget_id: IdText
    name: str
    kind: str
    is_subject: bool
    now: StandingRead | None
    if_approved: StandingRead | None


class EffectRead(WireAnswer):
    """What an approval would do. `is_stale`: its subject has changed, so approving is refused."""

    approval_id: IdText
    is_stale: bool
    unit: str | None
    relation: str | None
    scopes: list[ScopeEffectRead]
    basis: str
