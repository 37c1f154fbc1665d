"""One step of each engine: gradients of a whole batch in `.grad`, ready for noise.

Peers are imported where they are used and skipped where they are not installed.
"""

import gc
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kernels.bench.models import Case, case, losses
from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec, Mode, PlanName

BOUND = 1.0


class PeerMissing(Exception):
    """The engine is not installed here."""


@dataclass(slots=True)
class Engine:
    """step: one batch. gradients: by the case's own parameter names, after a step.

    divided: by what the engine divided the clipped sum. groups: `flat`, `per_layer`, or None for
    plain training. private: our own, for its report.
    """

    step: Callable[[], None]
    model: nn.Module
    groups: str | None
    divided: float = 1.0
    private: PrivateModel | None = None

    def widest_gap(self) -> float:
        """How far its sums may lie from the definition.

        A ghost norm is bounded from above and clips by up to a percent more; peers take norms in
        float32 and add a constant to them.
        """
        if self.private is None:
            return 1e-3
        plans = self.private.report()["plans"]
        return 0.02 if any(plan["algorithm"] == "ghost" for plan in plans) else 1e-5

    def gradients(self) -> dict[str, Tensor]:
        """Clipped sums by parameter name."""
        return {
            name: parameter.grad * self.divided
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and parameter.grad is not None
        }


def plain(made: Case, microbatch: int | None = None) -> Engine:
    """Training without privacy, whole or in microbatches."""
    size = made.x.shape[0]
    step_size = microbatch or size

    def step() -> None:
        made.model.zero_grad(set_to_none=True)
        for first in range(0, size, step_size):
            part = slice(first, first + step_size)
            torch.autograd.backward(losses(made.model, made.x[part], made.y[part]).sum())

    return Engine(step, made.model, None)


def ours(made: Case, mode: Mode, plan: PlanName = "auto") -> Engine:
    """This package."""
    size = made.microbatch
    spec = ClipSpec(mode=mode, bound=BOUND, plan=plan, microbatch=size)
    private = privatize(made.model, spec, (made.x[:3],))

    def step() -> None:
        made.model.zero_grad(set_to_none=True)
        private.sum_gradients(losses, made.x, made.y)

    groups = "per_layer" if mode == "per_layer" else "flat"
    return Engine(step, made.model, groups, private=private)


class _MeanLoss(nn.CrossEntropyLoss):
    """The measurements' loss in the form that the peer's two-pass mode asks for."""

    def forward(self, scores: Tensor, y: Tensor) -> Tensor:
        if scores.dim() == 2:
            return super().forward(scores, y)
        kept, self.reduction = self.reduction, "none"
        each = super().forward(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))
        self.reduction = kept
        each = each.view(y.shape).mean(dim=1)
        return each if kept == "none" else each.mean()


def opacus(made: Case, mode: str) -> Engine:
    """Opacus 1.6, `hooks` or `ghost`, without noise.

    Raises:
        PeerMissing: it is not installed.
    """
    try:
        from opacus import PrivacyEngine
    except ImportError as error:
        raise PeerMissing("opacus") from error
    criterion = _MeanLoss()
    live = [p for p in made.model.parameters() if p.requires_grad]
    data = torch.utils.data.TensorDataset(made.x, made.y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = PrivacyEngine().make_private(
            module=made.model,
            optimizer=torch.optim.SGD(live, lr=0.0),
            criterion=criterion,
            data_loader=torch.utils.data.DataLoader(data, batch_size=made.x.shape[0]),
            noise_multiplier=0.0,
            max_grad_norm=BOUND,
            poisson_sampling=False,
            grad_sample_mode=mode,
        )
    model, optimizer = found[0], found[1]
    loss_of = found[2] if mode == "ghost" else criterion

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(made.x), made.y).backward()
        optimizer.pre_step()

    return Engine(step, made.model, "flat", divided=float(made.x.shape[0]))


def vmap(made: Case) -> Engine:
    """`torch.func`: per-example gradients by vmap."""
    from torch.func import functional_call, grad
    from torch.func import vmap as mapped

    live = {n: p.detach() for n, p in made.model.named_parameters() if p.requires_grad}
    fixed = {n: p.detach() for n, p in made.model.named_parameters() if not p.requires_grad}

    class Called(nn.Module):
        def __init__(self, weights: dict[str, Tensor]) -> None:
            super().__init__()
            self.weights = weights

        def forward(self, x: Tensor) -> Any:
            return functional_call(made.model, {**self.weights, **fixed}, (x,))

    def one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return losses(Called(weights), x[None], y[None]).sum()

    each = mapped(grad(one), in_dims=(None, 0, 0))

    def step() -> None:
        found = each(live, made.x, made.y)
        norms2 = sum(g.flatten(1).square().sum(dim=1) for g in found.values())
        factors = (BOUND / (norms2.sqrt() + 1e-6)).clamp(max=1.0)
        for name, parameter in made.model.named_parameters():
            if name in found:
                parameter.grad = torch.einsum("b...,b->...", found[name], factors)

    return Engine(step, made.model, "flat")


def one_by_one(made: Case) -> Engine:
    """A loop over examples, clipped by the library's own norm."""
    live = [p for p in made.model.parameters() if p.requires_grad]

    def step() -> None:
        sums = [torch.zeros_like(p) for p in live]
        for b in range(made.x.shape[0]):
            made.model.zero_grad(set_to_none=True)
            part = slice(b, b + 1)
            torch.autograd.backward(losses(made.model, made.x[part], made.y[part]).sum())
            grads = [p.grad for p in live if p.grad is not None]
            norm = torch.stack(torch._foreach_norm(grads)).norm()  # noqa: SLF001
            torch._foreach_add_(sums, grads, alpha=min(1.0, BOUND / (float(norm) + 1e-6)))
        for parameter, total in zip(live, sums, strict=True):
            parameter.grad = total

    return Engine(step, made.model, "flat")


ENGINES: dict[str, Callable[[Case], Engine]] = {
    "plain": plain,
    "plain-microbatched": lambda made: plain(made, made.microbatch),
    "per-layer": lambda made: ours(made, "per_layer"),
    "flat": lambda made: ours(made, "flat"),
    "stream": lambda made: ours(made, "stream"),
    "opacus-hooks": lambda made: opacus(made, "hooks"),
    "opacus-ghost": lambda made: opacus(made, "ghost"),
    "vmap": vmap,
    "one-by-one": one_by_one,
}
# Per-example gradients of the whole batch, several times over: gigabytes that must be free.
GIGABYTES = {("mlp", "vmap"): 16, ("mlp", "opacus-hooks"): 12}


def engine(name: str, model: str, positions: int) -> Engine:
    """A fresh engine on a fresh copy of a case.

    Raises:
        PeerMissing: it is not installed, or the machine is too small for it.
    """
    needed = GIGABYTES.get((model, name), 0)
    if needed and needed > _free_gigabytes():
        raise PeerMissing(f"needs {needed} GB of free memory")
    return ENGINES[name](case(model, positions))


def _free_gigabytes() -> float:
    # what the last table's engines held goes first: hooks and modules hold each other
    gc.collect()
    try:
        said = Path("/proc/meminfo").read_text()
    except OSError:
        return math.inf
    found = re.search(r"MemAvailable:\s+(\d+)", said)
    return int(found.group(1)) / 2**20 if found else math.inf


class Definition:
    """The per-example float64 loop of one case: what every engine's gradients are held against."""

    def __init__(self, model: str, positions: int) -> None:
        """Run the loop once, for each way of clipping."""
        made = case(model, positions)
        exact = made.model.double()
        x = made.x.double() if made.x.is_floating_point() else made.x
        live = {n: p for n, p in exact.named_parameters() if p.requires_grad}
        by_module: dict[str, list[str]] = {}
        for name in live:
            by_module.setdefault(name.rpartition(".")[0], []).append(name)
        ways: dict[str | None, list[list[str]]] = {
            None: [list(live)],
            "flat": [list(live)],
            "per_layer": list(by_module.values()),
        }
        self.sums = {way: {n: torch.zeros_like(p) for n, p in live.items()} for way in ways}
        for b in range(x.shape[0]):
            exact.zero_grad(set_to_none=True)
            torch.autograd.backward(losses(exact, x[b : b + 1], made.y[b : b + 1]).sum())
            grads = {n: p.grad for n, p in live.items() if p.grad is not None}
            squares = {n: float(g.square().sum()) for n, g in grads.items()}
            for way, groups in ways.items():
                for group in groups:
                    norm = math.sqrt(math.fsum(squares.get(n, 0.0) for n in group))
                    bound = BOUND / math.sqrt(len(groups))
                    factor = min(1.0, bound / max(norm, 1e-300)) if way else 1.0
                    for n in group:
                        if n in grads:
                            self.sums[way][n].add_(grads[n], alpha=factor)

    def gap(self, found: Engine) -> float:
        """Relative L2 distance of an engine's sums from the loop's."""
        expected, measured = self.sums[found.groups], found.gradients()
        squares = sum(float((measured[n].double() - expected[n]).square().sum()) for n in expected)
        return math.sqrt(squares / sum(float(s.square().sum()) for s in expected.values()))
