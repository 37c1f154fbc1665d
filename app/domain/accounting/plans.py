"""`plan-pld/1`: slots that are frozen before the first output, composed tightly (R10).

A plan is a list of slots, each a mechanism and how often it may run. Its composed privacy-loss
distribution is within the limit when the plan is approved. From then on only counts are kept: a job
names its slot, and is admitted while what is started and reserved there stays within the slot's
count. Slots may be used in any order, chosen by what was seen, and be left unused: each is bounded
by one fixed pair of distributions, and composing fixed pairs does not depend on the order in which
an adversary asks for them (Koskela, Jalko and Honkela 2020; Vadhan and Zhang 2023). What may not
change is a mechanism or a count: that is a new plan with its own approval.

The figure is of the whole plan. A plan that is half used has no smaller one: a figure that is read
after the fact is what a filter gives, and this is none. So beside its own test a plan is charged to
every budget above it at its summed vector, like any other job.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final

from app.domain.accounting.pld import pld_epsilon
from app.domain.accounting.prices import charge_parts, price
from app.domain.decimals import decimal_text, parse_decimal
from app.domain.documents import read_integer, read_list, read_object, read_text
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.kinds import LARGEST_COUNT
from app.domain.mechanisms.parsing import Mechanism, Part, parse_mechanism
from app.domain.privacy import Limit, Loss, parse_limit

MOST_SLOTS: Final = 64
LONGEST_NAME: Final = 80
# The library composes by Fourier transforms of floats, whose errors stay below 1e-13 of mass here.
# The plan is composed at a delta that is smaller by ten times that and by a thousandth.
LEAST_DELTA: Final = Decimal("1e-10")
_FLOAT_MASS: Final = Decimal("1e-12")
_KEPT_SHARE: Final = Decimal("0.999")


@dataclass(frozen=True, slots=True)
class Slot:
    """One kind of job in a plan: what one unit is, and how many units may ever start.

    Raises:
        InvalidParameter: count is not a whole number from 1 to 2**40.
    """

    name: str
    mechanism: Mechanism
    count: int

    def __post_init__(self) -> None:
        """A slot has a short name and room for something."""
        read_text(self.name, "/name", most=LONGEST_NAME)
        read_integer(self.count, "/count", low=1, high=LARGEST_COUNT)

    @property
    def part(self) -> Part:
        """All units of the slot."""
        return Part(self.mechanism, self.count)

    def to_json(self) -> dict[str, Any]:
        """The wire form."""
        return {"name": self.name, "mechanism": self.mechanism.to_json(), "count": self.count}


def parse_slots(document: object, pointer: str = "/slots") -> tuple[Slot, ...]:
    """Slots from `[{"name": ..., "mechanism": {...}, "count": n}, ...]`.

    Raises:
        InvalidParameter: malformed, out of range, or two slots of one name.
        RefusedByName: a mechanism is refused by its name (R28).
    """
    slots = []
    for index, each in enumerate(read_list(document, pointer, least=1, most=MOST_SLOTS)):
        here = f"{pointer}/{index}"
        values = read_object(each, here, required=("name", "mechanism", "count"))
        mechanism = parse_mechanism(values["mechanism"], f"{here}/mechanism")
        name = read_text(values["name"], f"{here}/name", most=LONGEST_NAME)
        count = read_integer(values["count"], f"{here}/count", low=1, high=LARGEST_COUNT)
        slots.append(Slot(name, mechanism, count))
    return tuple(slots)


def plan_epsilon(slots: Sequence[Slot], relation: str, delta: Decimal) -> str | None:
    """The epsilon at `delta` of all slots used up; never understated. Off the request path.

    Takes about half a second per distinct mechanism.

    Args:
        slots: all of the plan.
        relation: the dataset's neighbouring relation.
        delta: at least 1e-10.

    Returns:
        A decimal string rounded up to 4 digits; None where a mechanism cannot be composed, or not
        in this relation.
    """
    if delta < LEAST_DELTA:
        return None
    return pld_epsilon([slot.part for slot in slots], relation, delta * _KEPT_SHARE - _FLOAT_MASS)


@dataclass(frozen=True)
class Plan:
    """A plan that was approved: everything in it is frozen.

    epsilon: the composed figure at the limit's delta, at most the limit's epsilon.

    Raises:
        InvalidParameter: no slots, two of one name, or a figure above the limit.
    """

    accountant: ClassVar[str] = "plan-pld/1"

    slots: tuple[Slot, ...]
    relation: str
    limit: Limit
    epsilon: Decimal

    def __post_init__(self) -> None:
        """Names are unique, and the figure is within the limit whoever made it."""
        if not 1 <= len(self.slots) <= MOST_SLOTS:
            raise InvalidParameter("/slots", f"must be from 1 to {MOST_SLOTS} slots")
        if len({slot.name for slot in self.slots}) != len(self.slots):
            raise InvalidParameter("/slots", "must have a name each")
        if self.epsilon > self.limit.epsilon:
            figure = decimal_text(self.epsilon)
            reason = f"come to an epsilon of {figure} together, which is above the limit"
            raise InvalidParameter("/slots", reason)

    def admits(self, units: Mapping[str, int]) -> bool:
        """Whether these units, started and reserved in all, stay within every slot.

        Args:
            units: by slot name; a slot that is not named has none.
        """
        counts = {slot.name: slot.count for slot in self.slots}
        return all(0 <= asked <= counts.get(name, -1) for name, asked in units.items())

    def left(self, units: Mapping[str, int]) -> dict[str, int]:
        """The units that may still be reserved in each slot, beside these."""
        return {slot.name: max(0, slot.count - units.get(slot.name, 0)) for slot in self.slots}

    def slot(self, name: str, mechanism: Mechanism) -> Slot:
        """The slot a job names, if the job's mechanism is exactly the slot's.

        Raises:
            InvalidParameter: there is no such slot, or it holds another mechanism.
        """
        for slot in self.slots:
            if slot.name == name:
                if slot.mechanism.to_json() != mechanism.to_json():
                    raise InvalidParameter("/mechanism", "must be that of the slot, unchanged")
                return slot
        raise InvalidParameter("/slot", "must be a slot of the plan")

    def charge(self, name: str, units: int) -> Loss:
        """What units of one slot cost in every budget above: their summed vector (R10).

        Raises:
            InvalidParameter: there is no such slot.
            MechanismNotPriced: the mechanism has no summed vector in this relation.
        """
        for slot in self.slots:
            if slot.name == name:
                return price(slot.mechanism, self.relation).charge(units)
        raise InvalidParameter("/slot", "must be a slot of the plan")

    def whole_charge(self) -> Loss:
        """What the plan costs above if every slot is used up, each in one piece."""
        prices = ((price(slot.mechanism, self.relation), slot.count) for slot in self.slots)
        return charge_parts(prices)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that is frozen: what an approval is bound to."""
        text = json.dumps(self._facts(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {**self._facts(), "digest": self.digest}

    def _facts(self) -> dict[str, Any]:
        return {
            "accountant": self.accountant,
            "slots": [slot.to_json() for slot in self.slots],
            "relation": self.relation,
            "limit": self.limit.to_json(),
            "epsilon": decimal_text(self.epsilon),
        }


def make_plan(slots: Sequence[Slot], relation: str, limit: Limit) -> Plan:
    """A plan whose composition is within its limit. Seconds: off the request path.

    Every slot also has to have a price, or the budgets above could not be charged for it.

    Raises:
        InvalidParameter: a delta below 1e-10, a mechanism that cannot be composed, or a plan above
            its limit.
        MechanismNotPriced: a mechanism has no price in this relation.
    """
    if limit.delta < LEAST_DELTA:
        raise InvalidParameter("/limit/delta", "must be at least 1e-10 for a plan")
    for slot in slots:
        price(slot.mechanism, relation)
    epsilon = plan_epsilon(slots, relation, limit.delta)
    if epsilon is None:
        raise InvalidParameter("/slots", "hold a mechanism that cannot be composed in advance")
    return Plan(tuple(slots), relation, limit, parse_decimal(epsilon, "/epsilon"))


def plan_from_json(document: Mapping[str, Any]) -> Plan:
    """Read back a stored plan as it was frozen; nothing is composed anew.

    Raises:
        ValueError: another accountant, or the digest is not that of the facts.
        InvalidParameter: the stored facts are no plan.
    """
    if document["accountant"] != Plan.accountant:
        raise ValueError("a plan of a version that this code does not decide by")
    plan = Plan(
        parse_slots(document["slots"]),
        str(document["relation"]),
        parse_limit(document["limit"]),
        parse_decimal(document["epsilon"], "/epsilon"),
    )
    if document["digest"] != plan.digest:
        raise ValueError("the digest of a plan is not that of its facts")
    return plan
