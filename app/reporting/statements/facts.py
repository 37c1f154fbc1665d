"""What the statements stand on: public facts of one budget, gathered by a service or a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.domain.datasets import UnitOfPrivacy
from app.domain.partitions import Blocks, TimeBlocks

WINDOWS: Final = ("window", "period")


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit that was moved: `raised`, `lowered` or `transferred`, on a date, from and to."""

    kind: str
    date: str
    old: Mapping[str, str]
    new: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Description:
    """What the dataset's owner says of it; binds nothing and may be missing.

    raw_viewers: who can see the rows, as the owner names them.
    """

    purpose: str | None = None
    trust_model: str | None = None
    raw_viewers: Sequence[str] = ()
    retain_until: str | None = None


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """Public facts of one budget; amounts are decimal strings, already rounded against us.

    Of a plan there are no balances and no filter: see `PlanFacts`.

    kind: lifetime, allocation, window or period.
    unit: what is protected; `blocks` the public partition of the units, where there is one: the
        figures are then those of the worst block (R8).
    consumed: the proven bound after the fact; holds at `bound_delta`, which is the limit's delta
        unless the deltas of a balance sum to more.
    limit_changes: oldest first; the bound is claimed at the limit in force at the end (R5).
    openings: the dates on which spend from before the service was put on record.
    span: of a window's period, from when until when units may start in it; `period` its length.
    lifetime: of any scope below a root: the root's `limit` and `consumed` amounts.
    lifetime_bound_delta: as `bound_delta`, of that root; `lifetime_changes` how its limit moved.
    published_from: since when results of the dataset are published, if any are.
    since, as_of: dates; no clock is read here.
    entries, head_hash: where the chain of this budget stands.
    assumptions: more of them, from what was charged.
    """

    dataset: str
    budget: str
    kind: str
    accountant: str
    unit: UnitOfPrivacy
    relation: str
    limit: Mapping[str, str]
    consumed: Mapping[str, str]
    committed: Mapping[str, str]
    reserved: Mapping[str, str]
    remaining: Mapping[str, str]
    jobs: int
    has_training: bool
    has_outside_tools: bool
    has_outside_runners: bool
    since: str
    as_of: str
    entries: int
    head_hash: str
    bound_delta: str | None = None
    limit_changes: Sequence[LimitChange] = ()
    openings: Sequence[str] = ()
    span: tuple[str, str] | None = None
    period: str | None = None
    lifetime: Mapping[str, Mapping[str, str]] | None = None
    lifetime_bound_delta: str | None = None
    lifetime_changes: Sequence[LimitChange] = ()
    assumptions: Sequence[str] = ()
    blocks: Blocks | None = None
    published_from: str | None = None
    description: Description = field(default_factory=Description)

    @property
    def is_root(self) -> bool:
        """Whether this is the lifetime budget itself."""
        return self.lifetime is None

    @property
    def proven_delta(self) -> str:
        """The delta at which `consumed` is proven."""
        return self.bound_delta or self.limit["delta"]


def unit_text(unit: UnitOfPrivacy, blocks: Blocks | None) -> str:
    """The unit in full, as officers and auditors read it."""
    if unit.kind == "record":
        return "record"
    whose, caps = f"all rows of one {unit.column}", "up to the enforced caps"
    if unit.kind == "user_period" and isinstance(blocks, TimeBlocks):
        return f"user_period ({whose} that came to one {blocks.calendar.period}, {caps})"
    return f"user ({whose}, {caps})"
