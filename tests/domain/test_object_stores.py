"""What an admin may say of a store: one form of each address, and no secret in any answer."""

from typing import Any

import pytest

from app.domain.errors import InvalidParameter
from app.domain.object_stores import (
    ObjectStore,
    object_address,
    object_location,
    parse_bucket,
    parse_store,
    require_object,
)

STORE: dict[str, Any] = {
    "endpoint": "https://S3.eu-central-1.amazonaws.com:443/",
    "region": "eu-central-1",
    "credentials": "env:EPSILON_SOURCE_LAKE",
}
PLACE = parse_store(STORE)


def test_a_store_is_kept_in_one_form() -> None:
    assert PLACE.endpoint == "https://s3.eu-central-1.amazonaws.com"
    assert parse_bucket("s3://lake/visits/2024/") == parse_bucket("s3://lake/visits/2024")
    assert parse_store({**STORE, "endpoint": "http://127.0.0.1:9000"}).endpoint.endswith(":9000")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("endpoint", "http://store.example"),
        ("endpoint", "ftp://store.example"),
        ("endpoint", "https://me:hunter2@store.example"),
        ("endpoint", "https://store.example/lake"),
        ("endpoint", "https://store.example?hunter2"),
        ("endpoint", "https://store.example:70000"),
        ("endpoint", "https://store example"),
        ("endpoint", "store.example"),
        ("region", "eu central"),
        ("region", "eu/s3"),
        ("credentials", '{"secret_access_key": "hunter2"}'),
        ("credentials", "env:HOME"),
    ],
)
def test_a_store_that_could_be_another_is_refused_and_not_repeated(key: str, value: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_store({**STORE, key: value})
    assert refused.value.pointer == f"/store/{key}"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "root",
    [
        "s3://",
        "s3://La",
        "s3://lake//visits",
        "s3://lake/../other",
        "s3://lake/./visits",
        "s3://la..ke",
        "s3://lake/visits?x=1",
        "s3://lake/%2e%2e",
        "s3://me:hunter2@lake/visits",
        "https://lake/visits",
        "lake",
    ],
)
def test_a_root_that_could_be_another_is_refused(root: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_bucket(root)


@pytest.mark.parametrize("path", ["../a.csv", "a/../b", "a//b", "./a", "a/", "a\nb", "a\\b", ""])
def test_a_key_that_could_be_another_is_refused(path: str) -> None:
    with pytest.raises(InvalidParameter):
        require_object(path, "/path")


def test_an_object_has_one_place_whichever_way_its_bucket_is_said() -> None:
    hosted = ObjectStore("https://lake.s3.eu-central-1.amazonaws.com", PLACE.region, "env:X")
    assert object_address(PLACE, "s3://lake/a b", "c+d.csv") == (
        "https://s3.eu-central-1.amazonaws.com/lake/a%20b/c%2Bd.csv"
    )
    assert object_address(hosted, "s3://lake", "rows.csv") == (
        "https://lake.s3.eu-central-1.amazonaws.com/rows.csv"
    )
    places = {
        object_location(store, root, path)
        for store in (PLACE, hosted)
        for root, path in (("s3://lake", "a/b/c.csv"), ("s3://lake/a", "b/c.csv"))
    }
    assert len(places) == 1
    assert object_location(PLACE, "s3://pond", "a/b/c.csv") not in places
