from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import (
    BoundsRequired,
    DomainError,
    InvalidParameter,
    RangeTooWide,
    RefusedByName,
    TooManyGroups,
)
from app.domain.queries import parse_query, plan_query
from app.domain.queries.preview import preview
from tests.domain.queries.test_queries import dataset, plan, simple

QUANTILE = {"fn": "quantile", "col": "delay", "lo": "-60", "hi": "180", "q": ["0.5"]}
BINNED = {"fn": "histogram", "col": "delay", "lo": "-60", "hi": "180", "bins": 4}
AT = "/spec/measures/0"

REFUSED: list[tuple[dict[str, Any], type[DomainError], str]] = [
    ({**QUANTILE, "q": []}, InvalidParameter, f"{AT}/q"),
    ({**QUANTILE, "q": ["0"]}, InvalidParameter, f"{AT}/q/0"),
    ({**QUANTILE, "q": ["1"]}, InvalidParameter, f"{AT}/q/0"),
    ({**QUANTILE, "q": ["0.5", "0.50"]}, InvalidParameter, f"{AT}/q/1"),
    ({**QUANTILE, "q": ["0.12345"]}, InvalidParameter, f"{AT}/q/0"),
    ({**QUANTILE, "q": [0.5]}, InvalidParameter, f"{AT}/q/0"),
    ({**QUANTILE, "q": [f"0.{n:03}" for n in range(1, 52)]}, InvalidParameter, f"{AT}/q"),
    ({key: QUANTILE[key] for key in ("fn", "col", "lo", "hi")}, InvalidParameter, f"{AT}/q"),
    ({"fn": "quantile", "col": "delay", "q": ["0.5"]}, BoundsRequired, f"{AT}/lo"),
    ({**QUANTILE, "lo": "180"}, InvalidParameter, f"{AT}/hi"),
    ({**QUANTILE, "bins": 1}, InvalidParameter, f"{AT}/bins"),
    ({**QUANTILE, "bins": 65537}, InvalidParameter, f"{AT}/bins"),
    ({**QUANTILE, "bins": "64"}, InvalidParameter, f"{AT}/bins"),
    ({**QUANTILE, "edges": [0, 1]}, InvalidParameter, f"{AT}/edges"),
    ({**QUANTILE, "grid": "1"}, InvalidParameter, f"{AT}/grid"),
    ({**QUANTILE, "col": "dest"}, InvalidParameter, f"{AT}/col"),
    ({**QUANTILE, "col": "tailnum"}, InvalidParameter, f"{AT}/col"),
    ({**BINNED, "bins": 1001}, InvalidParameter, f"{AT}/bins"),
    ({**BINNED, "edges": [0, 1]}, InvalidParameter, f"{AT}/lo"),
    ({**BINNED, "q": ["0.5"]}, InvalidParameter, f"{AT}/q"),
    ({"fn": "histogram", "col": "delay", "edges": [1, 0]}, InvalidParameter, f"{AT}/edges/1"),
    ({"fn": "histogram", "col": "distance"}, InvalidParameter, f"{AT}/bins"),
    ({"fn": "variance", "col": "delay"}, BoundsRequired, f"{AT}/lo"),
    ({"fn": "stdev", "col": "night"}, InvalidParameter, f"{AT}/col"),
    ({"fn": "count_distinct", "col": "dest"}, InvalidParameter, f"{AT}/col"),
    ({"fn": "top_k", "col": "month"}, InvalidParameter, f"{AT}/k"),
    ({"fn": "top_k", "col": "month", "k": 4}, InvalidParameter, f"{AT}/k"),
    ({"fn": "top_k", "col": "month", "k": 0}, InvalidParameter, f"{AT}/k"),
    ({"fn": "top_k", "col": "dest", "k": 2}, RefusedByName, f"{AT}/col"),
    ({"fn": "top_k", "col": "origin", "k": 1}, RefusedByName, f"{AT}/col"),
]


@pytest.mark.parametrize(("measure", "refusal", "pointer"), REFUSED)
def test_a_faulty_measure_is_refused_with_a_pointer_before_any_data(
    measure: dict[str, Any], refusal: type[DomainError], pointer: str
) -> None:
    with pytest.raises(refusal) as refused:
        parse_query(simple([measure]), dataset())
    assert getattr(refused.value, "pointer", None) == pointer


SHOWN: list[tuple[dict[str, Any], str]] = [
    ({"having": [["count", ">", "5"], ["mean(delay)", ">", "5"]]}, "/spec/having/1/0"),
    ({"having": [["count", "~", "5"]]}, "/spec/having/0/1"),
    ({"having": [["count", ">", 0.5]]}, "/spec/having/0/2"),
    ({"having": [["count", ">"]]}, "/spec/having/0"),
    ({"having": [["histogram(delay)", ">", "1"]]}, "/spec/having/0/0"),
    ({"order_by": [{"by": "delay"}]}, "/spec/order_by/0/by"),
    ({"order_by": [{"by": "count", "desc": "yes"}]}, "/spec/order_by/0/desc"),
    ({"order_by": [{"by": "count"}, {"by": "count", "desc": True}]}, "/spec/order_by/1/by"),
    ({"limit": 0}, "/spec/limit"),
    ({"limit": "3"}, "/spec/limit"),
]


@pytest.mark.parametrize(("changes", "pointer"), SHOWN)
def test_what_is_shown_is_said_in_released_names_only(
    changes: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_query(simple([{"fn": "count"}, BINNED], **changes), dataset())
    assert refused.value.pointer == pointer


def test_showing_less_of_a_release_changes_no_charge() -> None:
    plain = simple([{"fn": "count"}], group_by=[{"col": "month", "keys": "domain"}])
    shown = {
        **plain,
        "having": [["count", ">=", "10"]],
        "order_by": [{"by": "count", "desc": True}, {"by": "month"}],
        "limit": 2,
    }
    assert plan(shown).parts == plan(plain).parts
    stored = parse_query(shown, dataset()).to_json()
    assert parse_query(stored, dataset()).to_json() == stored
    assert stored["limit"] == 2


def test_bins_of_whole_numbers_are_no_finer_than_the_numbers() -> None:
    spec = parse_query(simple([{**QUANTILE, "col": "month", "lo": "1", "hi": "12"}]), dataset())
    assert spec.measures[0].bins == 11


def test_a_range_too_wide_for_exact_bins_is_refused() -> None:
    wide = {**QUANTILE, "col": "distance", "lo": "0", "hi": str(2**50)}
    with pytest.raises(RangeTooWide):
        plan(simple([wide]))


@pytest.mark.parametrize(
    ("measure", "most"),
    [({**QUANTILE, "bins": 1024}, 1562), ({**BINNED, "bins": 1000}, 100)],
)
def test_groups_times_the_work_of_a_measure_are_limited(measure: dict[str, Any], most: int) -> None:
    for groups, refused in ((most, False), (most + 1, True)):
        edges = list(range(min(groups, 1000) + 1))
        keys: list[dict[str, Any]] = [{"bin": "distance", "edges": edges}]
        if groups > 1000:
            keys = [
                {"bin": "distance", "edges": list(range(groups // 2 + 1))},
                {"bin": "month", "edges": [0, 1, 2]},
            ]
        document = simple([measure], group_by=keys)
        if refused and groups > 1000:
            document["group_by"][0]["edges"] = list(range(groups // 2 + 2))
        spec = parse_query(document, dataset())
        if not refused:
            plan_query(spec, dataset())
            continue
        with pytest.raises(TooManyGroups):
            plan_query(spec, dataset())


def test_the_digest_names_what_is_asked_and_not_how_it_is_written() -> None:
    first = parse_query(simple([QUANTILE]), dataset())
    privacy = {"epsilon": "1.0", "delta": "0.0000000001", "noise": "discrete_laplace"}
    again = parse_query(
        simple([{**QUANTILE, "lo": "-60.0", "bins": 1024}], privacy=privacy), dataset()
    )
    assert first.to_json() != again.to_json()
    assert first.spec_sha256 == again.spec_sha256
    others: list[dict[str, Any]] = [
        simple([{**QUANTILE, "lo": "-61"}]),
        simple([QUANTILE], where=[["month", "=", 1]]),
        simple([QUANTILE], limit=1),
        simple([QUANTILE], privacy={**privacy, "epsilon": "2"}),
    ]
    digests = {parse_query(other, dataset()).spec_sha256 for other in others}
    assert len(digests) == 4
    assert first.spec_sha256 not in digests


def test_a_literal_true_is_not_the_literal_one_in_a_digest() -> None:
    digests = [
        parse_query(simple([{"fn": "count"}], where=[where]), dataset()).spec_sha256
        for where in (["night", "=", True], ["month", "=", 1], ["dest", "=", "1"])
    ]
    assert len(set(digests)) == 3


def test_every_released_cell_has_a_predicted_error() -> None:
    measures: list[dict[str, Any]] = [
        {**QUANTILE, "q": ["0.25", "0.5"]},
        {**QUANTILE, "q": [f"0.{n}1" for n in range(10)]},
        BINNED,
        {"fn": "stdev", "col": "delay", "lo": "-60", "hi": "180", "grid": "0.5"},
        {"fn": "variance", "col": "delay", "lo": "-60", "hi": "180", "grid": "0.5"},
        {"fn": "top_k", "col": "month", "k": 1},
        {"fn": "count_distinct"},
    ]
    made = plan(simple(measures))
    assert len(made.predicted) == len(made.outputs) == 2 + 10 + 5
    assert list(made.half_widths) == list(made.spec.output_names)
    assert all(Decimal(width) > 0 for width in made.half_widths.values())
    ranks = [error.measure for error in made.predicted if error.in_ranks]
    assert len(ranks) == 12
    assert preview(made)["spec_sha256"] == made.spec.spec_sha256
