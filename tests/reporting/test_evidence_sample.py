"""The made-up evidence that other tests stand on is itself in order."""

import json

from app.domain.accounting.filters import policy_from_json
from app.domain.ledger import canonical_bytes
from app.domain.privacy import Loss
from app.reporting.released import canonical, public_facts
from tests.reporting import evidence_sample


def test_the_sample_is_canonical_and_the_same_twice() -> None:
    first, second = evidence_sample.sample(), evidence_sample.sample()
    assert canonical_bytes(first) == canonical_bytes(second)
    first["jobs"].clear()
    assert evidence_sample.sample()["jobs"] == second["jobs"] != []


def test_every_budget_of_the_sample_replays_and_is_within_its_limit() -> None:
    for budget in evidence_sample.sample()["budgets"]:
        policy = policy_from_json(budget["policy"])
        held = Loss.from_json(budget["committed_charge"]) + Loss.from_json(
            budget["reserved_charge"]
        )
        assert policy.admits(held)
        if budget["kind"] != "window":
            assert held != Loss.zero()


def test_public_facts_hold_no_released_value_and_no_key() -> None:
    cells = [{"measure": "count", "value": 4711, "half_width_95": "3", "mechanism": "m"}]
    document = {"rows": [{"keys": {"dest": "NOWHERE"}, "cells": cells}], "notes": ["n"]}
    text = json.dumps(public_facts("query", document))
    assert "4711" not in text
    assert "NOWHERE" not in text
    assert json.loads(text)["measures"] == [
        {"name": "count", "mechanism": "m", "has_half_width": True}
    ]


def test_a_measure_without_a_width_in_one_row_has_none() -> None:
    whole = {"measure": "mean(x)", "value": 1, "half_width_95": "3", "mechanism": "m"}
    bare = {"measure": "mean(x)", "value": 1, "mechanism": "m"}
    rows = [{"keys": {}, "cells": [whole]}, {"keys": {}, "cells": [bare]}]
    assert not public_facts("query", {"rows": rows})["measures"][0]["has_half_width"]


def test_floats_become_texts_that_read_back_to_them() -> None:
    for value in (0.1, 1e-9, 12345.678, 2.5e21, 1 / 3):
        assert float(canonical({"a": [value]})["a"][0]) == value
    assert canonical({"n": 3, "b": True, "x": None}) == {"n": 3, "b": True, "x": None}
    assert canonical_bytes(canonical({"bad": float("nan")})) == b'{"bad":"nan"}'
