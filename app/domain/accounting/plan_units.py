"""The units of a plan's slots: what is reserved, what is posted, and how entries move them (R10).

A plan decides by whole counts alone. They are kept beside a budget's sums, exact and order free,
and every entry that moves them names its slots, so that a replay reproduces them (L4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PLAN_ACCOUNTANT: Final = "plan-pld/1"
# never in a plan's chain: its limit does not move, and it has no periods
NOT_OF_A_PLAN: Final = frozenset({"raised", "lowered", "transferred", "refreshed"})


@dataclass(frozen=True, slots=True)
class PlanUnits:
    """Units by slot, of reservations under way and of those that have ended; zeros are left out.

    Raises:
        ValueError: a count below 0.
    """

    reserved: Mapping[str, int] = field(default_factory=dict)
    posted: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """No slot ever gives back more than was taken."""
        if any(count < 0 for count in (*self.reserved.values(), *self.posted.values())):
            raise ValueError("units of a slot fall below 0")

    @property
    def held(self) -> dict[str, int]:
        """Reserved and posted together: what counts against the slots."""
        return _moved(self.reserved, self.posted, 1)

    def reserve(self, units: Mapping[str, int]) -> "PlanUnits":
        """These units are held from here on."""
        return PlanUnits(_moved(self.reserved, units, 1), self.posted)

    def resolve(self, held: Mapping[str, int], started: Mapping[str, int]) -> "PlanUnits":
        """What was held is free again, and what was started of it is posted.

        Raises:
            ValueError: more is freed than was held, or more was started.
        """
        _ = PlanUnits(_moved(held, started, -1))
        return PlanUnits(_moved(self.reserved, held, -1), _moved(self.posted, started, 1))

    def to_json(self) -> dict[str, dict[str, int]]:
        """The stored form."""
        return {"reserved": dict(self.reserved), "posted": dict(self.posted)}

    @classmethod
    def from_json(cls, document: Mapping[str, Mapping[str, int]]) -> "PlanUnits":
        """Read back what `to_json` gave."""
        return cls(dict(document["reserved"]), dict(document["posted"]))


def units_by_slot(parts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The units of an entry's parts, summed by the slot that each names.

    Raises:
        KeyError: a part names no slot.
    """
    found: dict[str, int] = {}
    for part in parts:
        found[part["slot"]] = found.get(part["slot"], 0) + part["units"]
    return {name: units for name, units in found.items() if units}


class PlanReplay:
    """A plan's units as its entries alone have them, and the first entry that it cannot hold."""

    def __init__(self, policy: Mapping[str, Any]) -> None:
        self.units = PlanUnits()
        try:
            self._counts = {slot["name"]: int(slot["count"]) for slot in policy["slots"]}
        except (KeyError, TypeError, ValueError):
            self._counts = {}
        self._held: dict[str, dict[str, int]] = {}
        self._is_ended = False

    def fault_of(self, body: Mapping[str, Any]) -> str | None:
        """Walk one entry; says what is wrong with it, or None."""
        if body["kind"] in NOT_OF_A_PLAN:
            return f"a frozen plan has no entry of kind {body['kind']}"
        if body["kind"] == "opening":
            # what no slot names was found to have run: from here on nothing more may (R10, R22)
            self._is_ended = True
            return None
        if body["kind"] == "reserved" and self._is_ended:
            return "a plan in which more ran than its slots name takes nothing further"
        try:
            units = units_by_slot(body["parts"])
            if body["kind"] == "reserved":
                self._held[body["id"]] = units
                self.units = self.units.reserve(units)
            elif body["kind"] in ("posted", "voided"):
                started = units if body["kind"] == "posted" else {}
                self.units = self.units.resolve(self._held.pop(body["resolves"]), started)
        except (KeyError, TypeError, ValueError):
            return "the entry does not name the units of the plan's slots"
        if any(count > self._counts.get(name, 0) for name, count in self.units.held.items()):
            return "more units are held than a slot of the plan has"
        return None


def _moved(counts: Mapping[str, int], other: Mapping[str, int], sign: int) -> dict[str, int]:
    moved = {
        name: counts.get(name, 0) + sign * other.get(name, 0) for name in sorted({*counts, *other})
    }
    return {name: count for name, count in moved.items() if count}
