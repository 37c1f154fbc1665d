"""The linear operations and the noise as Triton kernels; imported only where triton is installed.

Speed on a GPU is unmeasured. Values are checked by Triton's interpreter, and the shipped tiles are
compiled ahead of time (`kernels.layers.aot`).
"""

import struct
from typing import Any

import torch
from torch import Tensor

from kernels.layers import triton_kernels as kernels
from kernels.layers.api import (
    ClippedLayer,
    factors_of,
    require_clip_norm,
)
from kernels.noise.api import (
    require_blocks,
    require_standard_deviation,
    require_stream,
)

# A tile's squares are summed in float32 (64 a thread, then a tree): short by less than this.
_SLACK = 1.0 + 2.0**-17
SMALL_ROWS, SMALL_COLUMNS = 16, 512


class TritonLayers:
    """Linear layers. See `kernels.layers.api.LayerKernel` for shapes and guarantee."""

    name = "fused-triton"

    def __init__(self, *, tile: int = 128, depth: int = 64) -> None:
        """Tiles of (tile, tile) outputs, `depth` positions at a time."""
        self._tile, self._depth = tile, depth

    def clip_sum(self, a: Tensor, g: Tensor, bound: float, *, has_bias: bool) -> ClippedLayer:
        """One pass where a whole gradient fits a processor, else norms and then the sum."""
        require_clip_norm(bound)
        if not has_bias and g.shape[2] <= SMALL_ROWS and a.shape[2] <= SMALL_COLUMNS:
            return self._clip_small(a, g, bound)
        norms = self.direct_norm2(a, g, has_bias=has_bias).sqrt()
        factors = factors_of(norms, bound)
        return ClippedLayer(*self.scaled_sum(a, g, factors, has_bias=has_bias), factors, norms)

    def direct_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """A slot a tile; the slots are added in float64."""
        a, g = _dense(a), _dense(g)
        tiles = self._tiles(a.shape[2]), self._tiles(g.shape[2])
        parts = torch.zeros(a.shape[0], tiles[0] * tiles[1], device=a.device)
        if a.shape[0] > 0:
            kernels.norm_parts[(*tiles, a.shape[0])](
                *(a, g, parts, a.shape[1], a.shape[2], g.shape[2]),
                **{"HAS_BIAS": has_bias, **self._shape()},
            )
        return parts.double().sum(dim=1) * _SLACK

    def ghost_norm2(self, a: Tensor, g: Tensor, *, has_bias: bool) -> Tensor:
        """Lower-triangle tiles, and what the rounding of their products can hide."""
        a, g = _dense(a), _dense(g)
        tiles = -(-a.shape[1] // self._depth)
        parts = torch.zeros(a.shape[0], tiles * tiles, device=a.device)
        if a.shape[0] > 0:
            kernels.ghost_parts[(tiles, tiles, a.shape[0])](
                *(a, g, parts, a.shape[1], a.shape[2], g.shape[2]),
                HAS_BIAS=has_bias,
                UPCAST=kernels.INTERPRETED,
                BT=self._depth,
                BK=self._depth,
            )
        estimate = parts.double().sum(dim=1)
        one = 1.0 if has_bias else 0.0
        lengths = [x.double().square().sum(dim=2) for x in (a, g)]
        reach = ((lengths[0] + one) * lengths[1]).sqrt().sum(dim=1)
        # Sums of D and of P products in any order, and of the tile's squares.
        gamma = (a.shape[2] + g.shape[2] + self._depth + 32) * 2.0**-24 * 1.01
        bound = estimate.clamp(min=0.0) + gamma * reach.square()
        finite = torch.isfinite(estimate) & torch.isfinite(reach)
        return torch.stack([bound.masked_fill(~finite, torch.inf), estimate], dim=1)

    def scaled_sum(
        self, a: Tensor, g: Tensor, factors: Tensor, *, has_bias: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted sum never leaves the chip before it is whole."""
        a, g, factors = _dense(a), _dense(g), factors.float().contiguous()
        weight = torch.empty(g.shape[2], a.shape[2], device=a.device)
        kernels.scaled_sum[(self._tiles(a.shape[2]), self._tiles(g.shape[2]))](
            *(a, g, factors, weight, a.shape[0], a.shape[1], a.shape[2], g.shape[2]),
            **self._shape(),
        )
        if not has_bias:
            return weight, None
        biases = g.float().sum(dim=1).masked_fill((factors == 0.0)[:, None], 0.0)
        return weight, factors @ biases

    def _clip_small(self, a: Tensor, g: Tensor, bound: float) -> ClippedLayer:
        a, g = _dense(a), _dense(g)
        batch, outputs, inputs = a.shape[0], g.shape[2], a.shape[2]
        slots = max(1, min(64, batch))
        sums = torch.zeros(slots, outputs, inputs, device=a.device)
        norms2 = torch.zeros(batch, device=a.device)
        kernels.clip_small[(slots,)](
            *(a, g, sums, norms2, batch, a.shape[1], inputs, outputs, bound),
            SLOTS=slots,
            UPCAST=kernels.INTERPRETED,
            BP=SMALL_ROWS,
            BD=SMALL_COLUMNS,
            BT=self._depth,
        )
        norms = (norms2.double() * _SLACK).sqrt()
        return ClippedLayer(sums.sum(dim=0), None, factors_of(norms, bound), norms)

    def _tiles(self, size: int) -> int:
        return -(-size // self._tile)

    def _shape(self) -> dict[str, Any]:
        return {
            "UPCAST": kernels.INTERPRETED,
            "BP": self._tile,
            "BD": self._tile,
            "BT": self._depth,
        }


class TritonNoise:
    """`kernels.noise.api.InPlaceNoise.add_noise_` for a GPU: the same words, the same layout."""

    name = "fused-triton"

    def add_noise_(
        self, values: Tensor, standard_deviation: float, key: bytes, nonce: bytes, counter: int = 0
    ) -> int:
        """ChaCha20 a lane, Box-Muller behind it."""
        require_stream(key, nonce)
        require_standard_deviation(standard_deviation)
        if values.dtype != torch.float32 or not values.is_contiguous():
            raise ValueError("noise is added to dense float32 tensors")
        end = require_blocks(values.numel(), counter)
        if end > 2**31:
            raise ValueError("this kernel counts blocks in 31 bits: take another nonce")
        if values.numel() > 0:
            words = [
                torch.tensor(struct.unpack(f"<{len(part) // 4}i", part), dtype=torch.int32)
                .view(torch.uint32)
                .to(values.device)
                for part in (key, nonce)
            ]
            blocks = 128
            kernels.add_noise[(-(-(end - counter) // blocks),)](
                *(*words, values, values.numel(), counter, standard_deviation), BLOCKS=blocks
            )
        return end


def _dense(value: Tensor) -> Tensor:
    """Contiguous, in a type that the tensor cores multiply; float64 is not."""
    return (value.float() if value.dtype == torch.float64 else value).contiguous()
