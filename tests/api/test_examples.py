"""Every body that the description shows is one that the service would take."""

from typing import Any

import pytest
from fastapi.routing import APIRoute

from app.api.examples import EXAMPLES
from app.main import ROUTERS

ROUTES = [each for router in ROUTERS for each in router.routes if isinstance(each, APIRoute)]
WITH_BODY = {route.name: route for route in ROUTES if route.body_field is not None}


def test_every_route_that_takes_a_body_shows_one_and_no_other_does() -> None:
    assert set(EXAMPLES) == set(WITH_BODY)


@pytest.mark.parametrize("operation", sorted(EXAMPLES))
def test_a_body_that_is_shown_is_read_without_a_complaint(operation: str) -> None:
    field: Any = WITH_BODY[operation].body_field
    for name, body in EXAMPLES[operation].items():
        _, faults = field.validate(body, loc=("body",))
        assert not faults, (name, faults)
        read = field.field_info.annotation.model_validate(body)
        if hasattr(read, "to_request"):
            read.to_request()
