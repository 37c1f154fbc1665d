"""The frozen form of a profile: which groups are counted per unit, which columns are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from app.domain.decimals import decimal_text
from app.domain.queries.spec import GroupBy, Measure, NoiseChoice, PublicKeys, normal_sha256


@dataclass(frozen=True, slots=True)
class Grouping:
    """One way to group rows, as a query may ask for it; no groups means all rows of a unit.

    groups_most, rows_most: the last bins of groups per unit and of rows per group, which also
        take whatever lies above them; public.
    weight: its share of the privacy asked for, relative to the others.
    """

    by: tuple[GroupBy, ...]
    groups_most: int
    rows_most: int
    weight: Decimal

    def to_json(self) -> dict[str, Any]:
        """The wire form, every default written out."""
        return {
            "by": [group.to_json() for group in self.by],
            "groups_most": self.groups_most,
            "rows_most": self.rows_most,
            "weight": decimal_text(self.weight),
        }


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """A checked profile with every default explicit; `to_json` is its canonical, stored form.

    groupings: the units by how many groups each has, and by its rows in a group.
    values: quantiles of columns of numbers; each is a measure `quantile` of the query language.
    max_rows: as how many rows one unit counts at most in the quantiles; its rows share that.
    """

    groupings: tuple[Grouping, ...]
    values: tuple[Measure, ...]
    max_rows: int
    epsilon: Decimal
    delta: Decimal
    noise: NoiseChoice

    def to_json(self) -> dict[str, Any]:
        """The stored form; parsing it again gives an equal spec."""
        values = []
        for measure in self.values:
            document = measure.to_json()
            del document["fn"]
            values.append(document)
        return {
            "v": 1,
            "groupings": [grouping.to_json() for grouping in self.groupings],
            "values": values,
            "bounds": {"max_rows": self.max_rows},
            "privacy": {
                "epsilon": decimal_text(self.epsilon),
                "delta": decimal_text(self.delta),
                "noise": self.noise,
            },
        }

    @property
    def spec_sha256(self) -> str:
        """Names what is asked, not how its decimals are written."""
        return normal_sha256(self)


def groups_key(by: Sequence[GroupBy]) -> frozenset[object]:
    """Names groups whatever their order, and whatever the order of their public keys."""
    return frozenset(
        (group.column, frozenset(group.keys)) if isinstance(group, PublicKeys) else group
        for group in by
    )
