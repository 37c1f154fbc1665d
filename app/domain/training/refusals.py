"""What a training spec may not ask, though each of its values may stand: refused before a row (L5).

Forms that look private and are not are refused by their names (R28); work and memory by public
numbers alone (R17).
"""

from collections.abc import Mapping
from typing import Final

from app.domain.documents import under
from app.domain.errors import InvalidParameter, RefusedByName
from app.domain.training.models import ModelSpec
from app.domain.training.spec import TrainSpec
from app.domain.training.users import UserSpec

# Numbers that one physical batch holds between the layers of the model: 1 GB with their gradients.
BATCH_NUMBERS_MOST: Final = 2**27
# Multiplications times records over a whole run: a month of one core, at 0.2 ns each. Beside its
# records a step pays for a draw of noise a parameter, and for a coin a row of the table.
WORK_MOST: Final = 10**16
_NOISE_RECORDS: Final = 256
_COIN_PARAMETERS: Final = 128

_NOT_POISSON: Final = (
    "shuffled",
    "shuffle",
    "fixed",
    "fixed_size",
    "without_replacement",
    "cyclic",
)
_OF_MICROBATCHES: Final = ("microbatch", "per_microbatch", "batch", "per_batch")
_OF_A_GRID: Final = ("integer_grid", "discrete", "discrete_gaussian", "grid")


def refuse_by_name(document: object, pointer: str) -> None:
    """Refuse the forms of R28 that a training spec can take, before unknown keys are counted.

    Raises:
        RefusedByName: with what may be asked for instead.
    """
    if not isinstance(document, Mapping):
        return
    sampling, clip, noise, model = (
        each if isinstance(each, Mapping) else {}
        for each in map(document.get, ("sampling", "clip", "noise", "model"))
    )
    if sampling.get("kind") in _NOT_POISSON:
        raise RefusedByName(
            f"{pointer}/sampling/kind",
            "fixed-size or shuffled batches claimed as Poisson",
            "poisson",
        )
    if clip.get("mode") in _OF_MICROBATCHES or "microbatch" in clip or "microbatches" in clip:
        raise RefusedByName(
            f"{pointer}/clip", "microbatch clipping claimed per example", "mode flat"
        )
    # Its price over a Poisson draw is proven nowhere here, and that of the continuous one is not it
    if any(noise.get(key) in _OF_A_GRID for key in ("kind", "mode", "type")) or "grid" in noise:
        raise RefusedByName(
            f"{pointer}/noise",
            "noise on an integer grid over a Poisson draw, for which no price is proven",
            "noise_multiplier alone; the card then says that ideal Gaussian noise is assumed",
        )
    for key in ("batch_norm", "batchnorm"):
        if model.get(key) or model.get("normalisation") == key or model.get("name") == key:
            raise RefusedByName(
                f"{pointer}/model", "modules that mix rows", "a model whose rows stay apart"
            )
    lora = model.get("lora")
    in_lora = isinstance(lora, Mapping) and "sketch" in lora
    if "sketch" in model or model.get("adapter") == "sketch" or lora == "sketch" or in_lora:
        raise RefusedByName(
            f"{pointer}/model",
            "noise-free sketch LoRA",
            "lora beside an installed base, whose layers are clipped and noised",
        )
    for key in ("best_of", "runs", "seeds", "trials", "search"):
        if key in document:
            raise RefusedByName(
                under(pointer, key),
                "best of N runs with one charge",
                "one job, and one charge, for each run",
            )


def require_one_number(spec: TrainSpec, pointer: str) -> None:
    """Refuse for `dp_zo` what has a meaning for gradients alone.

    Raises:
        InvalidParameter: a clip or a precision of gradients.
    """
    if spec.clip_mode != "flat" or spec.clip_norm_l2 is None or spec.clip_adaptive is not None:
        reason = "a record of dp_zo is one number: mode flat, and norm_l2 bounds it"
        raise InvalidParameter(f"{pointer}/clip", reason)
    if spec.precision != "float32":
        raise InvalidParameter(f"{pointer}/precision", "the losses of dp_zo are taken in float64")


def require_followed_noise(spec: TrainSpec, pointer: str) -> None:
    """Refuse noise that does not fit a C that moves.

    Raises:
        InvalidParameter: too much noise for its counts, or a variance taken off that moves.
    """
    if spec.clip_adaptive is None:
        return
    if spec.noise_multiplier is not None:
        spec.clip_adaptive.require_noise(spec.noise_multiplier, f"{pointer}/clip")
    if spec.optimizer.corrects_noise:
        at = f"{pointer}/optimizer/noise_bias_correction"
        raise InvalidParameter(at, "the variance of the noise moves with C; say false")


def batch_most(model: ModelSpec, inputs: int, user: UserSpec | None) -> int:
    """How many records, or users, of a model fit into memory at once."""
    rows_at_once = 1 if user is None else user.rows_at_once
    return BATCH_NUMBERS_MOST // (model.numbers(inputs) * rows_at_once)


def require_bounded_work(
    spec: TrainSpec, inputs: int, nominal_size: int | None, pointer: str
) -> None:
    """Refuse what no worker could hold or finish, by public numbers alone (R17).

    Raises:
        InvalidParameter: a physical batch beyond any memory, or a run of months.
    """
    fitting = batch_most(spec.model, inputs, spec.user)
    if spec.physical_batch_max > fitting:
        unit = "records" if spec.user is None else "users"
        raise InvalidParameter(
            f"{pointer}/physical_batch_max", f"at most {fitting} {unit} of this model fit at once"
        )
    # Without a declared size the divisor is what the spec says of its draws.
    rows = spec.normalise_by / float(spec.rate) if nominal_size is None else float(nominal_size)
    records = float(spec.rate) * rows * (1 if spec.user is None else spec.user.rows_at_once)
    parameters = spec.model.parameters(inputs)
    step = spec.model.work(inputs) * records + parameters * _NOISE_RECORDS + _COIN_PARAMETERS * rows
    look = 0 if spec.clip_profile is None else spec.model.work(inputs) * rows
    if spec.steps * step + look > WORK_MOST:
        raise InvalidParameter(
            f"{pointer}/steps",
            "the run would take months: its steps, parameters and records of a step multiply to"
            f" more than {WORK_MOST:.0e}",
        )
