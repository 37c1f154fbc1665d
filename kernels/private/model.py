"""`privatize(model, spec, example)`: the same model, whose backward pass gives clipped sums.

The noise is not here: it is added once per logical batch, on the sum, at `sensitivity()` times the
noise multiplier (R25; `kernels.noise.source`). The divisor is a public number (R17).
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kernels.native.library import path_taken
from kernels.private.check import (
    check_graph,
    check_optimizer,
    check_rows,
    floating,
    shared_parameters,
    trainable_modules,
)
from kernels.private.modules import give_back, rule_for, take_over
from kernels.private.rules import Rule, Tie, TiedEmbeddingRule, TiedLinearRule
from kernels.private.spec import ClipSpec, ModelRefused, shared_bounds
from kernels.private.tape import Group, Tape


class PrivateModel:
    """A model whose layers clip. Made by `privatize`.

    model: the module itself; call it, wrap it or compile it as before. In the mode `per_layer` an
    ordinary backward pass of a sum of per-example losses leaves clipped sums in `.grad`; in the
    other modes it must be `backward` or `sum_gradients` of this object. Gradients of several passes
    add up, as ever, so a logical batch may come in parts.
    """

    def __init__(self, model: nn.Module, spec: ClipSpec, tape: Tape) -> None:
        """Hold a model whose layers have been taken over."""
        self.model = model
        self.spec = spec
        self._tape = tape
        # what is trained was settled when the layers were taken over
        self._trained = [p for p in model.parameters() if p.requires_grad]

    def layers(self) -> list[list[nn.Parameter]]:
        """The trainable parameters by layer, in order; the two sides of a tie are one layer."""
        found: list[list[nn.Parameter]] = []
        known: set[int] = set()
        for rule in (rule for group in self._tape.groups for rule in group.rules):
            if not known & {id(parameter) for parameter in rule.parameters}:
                found.append(rule.parameters)
                known |= {id(parameter) for parameter in rule.parameters}
        return found

    def sensitivity(self) -> float:
        """The L2 bound on what one example adds to all sums together: sqrt(sum C_k^2), rounded up.

        In exact arithmetic; the rounding of float32 sums comes on top.
        """
        if len(self._tape.groups) == 1:
            return self._tape.groups[0].bound
        squares = math.fsum(group.bound**2 for group in self._tape.groups)
        return math.nextafter(math.sqrt(squares), math.inf)

    def backward(self, losses: Tensor) -> None:
        """Add the clipped sums of these examples to the parameters' gradients.

        Args:
            losses: (B,), one loss an example, none divided by B.

        Raises:
            ValueError: not one loss an example.
        """
        if losses.dim() != 1:
            raise ValueError("one loss an example is needed: reduction='none', then per-row sums")
        self._tape.drop()  # of a pass that was not ended here
        try:
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self._tape.flush()
        finally:
            self._tape.drop()

    def sum_gradients(self, loss_of: Callable[..., Tensor], *batch: Tensor) -> None:
        """Forward and backward over a batch, `microbatch` examples at a time when streaming.

        Args:
            loss_of: gives (B,) losses from the model and a part of the batch.
            batch: tensors with the examples first.
        """
        size = batch[0].shape[0]
        step = self.spec.microbatch if self.spec.mode == "stream" else max(1, size)
        for first in range(0, size, step):
            part = [value[first : first + step] for value in batch]
            self.backward(loss_of(self.model, *part))
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # an empty draw takes its step too

    def drop_gradients(self) -> None:
        """Forget the sums of the last logical batch."""
        for parameter in self._trained:
            parameter.grad = None

    def sum_over_ranks(self, group: dist.ProcessGroup | None = None) -> None:
        """Add up the gradients of all ranks, so that each holds those of the whole logical batch.

        For the modes whose sums DistributedDataParallel never sees (all but `per_layer`, whose
        ordinary gradients it averages by itself): run every pass on the module itself or under
        `no_sync`, then call this once. An example lives on one rank, so its norm does too, and the
        sensitivity is that of one rank. Noise belongs on the sum, once (R25).

        Args:
            group: the ranks; the default group if None.
        """
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)  # a rank may draw no example
        grads = [p.grad for p in self._trained if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat, group=group)
        for grad, part in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def set_bound(self, bound: float) -> None:
        """Clip to another C from the next pass on; groups share it as they shared the last one.

        Raises:
            ValueError: outside the range in which the rounding was proven.
        """
        self.spec = replace(self.spec, bound=bound)
        groups = self._tape.groups
        own = [self.spec.groups.get(group.name) for group in groups]
        for group, share in zip(groups, shared_bounds(bound, own), strict=True):
            group.bound = share
            for rule in group.rules:
                if group.fused:
                    module: Any = rule.module
                    module.private_bound = share

    def norms(self, losses: Tensor) -> Tensor:
        """Each example's norm over all layers together; nothing is clipped, summed or kept.

        Args:
            losses: (B,), one loss an example, none divided by B.

        Returns:
            (B,) float64, never underestimated. Private: for a charged release alone.

        Raises:
            ValueError: the model was made without `keeps_norms`.
        """
        group = self._one_group()
        self._tape.drop()
        try:
            losses.sum().backward()  # type: ignore[no-untyped-call]
            return group.norms2().sqrt()
        finally:
            self._tape.drop()

    def take_norms(self) -> Tensor:
        """The norms of all examples that were summed since this was last asked.

        Returns:
            (n,) float64, never underestimated. Private: for a charged release alone.

        Raises:
            ValueError: the model was made without `keeps_norms`.
        """
        group = self._one_group()
        kept, group.kept = group.kept or [], []
        return torch.cat([torch.zeros(0, dtype=torch.float64), *kept])

    def _one_group(self) -> Group:
        if not self.spec.keeps_norms:
            raise ValueError("norms are kept where keeps_norms asks for them")
        (group,) = self._tape.groups
        return group

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse an optimizer that holds anything else than this model's trainable parameters.

        Raises:
            ModelRefused: says which parameter.
        """
        check_optimizer(self.model, optimizer)

    def report(self) -> dict[str, Any]:
        """What a run's record keeps: bounds, the path taken, and each shape's plan. Public."""
        return {
            "mode": self.spec.mode,
            "path": path_taken(),
            **self.bounds(),
            "plans": [
                {"module": rule.name, **asdict(plan)}
                for group in self._tape.groups
                for rule in group.rules
                for plan in rule.plans.values()
            ],
        }

    def bounds(self) -> dict[str, Any]:
        """The part of `report` that follows C. Public where C is."""
        return {
            "sensitivity": self.sensitivity(),
            "groups": [
                {"name": g.name, "bound": g.bound, "modules": [r.name for r in g.rules]}
                for g in self._tape.groups
            ],
        }

    def plain_copy(self) -> nn.Module:
        """The model with these weights as if it had never been taken over; this one stays so."""
        copied = deepcopy(self.model)
        for module in copied.modules():
            give_back(module)
        return copied

    def unwrap(self) -> nn.Module:
        """Give the layers back their own backward pass; returns the model."""
        for module in self.model.modules():
            give_back(module)
        return self.model


def privatize(model: nn.Module, spec: ClipSpec, example: Sequence[Any]) -> PrivateModel:
    """Take over the trainable layers of a model, in place, after examining it.

    Args:
        model: any module; frozen parts stay as they are.
        spec: what is clipped together.
        example: the model's positional inputs with three made-up rows each; never private ones.

    Raises:
        ModelRefused: names the module and the remedy; the model is left as it was.
    """
    modules = trainable_modules(model)
    ties = shared_parameters(modules)
    rules = _rules(modules, ties, spec)
    tape = Tape(groups=_groups(rules, ties, spec), off=True)
    for rule in rules:
        group = tape.group_of(rule)
        # While it is examined nothing may clip, so no linear layer is fused yet.
        take_over(rule, tape, fused=False, bound=group.bound)
    private = PrivateModel(model, spec, tape)
    tied = {id(p) for tie in ties for _, module in tie for p in module.parameters(recurse=False)}
    try:
        check_rows(model, modules, example)
        outputs = floating(model(*example))
        check_graph(model, outputs, tied=tied)
    except BaseException:
        private.unwrap()
        raise
    tape.off = False
    for rule in rules:
        group = tape.group_of(rule)
        if group.fused:
            give_back(rule.module)
            take_over(rule, tape, fused=True, bound=group.bound)
    return private


def _rules(
    modules: list[tuple[str, nn.Module]], ties: list[list[tuple[str, nn.Module]]], spec: ClipSpec
) -> list[Rule]:
    plan = "keep" if spec.mode == "stream" else spec.plan
    tie_of = {id(module): Tie() for tie in ties for _, module in tie}
    for tie in ties:
        shared = Tie()
        for _, module in tie:
            tie_of[id(module)] = shared
            if isinstance(module, nn.Embedding):
                shared.padding = module.padding_idx
    rules: list[Rule] = []
    for name, module in modules:
        kind = rule_for(module)
        if kind is None:
            raise ModelRefused(name, "no rule", "freeze it")
        if id(module) not in tie_of:
            rules.append(kind(name, module, plan, spec.kept_bytes))
            continue
        tied = TiedEmbeddingRule if isinstance(module, nn.Embedding) else TiedLinearRule
        rule = tied(name, module, plan, spec.kept_bytes)
        rule.tie = tie_of[id(module)]
        rules.append(rule)
    return rules


def _groups(
    rules: list[Rule], ties: list[list[tuple[str, nn.Module]]], spec: ClipSpec
) -> list[Group]:
    """Rules by group, in order; the two sides of a tie share the group of the first."""
    leader = {id(module): tie[0][0] for tie in ties for _, module in tie}
    members: dict[str, list[Rule]] = {}
    for rule in rules:
        name = leader.get(id(rule.module), rule.name)
        if spec.mode == "per_group":
            fitting = [p for p in spec.groups if name == p or name.startswith(f"{p}.") or not p]
            if not fitting:
                raise ModelRefused(name, "it belongs to no group", "name a prefix of it in groups")
            name = max(fitting, key=len)
        elif spec.mode != "per_layer":
            name = "all"
        members.setdefault(name, []).append(rule)
    own = [spec.groups.get(name) for name in members]
    fuses = spec.mode != "stream" and not spec.keeps_norms
    return [
        Group(
            *(name, bound, held),
            fused=fuses and len(held) == 1,
            kept=[] if spec.keeps_norms else None,
        )
        for (name, held), bound in zip(members.items(), shared_bounds(spec.bound, own), strict=True)
    ]
