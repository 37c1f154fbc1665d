"""Models of the registry on the wire."""

from typing import Any

from pydantic import Field

from app.api.wire import WireAnswer
from app.domain.training.models import Reads


class ModelRead(WireAnswer):
    """A model that a training spec may name.

    reads: what it takes of a record; where there are several, its options decide.
    options: JSON Schema of what may stand beside `name` in a spec's `model`.
    installed: brought by a package. accepted: of such a one, whether a worker has found that its
    rows stay apart and every trained parameter is clipped.
    """

    name: str
    title: str
    reads: list[Reads] = Field(description="What it takes of a record; options decide which.")
    options: dict[str, Any] = Field(description="JSON Schema of what stands beside `name`.")
    installed: bool
    accepted: bool


class ModelList(WireAnswer):
    """Every model."""

    items: list[ModelRead]
