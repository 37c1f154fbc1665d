"""How a noisy gradient moves the weights: post-processing, so it costs no privacy."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from app.domain.training.spec import OptimizerSpec

_FIRST, _SECOND, _LEAST = 0.9, 0.999, 1e-8
# Of the noise's variance: below it a corrected second moment tells nothing of the gradient.
_FLOOR = 0.01


class NoisyAdam(torch.optim.Optimizer):
    """Adam that takes the known variance of the noise off its second moment.

    Noise of variance V in every coordinate makes the second moment V too large, and Adam becomes
    gradient descent with a small rate; V is public, so it is subtracted (Tang et al. 2024,
    DP-AdamBC, Algorithm 1). Constants: Kingma and Ba 2015, Algorithm 1.

    noise_variance: of one coordinate of the gradient as it is applied; 0 corrects nothing.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, *, corrects_noise: bool
    ) -> None:
        """Start with zero moments.

        Args:
            parameters: the model's trainable ones.
            learning_rate: of a step without schedule.
            corrects_noise: whether a variance that it is told is taken off.
        """
        super().__init__(parameters, {"lr": learning_rate})
        self.corrects_noise = corrects_noise
        self.noise_variance = 0.0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter by its `.grad`."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                self._move(parameter, parameter.grad, group["lr"])

    def _move(self, parameter: nn.Parameter, gradient: Tensor, learning_rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["mean"].lerp_(gradient, 1.0 - _FIRST)
        state["square"].mul_(_SECOND).addcmul_(gradient, gradient, value=1.0 - _SECOND)
        square = state["square"] / (1.0 - _SECOND ** state["step"])
        square.sub_(self.noise_variance).clamp_(min=_FLOOR * self.noise_variance)
        rate = learning_rate / (1.0 - _FIRST ** state["step"])
        parameter.addcdiv_(state["mean"], square.sqrt_().add_(_LEAST), value=-rate)


def make_optimizer(
    spec: OptimizerSpec, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of a spec.

    Args:
        spec: its name and constants.
        parameters: the model's trainable ones.
    """
    if spec.name == "adam":
        return NoisyAdam(parameters, spec.learning_rate, corrects_noise=spec.corrects_noise)
    return torch.optim.SGD(parameters, lr=spec.learning_rate, momentum=spec.momentum)


def tell_noise(optimizer: torch.optim.Optimizer, variance: float) -> None:
    """Say what the variance of the noise is, once C is known; who does not correct it does not ask.

    Args:
        optimizer: of `make_optimizer`.
        variance: of one coordinate of the gradient as it is applied; public.
    """
    if isinstance(optimizer, NoisyAdam) and optimizer.corrects_noise:
        optimizer.noise_variance = variance


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give the next step its learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
