"""What a rule says of the records, and how several records make one state.

No total is ever made of states (DESIGN: a high layer on a bad base is worth nothing), and what
could not be seen is `not_evaluated`, never `satisfied`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypedDict

State = Literal[
    "satisfied",
    "not_satisfied",
    "partly_satisfied",
    "attested",
    "not_evaluated",
    "not_applicable",
]
Method = Literal["examine", "interview", "test", "recompute"]

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
IDS_MOST: Final = 20
REASONS_MOST: Final = 3
# from the worst; a composite is as good as the worst of its parts that apply
WORST_FIRST: Final[tuple[State, ...]] = (
    "not_satisfied",
    "not_evaluated",
    "partly_satisfied",
    "attested",
    "satisfied",
    "not_applicable",
)


class Finding(TypedDict):
    """One criterion's result as the report has it.

    type: `auto`, `partial` or `attestation`. observed: public values, as one text.
    evidence: ids of the records that decided, at most 20. at: as_of of the evidence.
    """

    id: str
    section: str
    title: str
    source: str
    source_edition: str
    kind: str
    layer: str
    type: str
    state: State
    rule: str
    observed: str
    evidence: list[str]
    method: Method
    at: str
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule finds."""

    state: State
    note: str = ""
    observed: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    method: Method = "examine"


@dataclass(slots=True)
class Tally:
    """What a rule finds of each record that it looks at, by evidence id."""

    fine: list[str] = field(default_factory=list)
    warned: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)
    unseen: list[tuple[str, str]] = field(default_factory=list)

    def verdict(
        self,
        *,
        empty: str,
        fine: str,
        method: Method = "examine",
        observed: Mapping[str, str] = NOTHING,
    ) -> Verdict:
        """One state of all: a fault fails, nothing seen is not evaluated, a warning is partly.

        Args:
            empty: why the criterion does not apply where nothing was looked at.
            fine: what is said where all is in order.
            method: how it was found out.
            observed: further public values.
        """
        looked = len(self.fine) + len(self.warned) + len(self.faults) + len(self.unseen)
        if not looked:
            return Verdict("not_applicable", empty, observed, (), method)
        counts = {
            "records": str(looked),
            "in_order": str(len(self.fine)),
            "faults": str(len(self.faults)),
            "warnings": str(len(self.warned)),
            "not_seen": str(len(self.unseen)),
        }
        reasons = [*self.faults, *self.warned, *self.unseen]
        ids = [each for each, _ in reasons] + self.fine
        state: State = "satisfied"
        if self.faults:
            state = "not_satisfied"
        elif not self.fine and not self.warned:
            state = "not_evaluated"
        elif self.warned or self.unseen:
            state = "partly_satisfied"
        said = sentences(reason for _, reason in reasons)
        note = fine if state == "satisfied" else said
        return Verdict(state, note, {**counts, **observed}, tuple(ids), method)


def sentences(reasons: Iterable[str]) -> str:
    """Distinct reasons in their order, the first few of them."""
    distinct = list(dict.fromkeys(reasons))
    more = len(distinct) - REASONS_MOST
    said = distinct[:REASONS_MOST] + ([f"and {more} more"] if more > 0 else [])
    return "; ".join(said)


def worst(states: Iterable[State]) -> State:
    """The worst of several states, in the order of WORST_FIRST."""
    return min(states, key=WORST_FIRST.index)


def observed_text(observed: Mapping[str, str]) -> str:
    """Public values in one line, by name: `delta 1e-9; nominal size 30000`."""
    named = ((name.replace("_", " "), observed[name]) for name in sorted(observed))
    return "; ".join(f"{name} {value}" for name, value in named)
