"""Bodies that are wrong in one place: each is refused as the caller's fault and leaves no row."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.auth import PERMISSIONS
from app.api.examples import EXAMPLES
from app.main import ROUTERS
from tests.api.test_bad_input import counts
from tests.api.world import World, fresh_key, open_root, register

SEED = 20_261_122
SHORT, LONG = 600, 10_000
# of every kind of JSON value one that no field takes where it has another
STRANGE: list[Any] = [1.5, -(2**62), True, "\u0000", [[]], {"surprise": 1}, "9" * 5000]
BROKEN = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"{}{}",
    b'{"a":1,"a":2}',
    b'{"reason":NaN}',
    b'{"reason":"\\ud800"}',
    b'{"limit":1e999}',
    b"\xff\xfe{}",
    b"\x00",
    b"[" * 5000,
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b"x" * 100_000,
]
ROUTES: list[Any] = [route for router in ROUTERS for route in router.routes]
PLACES = {route.name: route for route in ROUTES}
ROLES = ("compliance_officer", "ml_engineer", "admin")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a body, at any depth."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def at(body: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        body = body[key]
    return body


def strange_for(value: Any, chosen: random.Random) -> Any:
    """A value of another JSON kind."""
    others = [each for each in STRANGE if type(each) is not type(value)]
    return chosen.choice(others)


def malformed(body: dict[str, Any], chosen: random.Random) -> bytes:
    """The body with one thing wrong in it."""
    changed = copy.deepcopy(body)
    path = chosen.choice(list(places(changed)))
    match chosen.randrange(4):
        case 0:
            return chosen.choice(BROKEN)
        case 1:
            inside = [path for path in places(changed) if isinstance(at(changed, path), dict)]
            target = at(changed, chosen.choice([(), *inside]))
            target["surprise"] = chosen.choice(STRANGE)
        case _:
            at(changed, path[:-1])[path[-1]] = strange_for(at(changed, path), chosen)
    return json.dumps(changed).encode()


@pytest.mark.parametrize("number", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_no_malformed_body_is_our_fault_or_leaves_a_row(on_sqlite: World, number: int) -> None:
    world, chosen = on_sqlite, random.Random(SEED)
    dataset = register(world)
    ids = {"dataset_id": dataset, "budget_id": open_root(world, dataset)}
    ids["project_id"] = world.ids["team"]
    before = counts(world)
    for _ in range(number):
        operation = chosen.choice(sorted(EXAMPLES))
        body = malformed(chosen.choice(list(EXAMPLES[operation].values())), chosen)
        route = PLACES[operation]
        unknown = "6112bc5e-7dc0-4137-8c8a-85ea9274c8be"
        path = route.path.format_map(
            {name: ids.get(name, unknown) for name in route.param_convertors}
        )
        role = next((role for role in ROLES if role in PERMISSIONS.get(operation, ())), "admin")
        answer = world.client.request(
            next(iter(route.methods)),
            f"/v1{path}",
            content=body,
            headers={
                "Authorization": f"Bearer {world.keys[role]}",
                "Content-Type": "application/json",
                "Idempotency-Key": fresh_key(),
                "If-Match": '"1"',
            },
        )
        assert 400 <= answer.status_code < 500, (operation, body[:500], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert counts(world) == before
