"""The chains alone say of budgets and reservations what the evidence holds."""

import pytest

from app.domain.ledger import ChainedEntry
from app.reporting.ledger_facts import budget_facts, reservation_facts
from tests.reporting.evidence_sample import House, an_id, built_house


@pytest.fixture(params=[None, 4])
def house(request: pytest.FixtureRequest) -> House:
    """The sample's house; the second one with its users in blocks."""
    return built_house(blocks=request.param)


def test_every_fact_of_a_budget_follows_from_its_entries(house: House) -> None:
    for budget in house.evidence()["budgets"]:
        facts = budget_facts(budget["id"], house.scopes[budget["name"]].entries)
        assert facts == {key: dict(budget)[key] for key in facts}
        assert len(facts) == 18


def test_every_reservation_follows_from_the_entries_that_name_it(house: House) -> None:
    chains = {an_id(name): scope.entries for name, scope in house.scopes.items()}
    kinds = {an_id(name): scope.kind for name, scope in house.scopes.items()}
    found = reservation_facts(chains, kinds)
    evidence = house.evidence()["reservations"]
    assert set(found) == {each["id"] for each in evidence}
    for each in evidence:
        facts = found[each["id"]]
        assert (facts["state"], facts["job"]) == (each["state"], each["job"])
        for part, charged in zip(facts["parts"], each["parts"], strict=True):
            assert part == {key: dict(charged)[key] for key in part}
        rows = sorted(each["entries"], key=lambda row: (row["budget"], row["seq"]))
        assert facts["entries"] == rows


def test_a_chain_that_does_not_follow_has_no_facts(house: House) -> None:
    entries = house.scopes["root"].entries
    with pytest.raises(ValueError, match="does not follow"):
        budget_facts(an_id("root"), [entries[0], *entries[2:]])
    with pytest.raises(ValueError, match="no entry"):
        budget_facts(an_id("root"), [])
    cut = ChainedEntry(entries[0].budget_id, 1, entries[0].body, "0" * 64)
    with pytest.raises(ValueError, match="hash"):
        budget_facts(an_id("root"), [cut])
