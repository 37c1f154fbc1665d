"""What one installation can train: which models, on which devices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from app.domain.training.registry import MODELS, RegisteredModel
from app.domain.training.spec import Device


@dataclass(frozen=True, slots=True)
class Offer:
    """What a spec may ask of this installation.

    models: by name; ours, and those that an administrator installed.
    devices: for which a worker is configured.
    """

    models: Mapping[str, RegisteredModel] = field(default_factory=lambda: MODELS)
    devices: frozenset[Device] = frozenset({"cpu"})


OURS: Final = Offer()
