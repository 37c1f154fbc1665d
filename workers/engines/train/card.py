"""The model card: what the released model is, what it cost, and what is not claimed for it (L9).

Everything in it is public: parameters, charges, versions. No row count, draw size or norm (R13).
"""

import platform
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from importlib.metadata import distribution, version
from typing import Any

from app.domain.datasets import Dataset
from app.domain.decimals import decimal_text, text_up
from app.domain.training.installed import base_json
from app.domain.training.models import TRANSFORMER_LM, TransformerLm
from app.domain.training.spec import DRAW_SAMPLER, NOISE_SAMPLER, TrainSpec
from workers.engines.api import Input
from workers.engines.train.networks import ACTIVATIONS, INITIAL_WEIGHTS

LIBRARIES = ("torch", "numpy", "duckdb", "safetensors")
ASSUMPTIONS = (
    "assumes ideal Gaussian noise: the noise is drawn and added in floating point (R25)",
    "assumes that ChaCha20 and the operating system's generator are not told from random",
    "rounding of the summed gradients comes on top of the clipping bound",
)
LIMITS = (
    "numbers outside their public bounds are clamped to them; missing numbers become the low bound",
    "records whose label is missing or outside the public domain are not trained on",
    "when a run settles, and that a run failed, can be seen and is not covered by the loss",
    "accuracy is measured on the named public set only; elsewhere it is unknown",
)

OF_USERS = (
    "of a user's records at most rows_most are trained on, chosen at random; those of no user are "
    "left out",
    "rates and divisors count users; two accounts of one person are two users",
)
OF_A_BASE = (
    "the weights of the base were installed, not trained here: what they were trained on, and what "
    "that cost whom, is not in this loss",
)


def model_card(
    spec: TrainSpec,
    private: Input,
    *,
    norm_l2: Decimal,
    steps_run: int,
    steps_started: int,
    test_accuracy: float | None,
    audit: dict[str, Any] | None,
    kernels: dict[str, Any],
) -> dict[str, Any]:
    """The card of one released model, as JSON.

    Args:
        spec: what was asked.
        private: the dataset version that was trained on.
        norm_l2: the C of the last step.
        steps_run: the steps that shaped these weights; fewer than were started after a resume
            (R14), and fewer than were reserved after a stop.
        steps_started: the steps that are charged.
        test_accuracy: on the public set, or None where none was named.
        audit: what the run's canaries say of it, or None where it carried none.
        kernels: names of the code paths that clipped and drew noise.
    """
    stored, base = spec.to_json(), base_json(spec.model)
    noise = {"noise_multiplier": stored["noise"]["noise_multiplier"]}
    if spec.clip_adaptive is not None and spec.noise_multiplier is not None:
        own = text_up(Fraction(spec.clip_adaptive.gradient_noise(spec.noise_multiplier)), 12)
        noise["gradient_noise_multiplier"] = own
    return {
        "v": 1,
        "kind": "model-card",
        "model": {
            **stored["model"],
            "activation": ACTIVATIONS.get(
                TRANSFORMER_LM if isinstance(spec.model, TransformerLm) else spec.model.name
            ),
            "initial_weights": INITIAL_WEIGHTS,
            "weights": "model.safetensors",
            **({} if base is None else {"base": base}),
        },
        "training": {
            "algorithm": stored["algorithm"],
            "loss": stored["loss"],
            "optimizer": stored["optimizer"],
            "steps_reserved": spec.steps,
            "steps_started": steps_started,
            "steps_that_shaped_the_model": steps_run,
            "normalise_by": stored["normalise_by"],
        },
        "data": _data(spec, private),
        "privacy": {
            "unit_of_privacy": _unit(private),
            **({} if spec.user is None else {"user": spec.user.to_json()}),
            "relation": private.dataset.relation,
            "parts": [
                {"mechanism": part.mechanism.to_json(), "max_units": part.max_units}
                for part in spec.parts()
            ],
            "clip": stored["clip"],
            "sensitivity_l2": decimal_text(norm_l2),
            **noise,
            "samplers": {"records": DRAW_SAMPLER, "noise": NOISE_SAMPLER},
            "assumptions": list(ASSUMPTIONS),
        },
        "evaluation": {**stored.get("evaluation", {}), "test_accuracy": test_accuracy},
        "audit": audit,
        "implementation": {
            "kernels": kernels,
            "libraries": {
                "python": platform.python_version(),
                **{name: version(name) for name in LIBRARIES},
            },
            "library_digests": {name: _digest(name) for name in LIBRARIES},
        },
        "limits": [
            *LIMITS,
            *([] if spec.user is None else OF_USERS),
            *([] if base is None else OF_A_BASE),
        ],
        "intended_use": (
            f"Predicts {spec.label or 'what comes next'} from {', '.join(spec.features[:20])} for "
            "records like those described by the dataset's purpose; a person answers for any other "
            "use."
        ),
    }


def _digest(library: str) -> str:
    """Of the list of a library's files with their hashes: where two are equal, so are the files."""
    listed = distribution(library).read_text("RECORD") or ""
    return f"sha256:{sha256(listed.encode()).hexdigest()}"


def _unit(private: Input) -> str:
    unit = private.dataset.unit
    return "record" if unit is None else unit.kind


def _data(spec: TrainSpec, private: Input) -> dict[str, Any]:
    dataset: Dataset = private.dataset
    return {
        "dataset_id": dataset.id,
        "name": dataset.name,
        "version": private.version,
        "nominal_size": dataset.nominal_size,
        "features": list(spec.features),
        "label": spec.label,
        "statement": (
            "Trained on private records. The number of records is not stated: it is private; "
            "rates and divisors come from the declared nominal size."
        ),
    }
