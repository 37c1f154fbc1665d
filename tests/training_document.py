"""The spec of a small logistic regression, which tests of several floors change as they need."""

from typing import Any


def training_document(features: list[str], label: str | None, **changes: Any) -> dict[str, Any]:
    """A spec that reads these columns; a change of None takes the key away."""
    document = {
        "v": 1,
        "algorithm": "dp_sgd",
        "model": {"name": "logistic"},
        "features": features,
        "label": label,
        "loss": "cross_entropy",
        "sampling": {"kind": "poisson", "rate": "0.5"},
        "steps": 3,
        "clip": {"mode": "flat", "norm_l2": "1"},
        "noise": {"noise_multiplier": "2"},
        "optimizer": {"name": "sgd", "learning_rate": 0.5},
        **changes,
    }
    return {key: value for key, value in document.items() if value is not None}
