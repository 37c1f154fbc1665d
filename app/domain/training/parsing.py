"""Reading training specs: what a DP-SGD job asks for, checked whole before any row is read (L5).

A spec is public and frozen. Its price is one part: `steps` units of a Poisson-sampled Gaussian.
Rates, divisors and steps come from the spec and the declared nominal size, never from rows (R17).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, cast, get_args

from app.domain.columns import Column
from app.domain.datasets import Dataset
from app.domain.documents import read_choice, read_integer, read_object, read_text
from app.domain.errors import DeviceUnavailable, InvalidParameter
from app.domain.training.chunks import parse_chunks
from app.domain.training.clipping import parse_clipping, read_decimal, read_number
from app.domain.training.inputs import parse_features, parse_label, parse_language
from app.domain.training.models import ModelSpec, TransformerLm
from app.domain.training.offer import OURS, Offer
from app.domain.training.refusals import (
    batch_most,
    refuse_by_name,
    require_bounded_work,
    require_followed_noise,
    require_one_number,
)
from app.domain.training.registry import parse_model, registered
from app.domain.training.spec import (
    CROSS_ENTROPY,
    DIFFERENCE_STEP_DEFAULT,
    NEXT_TOKEN,
    NOISE_RANGE,
    Algorithm,
    AuditSpec,
    Device,
    EvaluationSpec,
    NoiseTarget,
    OptimizerName,
    OptimizerSpec,
    Precision,
    ScheduleName,
    TrainSpec,
    features_width,
)
from app.domain.training.users import parse_user, require_no_user_column, require_priced_unit

__all__ = ["TrainSpec", "evaluation_dataset_id", "parse_training"]

STEPS_MOST = 1_000_000
PHYSICAL_BATCH_DEFAULT = 256
RATE_RANGE = (Decimal("1e-9"), Decimal(1))
# Fewer canaries bound next to nothing; more cost more than the run.
CANARIES_LEAST = 1_000
CANARIES_MOST = 100_000
AUDIT_DEFAULT: Final[Mapping[str, Any]] = {"canaries": 10_000, "delta": "1e-5"}
AUDIT_DELTA_RANGE = (Decimal("1e-12"), Decimal("1e-2"))


def evaluation_dataset_id(document: object) -> str | None:
    """The id of the public dataset that a spec names, before the spec is checked.

    The caller looks it up and hands it to `parse_training`. Anything malformed gives None here and
    its refusal there.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("evaluation"), Mapping):
        return None
    dataset_id = document["evaluation"].get("dataset_id")
    return dataset_id if isinstance(dataset_id, str) else None


def parse_training(
    document: object,
    dataset: Dataset,
    public: Mapping[str, Dataset],
    pointer: str = "/spec",
    *,
    offer: Offer = OURS,
) -> TrainSpec:
    """Validate a training spec against a dataset's public schema.

    Args:
        document: the spec of the job, as received or as stored.
        dataset: the private dataset that the job is charged for.
        public: public datasets that the caller may read, by id; for `evaluation`.
        pointer: where the spec lies in the request.
        offer: what this installation can train.

    Raises:
        InvalidParameter: a value is malformed, unknown or out of range.
        DeviceUnavailable: no worker with the device is configured.
        MechanismNotPriced: the dataset's unit or relation has no proven price for DP-SGD (R7).
        RefusedByName: a form that looks private and is not (R28).
    """
    refuse_by_name(document, pointer)
    fields = read_object(
        document,
        pointer,
        required=(
            *("v", "algorithm", "model", "features", "loss", "sampling", "steps"),
            *("clip", "noise", "optimizer"),
        ),
        optional=(
            *("label", "normalise_by", "physical_batch_max", "evaluation", "chunk_steps"),
            *("checkpoint_every_steps", "audit", "device", "precision", "user"),
            "difference_step",
        ),
    )
    read_integer(fields["v"], f"{pointer}/v", low=1, high=1)
    algorithm = read_choice(fields["algorithm"], f"{pointer}/algorithm", get_args(Algorithm))
    device = _read_device(fields.get("device", "cpu"), offer, f"{pointer}/device")
    require_priced_unit(dataset)
    model, features, label = _parse_learning(fields, dataset, offer, pointer)
    at = f"{pointer}/sampling"
    sampling = read_object(fields["sampling"], at, required=("kind", "rate"))
    read_choice(sampling["kind"], f"{at}/kind", ("poisson",))
    rate = read_decimal(sampling["rate"], f"{at}/rate", *RATE_RANGE)
    clip = parse_clipping(fields["clip"], dataset, f"{pointer}/clip")
    user = parse_user(fields, dataset, model, f"{pointer}/user")
    inputs = features_width(features)
    fitting = batch_most(model, inputs, user)
    noise_multiplier, target = _parse_noise(fields["noise"], f"{pointer}/noise")
    steps = read_integer(fields["steps"], f"{pointer}/steps", low=1, high=STEPS_MOST)
    chunk_steps, every = parse_chunks(fields, steps, pointer, steps_most=STEPS_MOST)
    spec = TrainSpec(
        model=model,
        features=tuple(column.name for column in features),
        label=None if label is None else label.name,
        rate=rate,
        normalise_by=_parse_divisor(fields, rate, dataset, f"{pointer}/normalise_by"),
        steps=steps,
        clip_norm_l2=clip.norm_l2,
        noise_multiplier=noise_multiplier,
        target=target,
        clip_mode=clip.mode,
        clip_profile=clip.profile,
        clip_adaptive=clip.adaptive,
        algorithm=cast(Algorithm, algorithm),
        difference_step=read_number(
            fields.get("difference_step", DIFFERENCE_STEP_DEFAULT),
            f"{pointer}/difference_step",
            low=1e-6,
            high=1.0,
        ),
        precision=cast(
            Precision,
            read_choice(
                fields.get("precision", "float32"), f"{pointer}/precision", get_args(Precision)
            ),
        ),
        device=device,
        user=user,
        optimizer=_parse_optimizer(fields["optimizer"], f"{pointer}/optimizer", steps),
        physical_batch_max=read_integer(
            fields.get("physical_batch_max", max(1, min(PHYSICAL_BATCH_DEFAULT, fitting))),
            f"{pointer}/physical_batch_max",
            low=1,
            high=65_536,
        ),
        evaluation=_parse_evaluation(
            fields.get("evaluation"),
            features if label is None else (*features, label),
            public,
            f"{pointer}/evaluation",
        ),
        chunk_steps=chunk_steps,
        checkpoint_every_steps=every,
        audit=_parse_audit(fields.get("audit", AUDIT_DEFAULT), f"{pointer}/audit"),
    )
    if spec.algorithm == "dp_zo":
        require_one_number(spec, pointer)
    elif "difference_step" in fields:
        raise InvalidParameter(f"{pointer}/difference_step", "this is for dp_zo")
    require_followed_noise(spec, pointer)
    require_bounded_work(spec, inputs, dataset.nominal_size, pointer)
    return spec


def _parse_learning(
    fields: Mapping[str, Any], dataset: Dataset, offer: Offer, pointer: str
) -> tuple[ModelSpec, tuple[Column, ...], Column | None]:
    """The model, the columns it reads, and its label: what is learnt from what."""
    at = f"{pointer}/model"
    if "features" not in registered(fields["model"], at, offer.models).reads:
        if "label" in fields:
            raise InvalidParameter(f"{pointer}/label", "a language model predicts what comes next")
        read_choice(fields["loss"], f"{pointer}/loss", (NEXT_TOKEN,))
        model = parse_model(fields["model"], at, classes=0, inputs=0, models=offer.models)
        assert isinstance(model, TransformerLm)  # noqa: S101 - the one that reads language
        columns = parse_language(fields["features"], dataset, model, f"{pointer}/features")
        require_no_user_column(dataset, {f"{pointer}/features/0": columns[0].name})
        return model, columns, None
    if "label" not in fields:
        raise InvalidParameter(f"{pointer}/label", "this model needs a label")
    read_choice(fields["loss"], f"{pointer}/loss", (CROSS_ENTROPY,))
    label = parse_label(fields["label"], dataset, f"{pointer}/label")
    features = parse_features(fields["features"], dataset, label.name, f"{pointer}/features")
    asked = {f"{pointer}/features/{index}": each.name for index, each in enumerate(features)}
    require_no_user_column(dataset, {f"{pointer}/label": label.name, **asked})
    model = parse_model(
        fields["model"],
        at,
        classes=len(label.domain or ()),
        inputs=features_width(features),
        models=offer.models,
    )
    return model, features, label


def _read_device(document: object, offer: Offer, pointer: str) -> Device:
    """A device for which this installation has a worker.

    Raises:
        InvalidParameter: no device has this name.
        DeviceUnavailable: no worker with it is configured.
    """
    device = cast(Device, read_choice(document, pointer, get_args(Device)))
    if device not in offer.devices:
        raise DeviceUnavailable(device, sorted(offer.devices))
    return device


def _parse_noise(document: object, pointer: str) -> tuple[Decimal | None, NoiseTarget | None]:
    fields = read_object(document, pointer, optional=("noise_multiplier", "target"))
    if len(fields) != 1:
        raise InvalidParameter(pointer, "either noise_multiplier or target is expected")
    if "noise_multiplier" in fields:
        at = f"{pointer}/noise_multiplier"
        return read_decimal(fields["noise_multiplier"], at, *NOISE_RANGE), None
    at = f"{pointer}/target"
    target = read_object(fields["target"], at, required=("epsilon", "delta"), optional=("from",))
    start = read_choice(target.get("from", "empty"), f"{at}/from", ("empty", "now"))
    return None, NoiseTarget(
        epsilon=read_decimal(target["epsilon"], f"{at}/epsilon", Decimal("1e-9"), Decimal("1e4")),
        delta=read_decimal(target["delta"], f"{at}/delta", Decimal("1e-15"), Decimal("0.1")),
        start=cast(Literal["empty", "now"], start),
    )


def _parse_divisor(
    fields: Mapping[str, Any], rate: Decimal, dataset: Dataset, pointer: str
) -> float:
    """The public divisor: as given, else rate times nominal size; never the drawn size (R17)."""
    if "normalise_by" in fields:
        return read_number(fields["normalise_by"], pointer, low=1e-3, high=1e12)
    if dataset.nominal_size is None:
        raise InvalidParameter(pointer, "this dataset declares no nominal size; give a divisor")
    expected = float(rate * dataset.nominal_size)
    if expected < 1e-3:
        raise InvalidParameter(pointer, "the expected draw is next to nothing; give a divisor")
    return expected


def _parse_optimizer(document: object, pointer: str, steps: int) -> OptimizerSpec:
    fields = read_object(
        document,
        pointer,
        required=("name", "learning_rate"),
        optional=("momentum", "noise_bias_correction", "schedule"),
    )
    name = cast(OptimizerName, read_choice(fields["name"], f"{pointer}/name", ("sgd", "adam")))
    for key, owner in (("momentum", "sgd"), ("noise_bias_correction", "adam")):
        if key in fields and name != owner:
            raise InvalidParameter(f"{pointer}/{key}", f"this is for {owner}")
    corrects = fields.get("noise_bias_correction", name == "adam")
    if not isinstance(corrects, bool):
        raise InvalidParameter(f"{pointer}/noise_bias_correction", "true or false is expected")
    at = f"{pointer}/schedule"
    schedule = read_object(
        fields.get("schedule", {"name": "constant"}),
        at,
        required=("name",),
        optional=("warm_up_steps",),
    )
    shape = read_choice(schedule["name"], f"{at}/name", get_args(ScheduleName))
    return OptimizerSpec(
        name=name,
        learning_rate=read_number(
            fields["learning_rate"], f"{pointer}/learning_rate", low=1e-8, high=1e3
        ),
        momentum=read_number(fields.get("momentum", 0), f"{pointer}/momentum", low=0, high=0.9999),
        corrects_noise=corrects,
        schedule=cast(ScheduleName, shape),
        warm_up_steps=read_integer(
            schedule.get("warm_up_steps", 0), f"{at}/warm_up_steps", low=0, high=steps
        ),
    )


def _parse_evaluation(
    document: object, columns: tuple[Column, ...], public: Mapping[str, Dataset], pointer: str
) -> EvaluationSpec | None:
    if document is None:
        return None
    fields = read_object(document, pointer, required=("dataset_id",), optional=("every_steps",))
    at = f"{pointer}/dataset_id"
    dataset_id = read_text(fields["dataset_id"], at, most=64)
    dataset = public.get(dataset_id)
    # A set that is private, unknown or not the caller's to read gets one answer.
    if dataset is None or dataset.access != "public":
        raise InvalidParameter(at, "no public dataset has this id; a private one would be charged")
    for column in columns:
        there = dataset.column(column.name)
        if there is None or (there.type, there.shape) != (column.type, column.shape):
            raise InvalidParameter(at, f"its column {column.name} is missing or of another type")
    every = read_integer(
        fields.get("every_steps", STEPS_MOST), f"{pointer}/every_steps", low=1, high=STEPS_MOST
    )
    return EvaluationSpec(dataset_id, every)


def _parse_audit(document: object, pointer: str) -> AuditSpec | None:
    """On unless it is null: a run that shows nothing of itself was asked for by name (R26)."""
    if document is None:
        return None
    fields = read_object(document, pointer, required=("canaries",), optional=("delta",))
    return AuditSpec(
        canaries=read_integer(
            fields["canaries"], f"{pointer}/canaries", low=CANARIES_LEAST, high=CANARIES_MOST
        ),
        delta=read_decimal(
            fields.get("delta", AUDIT_DEFAULT["delta"]), f"{pointer}/delta", *AUDIT_DELTA_RANGE
        ),
    )
