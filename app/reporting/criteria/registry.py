"""Which function decides which criterion: one each, found by its id."""

from collections.abc import Callable
from typing import Final

from app.reporting.criteria.findings import Verdict
from app.reporting.criteria.records import Records

Rule = Callable[[Records], Verdict]

RULES: Final[dict[str, Rule]] = {}


def criterion(id_: str) -> Callable[[Rule], Rule]:
    """Register the one function of a criterion.

    Raises:
        ValueError: the criterion has its function already.
    """

    def register(rule: Rule) -> Rule:
        if id_ in RULES:
            raise ValueError(f"{id_} has two functions")
        RULES[id_] = rule
        return rule

    return register
