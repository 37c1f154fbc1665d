"""How a layer's norm is taken: measured once a shape, never chosen from data."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from kernels.layers.api import Convolution, factors_of
from kernels.layers.fused_cpu import best
from kernels.native.library import path_taken
from kernels.private.patches import patch_norms2
from kernels.private.spec import PlanName

log = logging.getLogger(__name__)

Algorithm = Literal["product", "keep", "direct", "ghost"]

# Up to this many weights a batched product is kept whole: the rank-r layers of LoRA.
SMALL_WEIGHTS = 2**16
_ROUNDS = 3
# Examples in a measurement, whatever was drawn.
_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class LinearShape:
    """The public sizes of one layer, and how it is used in a backward pass.

    How many examples came is no part of it: a drawn batch's size is private (R17), and a run's
    record holds these shapes. Both algorithms' times grow with it alike.
    """

    positions: int
    inputs: int
    outputs: int
    dtype: str
    has_bias: bool
    fused: bool
    threads: int
    path: str

    @classmethod
    def of(cls, a: Tensor, g: Tensor, *, has_bias: bool, fused: bool) -> "LinearShape":
        """The shape of two factors, on the path that is taken now."""
        _, positions, inputs = a.shape
        dtype = str(a.dtype).removeprefix("torch.")
        threads = torch.get_num_threads()
        return cls(*(positions, inputs, g.shape[2], dtype, has_bias, fused, threads, path_taken()))


@dataclass(frozen=True, slots=True)
class ConvolutionShape:
    """The public sizes of a convolution whose gradients are not kept, as of a linear layer.

    image: channels, height and width of one input; result: the same of one output.
    """

    image: tuple[int, int, int]
    result: tuple[int, int, int]
    geometry: Convolution
    dtype: str
    has_bias: bool
    threads: int
    path: str

    @classmethod
    def of(
        cls, x: Tensor, g: Tensor, geometry: Convolution, *, has_bias: bool
    ) -> "ConvolutionShape":
        """The shape of an input and its output's gradient, on the path that is taken now."""
        dtype = str(x.dtype).removeprefix("torch.")
        sizes = (tuple(x.shape[1:]), tuple(g.shape[1:]))
        threads = torch.get_num_threads()
        return cls(*sizes, geometry, dtype, has_bias, threads, path_taken())  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What was chosen for a shape, and the times it was chosen by, in microseconds."""

    shape: LinearShape | ConvolutionShape
    algorithm: Algorithm
    measured_us: tuple[tuple[str, float], ...] = ()


def plan_of(shape: LinearShape, forced: PlanName) -> LayerPlan:
    """The plan of a shape; a layer of one position needs no choice."""
    if shape.positions == 1:
        return LayerPlan(shape, "product")
    if forced != "auto":
        return LayerPlan(shape, forced)
    if shape.inputs * shape.outputs <= SMALL_WEIGHTS:
        return LayerPlan(shape, "keep")
    return _measured(shape)


@cache
def _measured(shape: LinearShape) -> LayerPlan:
    """The faster of forming each gradient and of the ghost norm, on made-up numbers."""
    dtype = getattr(torch, shape.dtype)
    source = torch.Generator().manual_seed(0)
    a = torch.randn(_EXAMPLES, shape.positions, shape.inputs, generator=source).to(dtype)
    g = torch.randn(_EXAMPLES, shape.positions, shape.outputs, generator=source).to(dtype)
    kernel = best()

    def direct() -> None:
        if shape.fused:
            kernel.clip_sum(a, g, 1.0, has_bias=shape.has_bias)
        else:
            kernel.direct_norm2(a, g, has_bias=shape.has_bias)

    def ghost() -> None:
        norms2 = kernel.ghost_norm2(a, g, has_bias=shape.has_bias)[:, 0]
        if shape.fused:
            kernel.scaled_sum(a, g, factors_of(norms2.sqrt(), 1.0), has_bias=shape.has_bias)

    return _faster(shape, direct, ghost)


def convolution_plan_of(shape: ConvolutionShape, forced: PlanName) -> LayerPlan:
    """The plan of a convolution: forming each gradient, or the Gram matrices of its patches."""
    if shape.geometry.groups != 1:
        return LayerPlan(shape, "direct")
    if forced in ("direct", "ghost"):
        return LayerPlan(shape, forced)
    return _measured_convolution(shape)


@cache
def _measured_convolution(shape: ConvolutionShape) -> LayerPlan:
    """The faster of the two, on made-up numbers."""
    dtype = getattr(torch, shape.dtype)
    source = torch.Generator().manual_seed(0)
    x = torch.randn(_EXAMPLES, *shape.image, generator=source).to(dtype)
    g = torch.randn(_EXAMPLES, *shape.result, generator=source).to(dtype)
    kernel = best()

    def direct() -> None:
        kernel.conv_norm2(x, g, shape.geometry, has_bias=shape.has_bias)

    def ghost() -> None:
        patch_norms2(kernel, x, g, shape.geometry, has_bias=shape.has_bias)

    return _faster(shape, direct, ghost)


def _faster(
    shape: LinearShape | ConvolutionShape, direct: Callable[[], None], ghost: Callable[[], None]
) -> LayerPlan:
    times: dict[Algorithm, float] = {"direct": math.inf, "ghost": math.inf}
    for turn in range(_ROUNDS + 1):
        for name, run in (("direct", direct), ("ghost", ghost)):
            started = time.perf_counter()
            run()
            if turn > 0:  # the first warms up
                taken_us = (time.perf_counter() - started) * 1e6
                times[name] = min(times[name], taken_us)  # type: ignore[index]
    chosen = min(times, key=lambda name: times[name])
    log.info("kernels: %s for %s (%s)", chosen, shape, times)
    return LayerPlan(shape, chosen, tuple(times.items()))
