"""A model is built and examined on made-up records before a job may train it (R28).

Nothing private is read here. What is found is evidence, not a proof.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from app.domain.training.installed import InstalledLm, InstalledModel
from app.domain.training.models import ModelSpec
from app.domain.training.spec import Precision
from app.domain.training.users import UserSpec
from kernels.private.check import trainable_modules
from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec, ModelRefused
from workers.engines.train.adapters import adapt
from workers.engines.train.networks import build, losses_in, made_up, size

_TOLERANCE = 1e-5


def examined(
    spec: ModelSpec,
    inputs: int,
    clip: ClipSpec,
    precision: Precision = "float32",
    user: UserSpec | None = None,
) -> PrivateModel:
    """The model of a spec, taken over to be clipped, after passes over made-up records.

    Raises:
        ModelRefused: it cannot be trained privately; names the module and the remedy.
    """
    records, labels = made_up(spec, inputs)
    if user is not None and user.each_step == "all":
        records = records[:, None].repeat(1, user.rows_most, 1)
        labels = labels[:, None].repeat(1, user.rows_most)
    if not isinstance(spec, InstalledModel):
        model = build_lm(spec) if isinstance(spec, InstalledLm) else build(spec, inputs)
        private = privatize(model, clip, (records,))
        private.sum_gradients(losses_in(precision), records, labels)
        private.model.zero_grad(set_to_none=True)
        return private
    model = build_installed(spec, inputs)
    try:
        trainable_modules(model)  # what is wrong whatever it computes is said first
        _require_shape(model, spec, records)
        _require_no_memory(model, records)
        private = privatize(model, clip, (records,))
        private.sum_gradients(losses_in(precision), records, labels)
    except ModelRefused:
        raise
    except Exception as failed:
        raise ModelRefused(
            "", f"a pass over made-up records failed: {type(failed).__name__}", "mend its forward"
        ) from failed
    private.model.zero_grad(set_to_none=True)
    return private


def build_installed(spec: InstalledModel, inputs: int) -> nn.Module:
    """Import the builder of an installed model and let it build.

    Raises:
        ModelRefused: there is none, it fails, or what it builds is not as it was described.
    """
    model = _built(spec.builder, dict(spec.options), inputs, spec.classes)
    if not isinstance(model, nn.Module):
        raise ModelRefused("", "its builder gives no nn.Module", "return the module")
    if spec.base is not None and spec.lora is not None:
        adapt(model, spec.base, spec.lora)
    found, said = size(model), spec.parameters(inputs)
    if found != said:
        raise ModelRefused(
            "", f"its description says {said} trained parameters", f"it has {found}: say so"
        )
    return model


def build_lm(spec: InstalledLm) -> nn.Module:
    """A language model with the weights of a base, and adapters beside its layers.

    Raises:
        ModelRefused: there are none, or they are not those that were described.
    """
    model, found = build(spec, 0), _built(spec.builder)
    own = dict(model.named_parameters())
    if not isinstance(found, Mapping) or set(found) != set(own):
        raise ModelRefused("", "its builder gives other weights", f"give {', '.join(sorted(own))}")
    for name, parameter in own.items():
        value = found[name]
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            remedy = f"give a tensor of {tuple(parameter.shape)}"
            raise ModelRefused(name, "its weights have another shape", remedy)
        with torch.no_grad():
            parameter.copy_(value)
    adapt(model, spec.base, spec.lora)
    return model


def _built(builder: str, *arguments: object) -> Any:
    place, _, name = builder.partition(":")
    try:
        return getattr(importlib.import_module(place), name)(*arguments)
    except Exception as failed:
        raise ModelRefused(
            "", f"its builder failed: {type(failed).__name__}", "mend the builder that it names"
        ) from failed


def _require_shape(model: nn.Module, spec: InstalledModel, records: Tensor) -> None:
    with torch.no_grad():
        scores = model(records)
    wanted = (records.shape[0], spec.classes)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != wanted:
        raise ModelRefused("", "it does not give one score a class", "return (B, classes)")


@torch.no_grad()
def _require_no_memory(model: nn.Module, records: Tensor) -> None:
    """What it computes of a row is the same whatever rows it has seen before.

    A mean that it keeps would carry one record's numbers, without noise, into the gradients of
    others, past every clip.
    """
    kept = {name: value.clone() for name, value in model.named_buffers()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = model(records)
        for _ in range(3):
            model(records * -3.0 + 7.0)
        torch.manual_seed(0)
        after = model(records)
    for name, value in model.named_buffers():
        if name not in kept or not torch.equal(kept[name], value):
            raise ModelRefused(name, "it keeps something of the rows", "keep no state in forward")
    if not torch.allclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ModelRefused("", "it remembers rows of earlier passes", "keep no state in forward")
