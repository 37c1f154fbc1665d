"""Models of the registry on the wire."""

from typing import Any

from pydantic import Field

from app.api.wire import WireAnswer
from app.domain.training.models import Reads


class ModelRead(WireAnswer):
    """A model that a training spec may name.

    reads: what it takes of a record; where there are several, its options decide.
    options: JSON Schema of what may stand beside `name` in a spec's `model`.
    """

    name: str
    title: str
    reads: list[Reads] = Field(description="What it takes of a record; options decide which.")
    options: dict[str, Any] = Field(description="JSON Schema of what stands beside `name`.")


class ModelList(WireAnswer):
    """Every model."""

    items: list[ModelRead]
