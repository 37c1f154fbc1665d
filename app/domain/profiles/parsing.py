"""Checks a profile document against the public schema, before anything is read or spent (L5)."""

from typing import Any, Final

from app.domain.columns import NUMBERS
from app.domain.datasets import CAP_MOST, Dataset
from app.domain.documents import read_integer, read_list, read_object, under
from app.domain.errors import InvalidParameter
from app.domain.profiles.spec import Grouping, ProfileSpec, groups_key
from app.domain.queries.asking import CHOSEN_QUANTILES_MOST
from app.domain.queries.measures import parse_placed, parse_weight
from app.domain.queries.parsing import parse_group_by, parse_privacy, require_priced_unit
from app.domain.queries.spec import Measure

GROUPINGS_MOST: Final = 8
VALUES_MOST: Final = 50
GROUPS_MOST: Final = 64
ROWS_MOST: Final = 1024
# few, since each is a draw of its own: the ends of the values, and their middle
QUANTILES: Final = ("0.01", "0.5", "0.99")


def parse_profile(document: object, dataset: Dataset, pointer: str = "/spec") -> ProfileSpec:
    """A profile with every default written out.

    Without `groupings` a dataset of users is profiled by all rows of each; without `values` every
    plain column of numbers with public bounds is.

    Args:
        document: the versioned JSON form.
        dataset: the private dataset that is profiled.
        pointer: where the document stands in the request.

    Raises:
        InvalidParameter: malformed, unknown, out of range, twice the same, or groups of records.
        BoundsRequired: a column without public bounds (R24).
        DeltaRequired: Gaussian noise with a delta of 0.
        RefusedByName: keys of a column without a public domain, given as public (R28).
        MechanismNotPriced: the dataset's relation has no query mechanisms (R7).
    """
    fields = read_object(
        document,
        pointer,
        required=("v", "privacy"),
        optional=("groupings", "values", "bounds"),
    )
    read_integer(fields["v"], f"{pointer}/v", low=1, high=1)
    unit = require_priced_unit(dataset)
    is_record = unit.kind == "record"
    default: list[dict[str, Any]] = [] if is_record else [{"by": []}]
    groupings = _parse_groupings(fields.get("groupings", default), dataset, f"{pointer}/groupings")
    if is_record and groupings:
        raise InvalidParameter(f"{pointer}/groupings", "a record is one row in one group")
    values = _parse_values(fields.get("values"), dataset, f"{pointer}/values")
    if not groupings and not values:
        raise InvalidParameter(f"{pointer}/values", "there is nothing to profile")
    caps = read_object(fields.get("bounds", {}), f"{pointer}/bounds", optional=("max_rows",))
    most = unit.max_rows_per_user_group or 1
    max_rows = read_integer(caps.get("max_rows", 1), f"{pointer}/bounds/max_rows", low=1, high=most)
    epsilon, delta, noise = parse_privacy(fields["privacy"], f"{pointer}/privacy")
    return ProfileSpec(groupings, values, max_rows, epsilon, delta, noise)


def _parse_groupings(document: object, dataset: Dataset, pointer: str) -> tuple[Grouping, ...]:
    groupings: list[Grouping] = []
    for index, entry in enumerate(read_list(document, pointer, most=GROUPINGS_MOST)):
        at = under(pointer, index)
        fields = read_object(
            entry, at, required=("by",), optional=("groups_most", "rows_most", "weight")
        )
        by = parse_group_by(fields["by"], dataset, f"{at}/by")
        if any(groups_key(by) == groups_key(earlier.by) for earlier in groupings):
            raise InvalidParameter(f"{at}/by", "these groups stand twice")
        groups_most = read_integer(
            fields.get("groups_most", GROUPS_MOST), f"{at}/groups_most", low=1, high=CAP_MOST
        )
        rows_most = read_integer(
            fields.get("rows_most", ROWS_MOST), f"{at}/rows_most", low=1, high=CAP_MOST
        )
        groupings.append(Grouping(by, groups_most, rows_most, parse_weight(fields, at)))
    return tuple(groupings)


def _parse_values(document: object, dataset: Dataset, pointer: str) -> tuple[Measure, ...]:
    if document is None:
        unit = None if dataset.unit is None else dataset.unit.column
        document = [
            {"col": column.name}
            for column in dataset.columns
            if column.type in NUMBERS
            and not column.shape
            and column.low is not None
            and column.name != unit
        ][:VALUES_MOST]
    measures: list[Measure] = []
    for index, entry in enumerate(read_list(document, pointer, most=VALUES_MOST)):
        at = under(pointer, index)
        fields = read_object(
            entry, at, required=("col",), optional=("q", "lo", "hi", "bins", "weight")
        )
        measure = parse_placed({"q": list(QUANTILES), **fields, "fn": "quantile"}, dataset, at)
        if len(measure.quantiles) > CHOSEN_QUANTILES_MOST:
            raise InvalidParameter(
                f"{at}/q", f"at most {CHOSEN_QUANTILES_MOST}: each is a draw of its own"
            )
        if any(measure.column == earlier.column for earlier in measures):
            raise InvalidParameter(f"{at}/col", "this column stands twice")
        measures.append(measure)
    return tuple(measures)
