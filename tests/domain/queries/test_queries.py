import copy
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from app.domain.accounting.prices import charge_parts, price
from app.domain.datasets import Dataset, dataset_from_json
from app.domain.decimals import ATTO, NAT_2P40
from app.domain.errors import (
    BoundsRequired,
    DeltaRequired,
    DomainError,
    InvalidParameter,
    MechanismNotPriced,
    RangeTooWide,
    RefusedByName,
    TooManyGroups,
)
from app.domain.mechanisms.parsing import (
    DiscreteGaussian,
    DiscreteLaplace,
    Threshold,
    parse_mechanism,
)
from app.domain.privacy import ORDERS
from app.domain.queries import QueryPlan, parse_query, plan_query

DATASET: dict[str, Any] = {
    "name": "flights",
    "access": "private",
    "source": {"connection": "demo", "path": "flights.parquet", "format": "parquet"},
    "columns": [
        {"name": "tailnum", "type": "string", "nullable": True},
        {"name": "dest", "type": "string", "keys": "private"},
        {"name": "month", "type": "int64", "domain": [1, 2, 3], "domain_source": "public"},
        {"name": "origin", "type": "string", "domain": ["EWR", "JFK"]},
        {
            "name": "distance",
            "type": "int64",
            "bounds": {"low": "0", "high": "5000"},
            "grid": "1",
        },
        {"name": "delay", "type": "float64", "nullable": True},
        {"name": "night", "type": "bool"},
        {"name": "day", "type": "date"},
        {"name": "left", "type": "timestamp"},
        {"name": "pixels", "type": "float32", "shape": [4]},
    ],
    "unit_of_privacy": {
        "kind": "user",
        "column": "tailnum",
        "max_groups_per_user": 3,
        "max_rows_per_user_group": 10,
    },
    "relation": "add_remove",
    "nominal_size": 4000,
}
QUERY: dict[str, Any] = {
    "v": 1,
    "where": [["month", "in", [1, 2]], ["not", ["delay", "between", ["-60", "180.5"]]]],
    "group_by": [{"col": "dest", "keys": "private"}, {"bin": "distance", "edges": [0, 500, "1e3"]}],
    "measures": [
        {"fn": "count"},
        {"fn": "sum", "col": "distance", "weight": "2"},
        {"fn": "mean", "col": "delay", "lo": "-60", "hi": "180", "grid": "0.5"},
    ],
    "bounds": {"max_groups": 2},
    "privacy": {"epsilon": "1", "delta": "1e-10", "noise": "auto"},
}


def dataset(**changes: Any) -> Dataset:
    return dataset_from_json({**DATASET, **changes}, id="d1")


def record_level(relation: str = "add_remove") -> Dataset:
    return dataset(unit_of_privacy={"kind": "record"}, relation=relation)


def query(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(QUERY), **changes}


def plan(document: dict[str, Any], on: Dataset | None = None) -> QueryPlan:
    on = on or dataset()
    return plan_query(parse_query(document, on), on)


def simple(measures: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    privacy = {"epsilon": "1", "delta": "1e-10", "noise": "discrete_laplace"}
    return {"v": 1, "measures": measures, "privacy": privacy, **changes}


def test_a_stored_spec_is_complete_and_parses_to_itself() -> None:
    spec = parse_query(QUERY, dataset())
    stored = spec.to_json()
    assert parse_query(stored, dataset()) == spec
    assert parse_query(stored, dataset()).to_json() == stored
    assert stored["bounds"] == {"max_groups": 2, "max_rows": 10}
    assert stored["measures"][1] == {
        "fn": "sum",
        "col": "distance",
        "lo": "0",
        "hi": "5000",
        "grid": "1",
        "weight": "2",
    }
    assert stored["confidence"] == "0.95"
    assert stored["group_by"][1]["edges"] == ["0", "500", "1e3"]


def test_a_plan_of_the_stored_spec_charges_the_same_parts() -> None:
    first = plan(QUERY)
    again = plan(first.spec.to_json())
    assert again == first
    wire = [part.mechanism.to_json() for part in first.parts]
    assert [parse_mechanism(document) for document in wire] == [p.mechanism for p in again.parts]


REFUSED: list[tuple[dict[str, Any], type[DomainError], str]] = [
    ({"v": 2}, InvalidParameter, "/spec/v"),
    ({"dataset": "flights"}, InvalidParameter, "/spec/dataset"),
    ({"measures": []}, InvalidParameter, "/spec/measures"),
    ({"measures": [{"fn": "median", "col": "delay"}]}, InvalidParameter, "/spec/measures/0/fn"),
    ({"measures": [{"fn": "max", "col": "delay"}]}, RefusedByName, "/spec/measures/0/fn"),
    ({"measures": [{"fn": "min", "col": "delay"}]}, RefusedByName, "/spec/measures/0/fn"),
    ({"measures": [{"fn": "sum"}]}, InvalidParameter, "/spec/measures/0/col"),
    ({"measures": [{"fn": "sum", "col": "dest"}]}, InvalidParameter, "/spec/measures/0/col"),
    ({"measures": [{"fn": "sum", "col": "salary"}]}, InvalidParameter, "/spec/measures/0/col"),
    ({"measures": [{"fn": "sum", "col": "pixels"}]}, InvalidParameter, "/spec/measures/0/col"),
    ({"measures": [{"fn": "count", "col": "tailnum"}]}, InvalidParameter, "/spec/measures/0/col"),
    ({"measures": [{"fn": "sum", "col": "delay"}]}, BoundsRequired, "/spec/measures/0/lo"),
    (
        {"measures": [{"fn": "mean", "col": "delay", "lo": "0", "hi": "1"}]},
        BoundsRequired,
        "/spec/measures/0/grid",
    ),
    (
        {"measures": [{"fn": "sum", "col": "distance", "lo": 0, "hi": "9"}]},
        InvalidParameter,
        "/spec/measures/0/lo",
    ),
    (
        {"measures": [{"fn": "sum", "col": "distance", "lo": "9", "hi": "9"}]},
        InvalidParameter,
        "/spec/measures/0/hi",
    ),
    (
        {"measures": [{"fn": "sum", "col": "distance", "grid": "3"}]},
        InvalidParameter,
        "/spec/measures/0/grid",
    ),
    (
        {"measures": [{"fn": "count"}, {"fn": "count", "weight": "2"}]},
        InvalidParameter,
        "/spec/measures/1",
    ),
    ({"measures": [{"fn": "count", "weight": "0"}]}, InvalidParameter, "/spec/measures/0/weight"),
    ({"measures": [{"fn": "count", "lo": "0"}]}, InvalidParameter, "/spec/measures/0/lo"),
    ({"where": [["tailnum", "=", "N1"]]}, InvalidParameter, "/spec/where/0/0"),
    ({"where": [["salary", "=", 1]]}, InvalidParameter, "/spec/where/0/0"),
    ({"where": [["month", "like", "1"]]}, InvalidParameter, "/spec/where/0/1"),
    ({"where": [["month", "=", "1"]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["month", "=", 1.0]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["month", "=", True]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["night", "=", 1]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["dest", "<", "B"]]}, InvalidParameter, "/spec/where/0/1"),
    ({"where": [["dest", "in", []]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["delay", ">", "NaN"]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["delay", ">", "1e301"]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["day", ">", "2013-1-1"]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["left", ">", "2013-01-01T00:00:00Z"]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["month", "between", [1]]]}, InvalidParameter, "/spec/where/0/2"),
    ({"where": [["or"]]}, InvalidParameter, "/spec/where/0"),
    ({"where": [["or", ["month", "=", 1], ["x", "=", 1]]]}, InvalidParameter, "/spec/where/0/2/0"),
    (
        {"group_by": [{"col": "tailnum", "keys": "private"}]},
        InvalidParameter,
        "/spec/group_by/0/col",
    ),
    (
        {"group_by": [{"col": "month", "keys": "private"}]},
        InvalidParameter,
        "/spec/group_by/0/keys",
    ),
    ({"group_by": [{"col": "month"}]}, InvalidParameter, "/spec/group_by/0/keys"),
    ({"group_by": [{"col": "month", "keys": [1, 4]}]}, InvalidParameter, "/spec/group_by/0/keys/1"),
    ({"group_by": [{"col": "month", "keys": [1, 1]}]}, InvalidParameter, "/spec/group_by/0/keys"),
    ({"group_by": [{"col": "origin", "keys": ["EWR"]}]}, RefusedByName, "/spec/group_by/0/keys"),
    ({"group_by": [{"col": "dest", "keys": ["ATL"]}]}, RefusedByName, "/spec/group_by/0/keys"),
    ({"group_by": [{"col": "dest", "keys": "domain"}]}, RefusedByName, "/spec/group_by/0/keys"),
    ({"group_by": [{"bin": "dest", "edges": [0, 1]}]}, InvalidParameter, "/spec/group_by/0/bin"),
    (
        {"group_by": [{"bin": "delay", "edges": [0, 1, 1]}]},
        InvalidParameter,
        "/spec/group_by/0/edges/2",
    ),
    (
        {"group_by": [{"bin": "delay", "edges": [0.5, 1]}]},
        InvalidParameter,
        "/spec/group_by/0/edges/0",
    ),
    (
        {"group_by": [{"bin": "distance", "edges": [0, 1]}, {"bin": "distance", "edges": [0, 2]}]},
        InvalidParameter,
        "/spec/group_by/1",
    ),
    ({"bounds": {"max_groups": 4}}, InvalidParameter, "/spec/bounds/max_groups"),
    ({"bounds": {"max_rows": 11}}, InvalidParameter, "/spec/bounds/max_rows"),
    ({"bounds": {"max_rows": 0}}, InvalidParameter, "/spec/bounds/max_rows"),
    ({"privacy": {"epsilon": 1}}, InvalidParameter, "/spec/privacy/epsilon"),
    ({"privacy": {"epsilon": "0"}}, InvalidParameter, "/spec/privacy/epsilon"),
    ({"privacy": {"epsilon": "NaN"}}, InvalidParameter, "/spec/privacy/epsilon"),
    ({"privacy": {"epsilon": "1"}}, DeltaRequired, "/spec/privacy/delta"),
    ({"privacy": {"epsilon": "1", "delta": "0.2"}}, InvalidParameter, "/spec/privacy/delta"),
    ({"privacy": {"epsilon": "1", "noise": "laplace"}}, InvalidParameter, "/spec/privacy/noise"),
    ({"confidence": "0.9"}, InvalidParameter, "/spec/confidence"),
]


@pytest.mark.parametrize(("changes", "refusal", "pointer"), REFUSED)
def test_a_faulty_query_is_refused_with_a_pointer_before_any_data(
    changes: dict[str, Any], refusal: type[DomainError], pointer: str
) -> None:
    with pytest.raises(refusal) as refused:
        parse_query(query(**changes), dataset())
    assert getattr(refused.value, "pointer", None) == pointer


def test_an_unknown_column_is_answered_with_the_public_schema() -> None:
    with pytest.raises(InvalidParameter, match="tailnum, dest, month"):
        parse_query(query(where=[["salary", "=", 1]]), dataset())


EQUAL = ["month", "=", 1]
FIVE_THOUSAND: list[list[list[Any]]] = [
    [["or", *([EQUAL] * 50)]] * 100,
    [["not", ["and", *([["month", "between", [1, 2]]] * 25)]]] * 99 + [["or", *([EQUAL] * 50)]],
    [["month", "in", list(range(1000))]] * 5,
]


@pytest.mark.parametrize("within", FIVE_THOUSAND)
def test_comparisons_and_values_are_limited_over_all_predicates_together(
    within: list[list[Any]],
) -> None:
    parse_query(query(where=within), dataset())
    with pytest.raises(InvalidParameter) as refusal:
        parse_query(query(where=[["and", within[0], EQUAL], *within[1:]]), dataset())
    assert refusal.value.pointer == "/spec/where"


def test_predicates_nested_too_deep_are_refused() -> None:
    predicate: list[Any] = ["month", "=", 1]
    for _ in range(8):
        predicate = ["not", predicate]
    with pytest.raises(InvalidParameter):
        parse_query(query(where=[predicate]), dataset())


def test_gaussian_noise_at_delta_zero_is_refused() -> None:
    document = simple([{"fn": "count"}], privacy={"epsilon": "1", "noise": "discrete_gaussian"})
    with pytest.raises(DeltaRequired):
        parse_query(document, dataset())


def test_a_relation_without_proven_queries_is_refused() -> None:
    with pytest.raises(MechanismNotPriced):
        parse_query(simple([{"fn": "count"}]), record_level("zero_out"))


def test_a_public_dataset_is_not_queried_for_a_charge() -> None:
    public = dataset_from_json(
        {key: DATASET[key] for key in ("name", "columns", "source")} | {"access": "public"}, id="d"
    )
    with pytest.raises(InvalidParameter):
        parse_query(simple([{"fn": "count"}]), public)


def test_too_many_public_cells_are_refused() -> None:
    edges = list(range(1001))
    document = simple(
        [{"fn": "count"}],
        group_by=[{"bin": "distance", "edges": edges}, {"bin": "delay", "edges": edges}],
    )
    with pytest.raises(TooManyGroups) as refused:
        plan(document)
    assert refused.value.cells == 1_000_000


@pytest.mark.parametrize("high", ["9007199254740992", "1000000000000000"])
def test_sums_that_could_leave_exact_integers_are_refused(high: str) -> None:
    with pytest.raises(RangeTooWide):
        plan(simple([{"fn": "sum", "col": "distance", "lo": "0", "hi": high}]))


def test_a_sum_is_charged_for_its_larger_bound_in_every_group() -> None:
    document = simple(
        [{"fn": "sum", "col": "distance", "lo": "-7000", "hi": "5000", "grid": "10"}],
        group_by=[{"col": "month", "keys": "domain"}],
    )
    (noisy,) = plan(document).noisy
    assert noisy.mechanism == DiscreteLaplace("21000", str(3 * 10 * 700), sampler="opendp/0.16")
    assert noisy.scale == 21000


def test_gaussian_noise_is_charged_for_the_root_of_the_groups() -> None:
    privacy = {"epsilon": "1", "delta": "1e-10", "noise": "discrete_gaussian"}
    document = simple(
        [{"fn": "count"}], group_by=[{"col": "month", "keys": "domain"}], privacy=privacy
    )
    (noisy,) = plan(document).noisy
    mechanism = noisy.mechanism
    assert isinstance(mechanism, DiscreteGaussian)
    assert Fraction(mechanism.sensitivity_l2) ** 2 >= 300
    assert float(mechanism.sensitivity_l2) == pytest.approx(math.sqrt(300), rel=1e-15)


def test_one_group_is_one_group_even_for_a_user_with_three() -> None:
    assert plan(simple([{"fn": "count"}])).groups == 1
    two = [{"col": "month", "keys": [1, 2]}]
    assert plan(simple([{"fn": "count"}], group_by=two)).groups == 2
    private = [{"col": "dest", "keys": "private"}]
    assert plan(simple([{"fn": "count"}], group_by=private)).groups == 3


def test_a_mean_and_a_count_share_one_charged_count() -> None:
    bounded = {"col": "distance", "lo": "0", "hi": "5000"}
    made = plan(simple([{"fn": "mean", **bounded}, {"fn": "count"}]))
    assert [noisy.quantity.kind for noisy in made.noisy] == ["centred_sum", "count"]
    assert made.outputs[0].count == made.outputs[1].value == 1
    # The mean is half sum, half count; the count adds its own weight.
    assert made.noisy[0].scale == 4 * made.noisy[0].quantity.bound
    assert made.noisy[0].quantity.bound == 10 * 2500


def test_a_mean_of_a_nullable_column_counts_its_values_not_rows() -> None:
    bounded = {"col": "delay", "lo": "0", "hi": "10", "grid": "1"}
    made = plan(simple([{"fn": "mean", **bounded}, {"fn": "count"}]))
    assert [noisy.quantity.column for noisy in made.noisy] == ["delay", "delay", None]


def test_private_keys_are_charged_for_the_hidden_count_of_units() -> None:
    made = plan(simple([{"fn": "count"}], group_by=[{"col": "dest", "keys": "private"}]))
    guard, count = made.noisy
    assert isinstance(guard.mechanism, Threshold)
    assert guard.mechanism.groups == 3
    assert guard.mechanism.delta == Decimal("1e-10")
    assert guard.threshold is not None
    assert count.threshold is None
    assert guard.quantity.kind == "units"
    assert count.quantity.bound == 10


def test_a_record_level_count_is_the_threshold_count_itself() -> None:
    document = simple([{"fn": "count"}], group_by=[{"col": "dest", "keys": "private"}])
    made = plan(document, record_level())
    assert len(made.parts) == 1
    assert made.outputs[0].value == 0
    assert made.groups == 1


@pytest.mark.parametrize("noise", ["discrete_laplace", "discrete_gaussian"])
@pytest.mark.parametrize("relation", ["add_remove", "replace_one"])
@pytest.mark.parametrize("keys", [[], [{"col": "dest", "keys": "private"}]])
def test_the_charge_of_a_plan_stays_within_its_target(
    noise: str, relation: str, keys: list[dict[str, Any]]
) -> None:
    on = dataset(relation=relation)
    measures = [*QUERY["measures"], {"fn": "mean", "col": "distance"}]
    privacy = {"epsilon": "0.7", "delta": "1e-9", "noise": noise}
    made = plan(simple(measures, group_by=keys, privacy=privacy), on)
    loss = charge_parts((price(part.mechanism, relation), 1) for part in made.parts)
    if noise == "discrete_laplace":
        assert 0.699 * ATTO <= loss.maximum_atto <= 0.7 * ATTO
        assert loss.delta_atto <= 1e-9 * ATTO
        return
    # Approximate RDP: the charged delta and the conversion's own add up.
    left = 1e-9 - loss.delta_atto / ATTO
    epsilon = min(
        nats / NAT_2P40 + (-math.log(left) + (a - 1) * math.log1p(-1 / a) - math.log(a)) / (a - 1)
        for a, nats in ((float(o), n) for o, n in zip(ORDERS, loss.nats_2p40, strict=True))
    )
    assert epsilon <= 0.7 * 1.01  # the ledger's 36 orders stand beside the optimum
    assert epsilon >= 0.6


def test_weights_move_noise_from_one_measure_to_another() -> None:
    heavy = plan(simple([{"fn": "count", "weight": "3"}, {"fn": "count", "col": "delay"}]))
    assert heavy.noisy[1].scale == pytest.approx(3 * heavy.noisy[0].scale, rel=Decimal("1e-4"))


def test_auto_takes_gaussian_noise_where_many_groups_share_one_user() -> None:
    many = dataset(
        unit_of_privacy={**DATASET["unit_of_privacy"], "max_groups_per_user": 500},
    )
    document = simple(
        [{"fn": "count"}],
        group_by=[{"bin": "distance", "edges": list(range(1000))}],
        privacy={"epsilon": "1", "delta": "1e-8"},
    )
    assert plan(document, many).noisy[0].noise == "discrete_gaussian"
    document["group_by"] = []
    assert plan(document, many).noisy[0].noise == "discrete_laplace"


def test_predicted_widths_are_given_for_every_measure() -> None:
    made = plan(QUERY)
    assert list(made.half_widths) == ["count", "sum(distance)", "mean(delay)"]
    assert made.predicted[2].assumed_count == max(n.threshold or 0 for n in made.noisy)
    assert all(Decimal(width) > 0 for width in made.half_widths.values())


def test_a_target_that_no_mechanism_can_be_priced_for_is_refused() -> None:
    tiny = [{"fn": "count", "weight": "0.001"}, {"fn": "count", "col": "delay", "weight": "1000"}]
    privacy = {"epsilon": "1e-6", "delta": "1e-14", "noise": "discrete_gaussian"}
    with pytest.raises(InvalidParameter) as refused:
        plan(simple(tiny, privacy=privacy))
    assert refused.value.pointer == "/spec/privacy/epsilon"
