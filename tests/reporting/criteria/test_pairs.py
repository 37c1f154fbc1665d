"""Each automatic criterion is satisfied by honest records, and one planted fault turns it."""

import pytest

from app.reporting.criteria import RULES, Verdict
from app.reporting.criteria.catalogue import criteria
from app.reporting.criteria.records import Records
from app.reporting.evidence import Evidence
from tests.reporting.criteria.pairs import PAIRS, Comparisons


def verdict(evidence: Evidence, id_: str, compared: Comparisons = None) -> Verdict:
    """What the one rule of a criterion says."""
    return RULES[id_](Records(evidence, compared))


@pytest.mark.parametrize("id_", PAIRS)
def test_a_criterion_is_satisfied_by_honest_records_and_turned_by_a_planted_fault(
    id_: str,
) -> None:
    pair = PAIRS[id_]
    evidence = pair.honest()
    honest = verdict(evidence, id_, pair.compared)
    assert honest.state == "satisfied", honest.note
    pair.fault(evidence)
    compared = pair.compared if pair.miscompared is None else pair.miscompared
    turned = verdict(evidence, id_, compared)
    assert turned.state == pair.turns_to, turned.note
    assert turned.note != honest.note


def test_every_automatic_criterion_has_its_pair_and_every_id_its_function() -> None:
    catalogue = criteria()
    assert set(PAIRS) == {each["id"] for each in catalogue if each["check_type"] == "auto"}
    assert len(PAIRS) == 30
    assert set(RULES) == {each["id"] for each in catalogue}
    assert len(RULES) == 48
