"""Groups of layers that are clipped together, and what one backward pass has booked for them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kernels.layers.api import factors_of
from kernels.private.rules import Booked, Rule, Sums


@dataclass(slots=True)
class Group:
    """Layers under one bound.

    fused: a single layer, clipped inside its own backward pass.
    kept: norms of examples, before clipping, where they were asked for. Private.
    """

    name: str
    bound: float
    rules: list[Rule]
    fused: bool
    booked: list[tuple[list[nn.Parameter], Booked]] = field(default_factory=list)
    kept: list[Tensor] | None = None

    def norms2(self) -> Tensor:
        """(B,) float64: the squared norm of each example over the whole group."""
        parts = [booked.norms2 for _, booked in self.booked]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(f"{self.name}: layers of one backward pass saw different batches")
        return torch.stack(parts).sum(dim=0)

    @torch.no_grad()
    def flush(self) -> None:
        """Clip what was booked and add the sums to the parameters' gradients."""
        if not self.booked:
            return
        norms = self.norms2().sqrt()
        if self.kept is not None:
            self.kept.append(norms)
        factors = factors_of(norms, self.bound)
        while self.booked:
            parameters, booked = self.booked.pop()
            for parameter, total in zip(parameters, booked.total(factors), strict=False):
                if total is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = total.to(parameter.dtype)
                else:
                    parameter.grad += total


@dataclass(slots=True)
class Tape:
    """What the layers of one model report to.

    off: while the model is being examined; nothing is clipped or kept then.
    """

    groups: list[Group] = field(default_factory=list)
    off: bool = False

    def receive(self, rule: Rule, saved: tuple[Any, ...], g: Tensor) -> Sums:
        """A layer's backward pass: its clipped sums if it is a group, else None and booked."""
        nothing: Sums = [None, None]
        if self.off:
            return nothing
        group = self.group_of(rule)
        if group.fused:
            return (rule.clip(saved, g, group.bound) + nothing)[:2]
        # Detached, or the books would hold the whole graph of the forward pass.
        held = tuple(x.detach() if isinstance(x, Tensor) else x for x in saved)
        group.booked.append((rule.parameters, rule.book(held, g.detach())))
        return nothing

    def group_of(self, rule: Rule) -> Group:
        """The group of a rule; by search, so that a copied model finds its copied group."""
        return next(group for group in self.groups if any(one is rule for one in group.rules))

    def flush(self) -> None:
        """End of a backward pass: every group that keeps books is clipped and summed."""
        for group in self.groups:
            group.flush()

    def drop(self) -> None:
        """Forget what was booked by a pass that did not end."""
        for group in self.groups:
            group.booked.clear()
