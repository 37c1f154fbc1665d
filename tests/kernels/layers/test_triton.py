"""The Triton form: by the interpreter against the definition, and compiled for two processors."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch

from kernels.layers.reference import ReferenceLayers
from kernels.noise.chacha20 import chacha20_block
from kernels.noise.in_place import PlainInPlaceNoise

os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined, so before they are
pytest.importorskip("triton", reason="triton has no wheel for this platform")
fused = pytest.importorskip("kernels.layers.fused_triton")

REFERENCE = ReferenceLayers()
KEY, NONCE = bytes(range(32)), bytes.fromhex("000000090000004a00000000")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy about infinity times zero
]


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(3, 33, 70, 50), (2, 1, 40, 24), (3, 20, 90, 8), (1, 1, 1, 1)])
def test_the_interpreted_kernels_are_the_definition(
    shape: tuple[int, ...], dtype: torch.dtype, has_bias: bool
) -> None:
    kernel = fused.TritonLayers(tile=32, depth=32)
    source = torch.Generator().manual_seed(1)
    batch, positions, inputs, outputs = shape
    a = torch.randn(batch, positions, inputs, generator=source).to(dtype)
    size = torch.logspace(-2, 1, batch)[:, None, None]
    g = (torch.randn(batch, positions, outputs, generator=source) * size / positions).to(dtype)
    expected = REFERENCE.clip_sum(a, g, 1.0, has_bias=has_bias)
    found = kernel.clip_sum(a, g, 1.0, has_bias=has_bias)
    gap = (found.weight.double() - expected.weight).norm() / expected.weight.norm()
    assert float(gap) < 1e-5
    if expected.bias is not None:
        torch.testing.assert_close(found.bias.double(), expected.bias, rtol=1e-4, atol=1e-5)
    exact = expected.norms.square()
    direct = kernel.direct_norm2(a, g, has_bias=has_bias)
    ghost = kernel.ghost_norm2(a, g, has_bias=has_bias)
    for bound in (direct, ghost[:, 0], found.norms.square()):
        assert bool((bound >= exact).all())
    assert bool((direct <= exact * (1 + 2e-5)).all())
    assert bool((ghost[:, 0] <= exact * 1.02).all())


@pytest.mark.parametrize("outputs", [8, 50])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_that_is_not_finite_adds_exactly_zero(outputs: int, bad: float) -> None:
    kernel = fused.TritonLayers(tile=32, depth=32)
    a, g = torch.ones(3, 4, 20), torch.ones(3, 4, outputs)
    without = kernel.clip_sum(a[:2], g[:2], 1.0, has_bias=False)
    g[2, 1, 3] = bad
    with_bad = kernel.clip_sum(a, g, 1.0, has_bias=False)
    assert float(with_bad.factors[2]) == 0.0
    torch.testing.assert_close(with_bad.weight, without.weight, rtol=0, atol=0)
    assert not math.isfinite(float(kernel.ghost_norm2(a, g, has_bias=False)[2, 0]))


def test_rows_that_cancel_are_never_underestimated() -> None:
    source = torch.Generator().manual_seed(2)
    a = torch.ones(4, 32, 48) * 3.7 + 1e-6 * torch.randn(4, 32, 48, generator=source)
    g = torch.randn(4, 1, 40, generator=source) * 1e3
    g = g * torch.tensor([1.0, -1.0]).repeat(16)[None, :, None]
    exact = REFERENCE.direct_norm2(a, g, has_bias=True)
    kernel = fused.TritonLayers(tile=32, depth=32)
    assert bool((kernel.ghost_norm2(a, g, has_bias=True)[:, 0] >= exact).all())


@pytest.mark.parametrize("size", [1, 17, 256, 1000])
def test_the_interpreted_noise_has_the_words_and_the_layout_of_the_door(size: int) -> None:
    expected, found = torch.zeros(size), torch.zeros(size)
    end = PlainInPlaceNoise().add_noise_(expected, 1.5, KEY, NONCE, 3)
    assert fused.TritonNoise().add_noise_(found, 1.5, KEY, NONCE, 3) == end
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-6)
    words = chacha20_block(KEY, NONCE, 3)
    radius = 1.5 * math.sqrt(-2 * math.log((words[0] + 0.5) / 2**32))
    assert float(found[0]) == pytest.approx(
        radius * math.cos(2 * math.pi * words[1] / 2**32), rel=1e-4, abs=1e-6
    )


@pytest.mark.processes
def test_every_shipped_tile_compiles_for_both_processors_without_spills() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    answer = subprocess.run(
        [sys.executable, "-m", "kernels.layers.aot"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    uses = [json.loads(line) for line in answer.stdout.splitlines()]
    assert {(u["kernel"], u["target"]) for u in uses} == {
        (kernel, target)
        for kernel in ("norm_parts", "scaled_sum", "ghost_parts", "clip_small", "add_noise")
        for target in (80, 90)
    }
    for use in uses:
        assert use["stack_bytes"] == 0, use
        assert use["registers"] <= 255, use
        assert use["shared_bytes"] <= {80: 163, 90: 227}[use["target"]] * 1024, use
        assert use["kernel"] == "add_noise" or use["tensor_cores"] != "none", use
