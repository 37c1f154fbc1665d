"""How a noisy gradient moves the weights: post-processing, so it costs no privacy."""

from typing import Protocol

import torch
from torch import Tensor

from app.domain.training.spec import OptimizerSpec


class Optimizer(Protocol):
    """Applies released gradients to a flat vector of weights."""

    def step(self, weights: Tensor, gradient: Tensor) -> None:
        """Move `weights` (P_all,) in place by a released `gradient` of the same shape."""


class Sgd:
    """Gradient descent with heavy-ball momentum: v = m v + g; w = w - rate v."""

    def __init__(self, size: int, learning_rate: float, momentum: float) -> None:
        """Start with no velocity."""
        self._velocity = torch.zeros(size)
        self._learning_rate = learning_rate
        self._momentum = momentum

    def step(self, weights: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        self._velocity.mul_(self._momentum).add_(gradient)
        weights.sub_(self._velocity, alpha=self._learning_rate)


class Adam:
    """Adam with its usual constants (Kingma and Ba 2015, Algorithm 1)."""

    def __init__(self, size: int, learning_rate: float) -> None:
        """Start with zero moments."""
        self._mean = torch.zeros(size)
        self._square = torch.zeros(size)
        self._learning_rate = learning_rate
        self._steps = 0

    def step(self, weights: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        self._steps += 1
        self._mean.lerp_(gradient, 1.0 - 0.9)
        self._square.mul_(0.999).addcmul_(gradient, gradient, value=1.0 - 0.999)
        scale = (self._square / (1.0 - 0.999**self._steps)).sqrt_().add_(1e-8)
        rate = self._learning_rate / (1.0 - 0.9**self._steps)
        weights.addcdiv_(self._mean, scale, value=-rate)


def make_optimizer(spec: OptimizerSpec, size: int) -> Optimizer:
    """The optimizer of a spec for `size` weights."""
    if spec.name == "adam":
        return Adam(size, spec.learning_rate)
    return Sgd(size, spec.learning_rate, spec.momentum)
