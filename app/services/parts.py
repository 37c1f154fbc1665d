"""The parts of a job that runs elsewhere, as asked for: their unit (R7) and their slots (R10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from app.domain.accounting.plans import LONGEST_NAME, Plan
from app.domain.datasets import UnitKind, UnitOfPrivacy
from app.domain.documents import read_choice, read_text
from app.domain.errors import InvalidParameter
from app.domain.mechanisms.groups import from_record
from app.domain.mechanisms.kinds import LARGEST_COUNT
from app.domain.mechanisms.parsing import Part, parse_mechanism

PARTS_MOST: Final = 64
NO_CAP: Final = (
    "the dataset enforces no cap on the rows of a user (max_rows_per_user), so nothing bounds what"
    " a mechanism on records tells of one"
)


@dataclass(frozen=True, slots=True)
class AskedPart:
    """One part as asked for.

    unit: what the mechanism is stated for; None is the dataset's own unit.
    slot: of a plan; None elsewhere.
    """

    part: Part
    unit: str | None = None
    slot: str | None = None

    def for_units(
        self, units: Sequence[UnitOfPrivacy | None], pointer: str
    ) -> tuple[Part, dict[str, Any] | None]:
        """The part restated for the datasets' units, and what was stated where that differs (R7).

        A mechanism on records is charged for a user who has as many of them as the dataset's cap
        lets count: the cap is declared as enforced, and by an outside tool that is an assumption
        like the mechanism itself. Of several datasets the largest cap is taken, which is a bound
        in all of them.

        Raises:
            InvalidParameter: a dataset has another unit, or enforces no cap on a user's rows.
            MechanismNotPriced: no proven rule for several records.
        """
        if self.unit is None:
            return self.part, None
        caps = []
        for unit in units:
            if unit is None or unit.kind == self.unit:
                continue
            if self.unit != "record":
                reason = f"the unit of the dataset is a {unit.kind}"
                raise InvalidParameter(f"{pointer}/unit", reason)
            if unit.max_rows_per_user is None:
                raise InvalidParameter(f"{pointer}/unit", NO_CAP)
            caps.append(unit.max_rows_per_user)
        if not caps:
            return self.part, None
        records = max(caps)
        mechanism = from_record(self.part.mechanism, records)
        stated = {
            "mechanism": self.part.mechanism.to_json(),
            "unit": self.unit,
            "records": records,
        }
        return Part(mechanism, self.part.max_units), stated


def parse_parts(document: object) -> tuple[AskedPart, ...]:
    """`[{"mechanism": ..., "max_units": n, "unit": ..., "slot": ...}, ...]`, strictly.

    Raises:
        InvalidParameter: with a pointer to the part that is wrong.
    """
    if not isinstance(document, list) or not 1 <= len(document) <= PARTS_MOST:
        raise InvalidParameter("/parts", f"A list of 1 to {PARTS_MOST} parts is expected.")
    parts = []
    for index, item in enumerate(document):
        pointer = f"/parts/{index}"
        needed = {"mechanism", "max_units"}
        if not isinstance(item, dict) or not needed <= set(item) <= {*needed, "unit", "slot"}:
            reason = "A part has mechanism and max_units, and may have unit and slot."
            raise InvalidParameter(pointer, reason)
        units = item["max_units"]
        if type(units) is not int or not 1 <= units <= LARGEST_COUNT:
            raise InvalidParameter(f"{pointer}/max_units", "A whole number from 1 to 2^40.")
        mechanism = parse_mechanism(item["mechanism"], f"{pointer}/mechanism")
        unit, slot = item.get("unit"), item.get("slot")
        if unit is not None:
            unit = read_choice(unit, f"{pointer}/unit", get_args(UnitKind))
        if slot is not None:
            slot = read_text(slot, f"{pointer}/slot", most=LONGEST_NAME)
        parts.append(AskedPart(Part(mechanism=mechanism, max_units=units), unit, slot))
    # the bound on one mechanism's size holds for a request: 64 parts are no way around it
    parse_mechanism({"type": "composed", "of": [part["mechanism"] for part in document]}, "/parts")
    return tuple(parts)


def slots_asked(named: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], str]:
    """What the inputs of one job name as slots, and the pointer of one, for `slots_of`.

    A slot belongs to a part of the job, whatever the input: two inputs that both name slots name
    the same.

    Args:
        named: the slots that each input names; mostly none.

    Raises:
        InvalidParameter: an input names others than one before it.
    """
    first = next((index for index, slots in enumerate(named) if slots), 0)
    for index, slots in enumerate(named):
        if slots and slots != named[first]:
            reason = f"a part has one slot in every plan: as in /inputs/{first}/slots"
            raise InvalidParameter(f"/inputs/{index}/slots", reason)
    return named[first], f"/inputs/{first}/slots/{{}}"


def slots_of(
    plans: Sequence[Plan], parts: Sequence[Part], named: Sequence[str | None], pointer: str
) -> tuple[str, ...]:
    """The slot of each part, checked against every plan that is charged (R10).

    Args:
        plans: the leaves that are plans; none where the request is charged to filters alone.
        parts: what will run; the mechanism of each must be exactly that of its slot.
        named: one slot a part, or one for all of them; None where a part names none.
        pointer: of a slot, with a place for the number of its part.

    Returns:
        One a part; none where no leaf is a plan.

    Raises:
        InvalidParameter: a slot is missing, unknown, of another mechanism, or where no plan is.
    """
    given = tuple(named) * len(parts) if len(named) == 1 else tuple(named)
    if not plans:
        for index, name in enumerate(given):
            if name is not None:
                raise InvalidParameter(pointer.format(index), "the budget is no plan with slots")
        return ()
    if len(given) not in (0, len(parts)):
        reason = f"a slot for each of the {len(parts)} parts, or one for all"
        raise InvalidParameter(pointer.format(0).rpartition("/")[0], reason)
    found = []
    for index, (part, name) in enumerate(zip(parts, given or (None,) * len(parts), strict=True)):
        if name is None:
            raise InvalidParameter(pointer.format(index), "a plan is charged by slot: name one")
        for plan in plans:
            try:
                plan.slot(name, part.mechanism)
            except InvalidParameter as refusal:
                said = "mechanism" if refusal.pointer == "/mechanism" else "slot"
                reason = f"the {said} {refusal.reason}"
                raise InvalidParameter(pointer.format(index), reason) from None
        found.append(name)
    return tuple(found)


def part_json(part: Mapping[str, Any]) -> dict[str, Any]:
    """A reservation's part for a reader: all but the digest of its price."""
    return {key: value for key, value in part.items() if key != "price"}
