"""Training whose unit is a user, or what one user has in a period: one unit is one example.

What a user brings to a step is the gradient of the mean loss of some of his own records, clipped to
C as a whole. Of his rows at most `rows_most` are kept for the run, chosen by a salted hash of the
user and the row (the salt is public and the job's own); of these either all enter each step that
draws him, or one that is chosen afresh.

Proof (R7, derived at the user, not converted from records): fix the salt and the weights that were
released before step t. What user u brings, v_u, depends on his own rows, and where one row a step
is chosen on coins of his own; never on another user's rows. Its norm is at most C, however many
rows he has and whatever they hold. A step releases the sum of v_u over a Poisson draw of users,
plus noise of deviation sigma C. Adding or removing u changes one term of the draw, by at most C:
for every outcome of the coins it is the Poisson-sampled Gaussian at the declared rate and sigma,
with users as its units. Mixing over coins that are the same with and without u raises no Renyi
divergence, for exp((a-1) D_a) is jointly convex. Rates and divisors are public and in users (R17).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from app.domain.datasets import CAP_MOST, Dataset
from app.domain.documents import read_choice, read_integer, read_object
from app.domain.errors import InvalidParameter, MechanismNotPriced
from app.domain.training.models import Logistic, Mlp, ModelSpec

EachStep = Literal["all", "one"]


@dataclass(frozen=True, slots=True)
class UserSpec:
    """How a user's records enter.

    rows_most: rows of one unit that a run keeps.
    each_step: whether all of these make the user's gradient, or one that is chosen for the step.
    """

    rows_most: int
    each_step: EachStep

    @property
    def rows_at_once(self) -> int:
        """Rows of one unit that one step holds."""
        return self.rows_most if self.each_step == "all" else 1

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {"rows_most": self.rows_most, "each_step": self.each_step}


def require_priced_unit(dataset: Dataset) -> None:
    """Refuse a dataset in whose unit or relation DP-SGD has no proven price.

    Raises:
        InvalidParameter: it is public.
        MechanismNotPriced: its relation replaces units.
    """
    if dataset.access != "private" or dataset.unit is None or dataset.relation is None:
        raise InvalidParameter(
            "/inputs/0/dataset_id", "training is charged for a private dataset; this one is public"
        )
    if dataset.relation == "replace_one":
        raise MechanismNotPriced(
            "poisson_sampled", dataset.relation, "Poisson sampling is priced for presence only (R7)"
        )


def parse_user(
    fields: Mapping[str, Any], dataset: Dataset, model: ModelSpec, pointer: str
) -> UserSpec | None:
    """How users enter; None where the unit is a record.

    Raises:
        InvalidParameter: asked of records, above what the dataset declares, without any cap, or
            all records at once of a model that cannot hold a user as one example.
    """
    unit = dataset.unit
    if unit is None or unit.kind == "record":
        if "user" in fields:
            raise InvalidParameter(pointer, "the unit of this dataset is a record")
        return None
    at_once = isinstance(model, Logistic | Mlp)
    asked = read_object(fields.get("user", {}), pointer, optional=("rows_most", "each_step"))
    declared = unit.max_rows_per_user
    at = f"{pointer}/rows_most"
    if "rows_most" not in asked and declared is None:
        raise InvalidParameter(at, "the dataset declares no max_rows_per_user: give a cap here")
    rows_most = read_integer(asked.get("rows_most", declared), at, low=1, high=declared or CAP_MOST)
    each_step = cast(
        EachStep,
        read_choice(
            asked.get("each_step", "all" if at_once else "one"),
            f"{pointer}/each_step",
            get_args(EachStep),
        ),
    )
    if each_step == "all" and not at_once:
        raise InvalidParameter(
            f"{pointer}/each_step", f"{model.name} takes one record of a user in each step: one"
        )
    return UserSpec(rows_most, each_step)


def require_no_user_column(dataset: Dataset, names: Mapping[str, str]) -> None:
    """Refuse to learn from the column that names the users.

    names: columns by the pointer where they are asked for.

    Raises:
        InvalidParameter: one of them is it.
    """
    for pointer, name in names.items():
        if dataset.unit is not None and name == dataset.unit.column:
            raise InvalidParameter(pointer, "this column names the users; nothing learns from it")
