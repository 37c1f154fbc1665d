"""The registry's models: stacks of linear layers whose per-example gradients stay in factors.

Rows never meet inside a model (R28): each output row depends on its own input row alone.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from app.domain.training.spec import ModelSpec
from kernels.clip.api import LinearGradients

ACTIVATION = "tanh"
# A public set may be large, and every layer's outputs stand in memory together.
_ROWS_AT_ONCE = 1024


class Network:
    """Linear layers with biases, tanh between them, softmax cross-entropy on top.

    `logistic` is one layer, `mlp` several. Bounded activations keep gradients small, which is
    what clipping rewards (Papernot et al. 2021, tempered sigmoids).

    weights: (P_all,) float32, layer by layer: the weight (P, D) row by row, then the bias (P,).
    That is the layout of `kernels.clip.api.ClipKernel.clip_and_sum_linear`.
    """

    def __init__(self, spec: ModelSpec, inputs: int, normals: Tensor) -> None:
        """Start from normals of variance 1 / D in each hidden layer and zeros elsewhere.

        Args:
            spec: the model.
            inputs: the width of a record.
            normals: (P_all,) standard normals from the run's own source (L7).
        """
        self.weights = normals.to(torch.float32)
        self._layers: list[tuple[Tensor, Tensor]] = []
        # where each layer's weight and bias stand in `weights`
        self.groups: list[slice] = []
        widths = spec.widths(inputs)
        first = 0
        for depth, (inside, outside) in enumerate(pairwise(widths)):
            weight = self.weights[first : first + inside * outside].view(outside, inside)
            first += inside * outside
            bias = self.weights[first : first + outside]
            first += outside
            # A zero output layer starts from equal odds; what lies below it must differ by chance.
            weight.mul_(1.0 / math.sqrt(inside) if depth < len(widths) - 2 else 0.0)
            bias.zero_()
            self._layers.append((weight, bias))
            self.groups.append(slice(first - (inside + 1) * outside, first))

    def logits(self, features: Tensor) -> Tensor:
        """Scores of each class: (B, D) float32 -> (B, classes)."""
        return self._forward(features)[1]

    def gradients(self, features: Tensor, labels: Tensor) -> list[LinearGradients]:
        """Each example's gradient of its own cross-entropy, per layer, as two factors.

        Args:
            features: (B, D) float32.
            labels: (B,) int64 class indices.

        Returns:
            One entry a layer in the order of `weights`. The loss is a sum over examples: nothing
            is divided by B, which is private (R17).
        """
        activations, logits = self._forward(features)
        outgoing = torch.softmax(logits, dim=1)
        outgoing[torch.arange(labels.shape[0]), labels] -= 1.0
        found: list[LinearGradients] = []
        for depth in range(len(self._layers) - 1, -1, -1):
            found.append(LinearGradients(activations[depth], outgoing))
            if depth:
                hidden = activations[depth]
                outgoing = (outgoing @ self._layers[depth][0]) * (1.0 - hidden * hidden)
        return found[::-1]

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """The share of rows whose largest score is their label. For public rows only (R13)."""
        right = 0
        for first in range(0, labels.shape[0], _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            right += int((self.logits(features[rows]).argmax(dim=1) == labels[rows]).sum())
        return right / labels.shape[0]

    def state(self) -> dict[str, Tensor]:
        """The weights by name, as they are written to the artifact."""
        return {
            f"layers.{depth}.{name}": tensor.clone()
            for depth, pair in enumerate(self._layers)
            for name, tensor in zip(("weight", "bias"), pair, strict=True)
        }

    def _forward(self, features: Tensor) -> tuple[list[Tensor], Tensor]:
        """The input of every layer, and the logits."""
        activations = [features]
        for depth, (weight, bias) in enumerate(self._layers):
            outputs = torch.addmm(bias, activations[depth], weight.T)
            if depth == len(self._layers) - 1:
                return activations, outputs
            activations.append(outputs.tanh_())
        raise AssertionError("a network has at least one layer")
