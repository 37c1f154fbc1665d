from typing import Any

import pytest

from app.domain.datasets import dataset_from_json
from app.domain.errors import (
    BoundsRequired,
    DeltaRequired,
    DomainError,
    InvalidParameter,
    MechanismNotPriced,
    RefusedByName,
)
from app.domain.profiles import parse_profile
from tests.domain.queries.test_queries import DATASET, dataset, record_level

PROFILE: dict[str, Any] = {
    "v": 1,
    "groupings": [
        {"by": [{"col": "dest", "keys": "private"}], "groups_most": 20},
        {"by": [{"bin": "distance", "edges": [0, "1e3"]}, {"col": "month", "keys": "domain"}]},
        {"by": []},
    ],
    "values": [{"col": "delay", "lo": "-60", "hi": "180", "q": ["0.05", "0.95"], "weight": "2"}],
    "privacy": {"epsilon": "2", "delta": "0"},
}
BY = "/spec/groupings/0"
VALUE = "/spec/values/0"


def profile(**changes: Any) -> dict[str, Any]:
    return {**PROFILE, **changes}


def grouped(**changes: Any) -> dict[str, Any]:
    return profile(groupings=[{"by": [], **changes}])


def valued(**changes: Any) -> dict[str, Any]:
    return profile(values=[{**PROFILE["values"][0], **changes}])


def test_a_stored_profile_is_complete_and_parses_to_itself() -> None:
    spec = parse_profile(PROFILE, dataset())
    stored = spec.to_json()
    assert parse_profile(stored, dataset()) == spec
    assert parse_profile(stored, dataset()).to_json() == stored
    assert stored["groupings"][2] == {
        "by": [],
        "groups_most": 64,
        "rows_most": 1024,
        "weight": "1",
    }
    assert stored["values"][0]["bins"] == 1024
    assert stored["bounds"] == {"max_rows": 1}


def test_by_default_all_rows_of_a_user_and_all_bounded_columns_are_profiled() -> None:
    short = {"v": 1, "privacy": PROFILE["privacy"]}
    spec = parse_profile(short, dataset())
    assert [grouping.by for grouping in spec.groupings] == [()]
    assert [measure.column for measure in spec.values] == ["distance"]
    assert [str(q) for q in spec.values[0].quantiles] == ["0.01", "0.5", "0.99"]
    assert parse_profile(short, record_level()).groupings == ()


REFUSED: list[tuple[dict[str, Any], type[DomainError], str]] = [
    (profile(v=2), InvalidParameter, "/spec/v"),
    (profile(v=True), InvalidParameter, "/spec/v"),
    ({"v": 1}, InvalidParameter, "/spec/privacy"),
    (profile(where=[]), InvalidParameter, "/spec/where"),
    (profile(groupings={}), InvalidParameter, "/spec/groupings"),
    (profile(groupings=[{"by": []}] * 9), InvalidParameter, "/spec/groupings"),
    (profile(groupings=[{}]), InvalidParameter, f"{BY}/by"),
    (grouped(most=3), InvalidParameter, f"{BY}/most"),
    (grouped(rows_most=0), InvalidParameter, f"{BY}/rows_most"),
    (grouped(rows_most="8"), InvalidParameter, f"{BY}/rows_most"),
    (grouped(groups_most=1_000_001), InvalidParameter, f"{BY}/groups_most"),
    (grouped(weight="0"), InvalidParameter, f"{BY}/weight"),
    (grouped(weight=1), InvalidParameter, f"{BY}/weight"),
    (grouped(by=[{"col": "nowhere", "keys": "private"}]), InvalidParameter, f"{BY}/by/0/col"),
    (grouped(by=[{"col": "tailnum", "keys": "private"}]), InvalidParameter, f"{BY}/by/0/col"),
    (grouped(by=[{"col": "origin", "keys": ["EWR"]}]), RefusedByName, f"{BY}/by/0/keys"),
    (profile(groupings=[{"by": []}, {"by": []}]), InvalidParameter, "/spec/groupings/1/by"),
    (profile(groupings=[], values=[]), InvalidParameter, "/spec/values"),
    (valued(col="dest"), InvalidParameter, f"{VALUE}/col"),
    (valued(col="pixels"), InvalidParameter, f"{VALUE}/col"),
    (valued(fn="sum"), InvalidParameter, f"{VALUE}/fn"),
    (valued(grid="1"), InvalidParameter, f"{VALUE}/grid"),
    (valued(q=[]), InvalidParameter, f"{VALUE}/q"),
    (valued(q=["0", "0.5"]), InvalidParameter, f"{VALUE}/q/0"),
    (valued(q=["1"]), InvalidParameter, f"{VALUE}/q/0"),
    (valued(q=[0.5]), InvalidParameter, f"{VALUE}/q/0"),
    (valued(q=[f"0.{tenth}" for tenth in range(1, 7)]), InvalidParameter, f"{VALUE}/q"),
    (valued(hi="-60"), InvalidParameter, f"{VALUE}/hi"),
    (valued(bins=1), InvalidParameter, f"{VALUE}/bins"),
    (profile(values=[{"col": "delay"}]), BoundsRequired, f"{VALUE}/lo"),
    (profile(values=[{"col": "distance"}] * 2), InvalidParameter, "/spec/values/1/col"),
    (profile(bounds={"max_rows": 11}), InvalidParameter, "/spec/bounds/max_rows"),
    (profile(bounds={"max_groups": 1}), InvalidParameter, "/spec/bounds/max_groups"),
    (profile(privacy={"epsilon": 1}), InvalidParameter, "/spec/privacy/epsilon"),
    (profile(privacy={"epsilon": "NaN"}), InvalidParameter, "/spec/privacy/epsilon"),
    (profile(privacy={"epsilon": "0"}), InvalidParameter, "/spec/privacy/epsilon"),
    (
        profile(privacy={"epsilon": "1", "noise": "discrete_gaussian"}),
        DeltaRequired,
        "/spec/privacy/delta",
    ),
]


@pytest.mark.parametrize(("document", "refusal", "pointer"), REFUSED)
def test_a_faulty_profile_is_refused_with_a_pointer_before_any_data(
    document: dict[str, Any], refusal: type[DomainError], pointer: str
) -> None:
    with pytest.raises(refusal) as refused:
        parse_profile(document, dataset())
    assert getattr(refused.value, "pointer", None) == pointer


@pytest.mark.parametrize("document", [None, [], "profile", 1])
def test_what_is_no_object_is_no_profile(document: object) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_profile(document, dataset())
    assert refused.value.pointer == "/spec"


def test_the_same_groups_in_another_order_are_the_same_groups() -> None:
    month, dest = {"col": "month", "keys": [1, 2]}, {"col": "dest", "keys": "private"}
    again = [{"col": "dest", "keys": "private"}, {"col": "month", "keys": [2, 1]}]
    with pytest.raises(InvalidParameter) as refused:
        parse_profile(profile(groupings=[{"by": [month, dest]}, {"by": again}]), dataset())
    assert refused.value.pointer == "/spec/groupings/1/by"


def test_groups_of_records_are_refused() -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_profile(PROFILE, record_level())
    assert refused.value.pointer == "/spec/groupings"


def test_a_dataset_that_queries_refuse_is_not_profiled() -> None:
    with pytest.raises(MechanismNotPriced):
        parse_profile(PROFILE, dataset(relation="zero_out"))
    kept = {key: DATASET[key] for key in ("name", "source", "columns")}
    with pytest.raises(InvalidParameter):
        parse_profile(PROFILE, dataset_from_json({**kept, "access": "public"}, id="d1"))
