"""The name of a release: equal for equal requests, another one for whatever differs (L2)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.releases import release_sha256

IDS = st.sampled_from(["a1", "b2", "c3"])
RANGES = st.one_of(
    st.just("all"),
    st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=2),
)
INPUTS = st.fixed_dictionaries(
    {
        "dataset_id": IDS,
        "version": st.integers(1, 3),
        "budget_id": IDS,
        "blocks": RANGES,
    },
    optional={"slots": st.lists(st.sampled_from(["s", "t"]), min_size=1, max_size=2)},
)
REQUESTS = st.tuples(
    st.sampled_from(["0" * 64, "1" * 64]),
    st.lists(INPUTS, min_size=1, max_size=3, unique_by=lambda each: str(each["dataset_id"])),
    st.dictionaries(IDS, st.integers(1, 3), max_size=2),
)
Request = tuple[str, list[dict[str, Any]], dict[str, int]]


def canonical(request: Request) -> Request:
    spec, (first, *others), public = request
    return spec, [first, *sorted(others, key=lambda each: str(each["dataset_id"]))], public


@given(REQUESTS, REQUESTS)
def test_two_requests_share_a_name_exactly_when_they_ask_for_the_same(
    one: Request, other: Request
) -> None:
    is_same = canonical(one) == canonical(other)
    assert (release_sha256(*one) == release_sha256(*other)) is is_same


@given(REQUESTS, st.data())
def test_a_request_with_one_thing_changed_has_another_name(
    request: Request, data: st.DataObject
) -> None:
    spec, inputs, public = request
    place = data.draw(st.integers(0, len(inputs) - 1))
    changes: dict[str, Any] = {
        "dataset_id": "d4",
        "version": 9,
        "budget_id": "e5",
        "blocks": [[7, 8]],
        "slots": ["u"],
    }
    field = data.draw(st.sampled_from(sorted(changes)))
    changed = [dict(each) for each in inputs]
    changed[place][field] = changes[field]
    names = {
        release_sha256(spec, inputs, public),
        release_sha256(spec, changed, public),
        release_sha256("2" * 64, inputs, public),
        release_sha256(spec, inputs, {**public, "f6": 1}),
    }
    assert len(names) == 4


@given(REQUESTS)
def test_the_order_of_joined_inputs_and_of_public_tables_does_not_matter(request: Request) -> None:
    spec, (first, *others), public = request
    turned = dict(reversed(public.items()))
    assert release_sha256(spec, [first, *others], public) == release_sha256(
        spec, [first, *reversed(others)], turned
    )
