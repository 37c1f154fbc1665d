"""The models that a training job may name: public facts, the same for whoever is signed in."""

from dataclasses import dataclass
from typing import Any

from app.domain.training.registry import MODELS
from app.services.access import Caller


@dataclass(frozen=True, slots=True)
class Models:
    """Use cases about the registry."""

    def list(self, caller: Caller) -> list[dict[str, Any]]:
        """Every model with the schema of its options and what it reads of a record."""
        del caller  # anybody who is signed in
        return [model.to_json() for model in MODELS.values()]
