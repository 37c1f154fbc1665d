"""Models that cannot be trained privately are refused, with the module's name and a remedy."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.private.model import privatize
from kernels.private.spec import ClipSpec, ModelRefused
from tests.kernels.private.nets import Gpt, made

SPEC = ClipSpec(mode="flat", bound=1.0)


class _Own(nn.Module):
    """A parameter outside any covered module."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) * self.gain
        return out


class _BatchMean(_Own):
    """Takes a mean over the batch inside its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.gain.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x - x.mean(dim=0))
        return out


class _HiddenBatchMean(_BatchMean):
    """The same behind `detach`, where the graph does not see it."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out - out.detach().mean(dim=0)


class _Functional(_BatchMean):
    """Uses a covered module's weight without calling the module."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.inner.weight, self.inner.bias)


class _Twice(_BatchMean):
    """Runs one module twice."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(self.inner(x))
        return out


class _Flattened(_BatchMean):
    """Hides the batch among the positions."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.reshape(-1, 2, 4).reshape(-1, 4))
        return out.reshape(x.shape)


class _SharedPlace(nn.Module):
    """A position embedding without a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Embedding(4, 4)
        self.inner = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x + self.place(torch.arange(4)))
        return out


def _half_frozen() -> nn.Module:
    model = nn.Linear(4, 4)
    assert model.bias is not None
    model.bias.requires_grad = False
    return nn.Sequential(model)


class _Subclass(nn.Linear):
    """May do anything in its forward."""


REFUSED: list[tuple[nn.Module, Tensor, str, str]] = [
    (_Own(), torch.randn(3, 4), "the model", "no rule"),
    (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), torch.randn(3, 4), "1", "GroupNorm"),
    (_BatchMean(), torch.randn(3, 4), "inner", "rows of a batch meet"),
    (_HiddenBatchMean(), torch.randn(3, 4), "output", "rows of a batch meet"),
    (_Functional(), torch.randn(3, 4), "inner.", "outside its module"),
    (_Twice(), torch.randn(3, 4), "inner.", "more than once"),
    (_Flattened(), torch.randn(3, 2, 4), "inner", "batch dim"),
    (_SharedPlace(), torch.randn(3, 4, 4), "place", "batch dim"),
    (nn.MultiheadAttention(4, 2, batch_first=True), torch.randn(3, 2, 4), "the model", "no rule"),
    (_half_frozen(), torch.randn(3, 4), "0", "half of it is frozen"),
    (nn.Sequential(_Subclass(4, 4)), torch.randn(3, 4), "0", "no rule"),
    (nn.Sequential(nn.Linear(4, 4).bfloat16()), torch.randn(3, 4), "0", "16 bits"),
    (nn.Sequential(nn.Conv1d(4, 4, 2, padding="same")), torch.randn(3, 4, 4), "0", "padding"),
    (nn.Linear(4, 4).requires_grad_(requires_grad=False), torch.randn(3, 4), "", "unfreeze"),
]


@pytest.mark.parametrize(("model", "x", "name", "says"), REFUSED)
def test_a_model_that_would_leak_is_refused(
    model: nn.Module, x: Tensor, name: str, says: str
) -> None:
    example = (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)
    kinds = [type(module) for module in model.modules()]
    with pytest.raises(ModelRefused) as refusal:
        privatize(model, SPEC, example)
    assert name in str(refusal.value)
    assert says in str(refusal.value)
    assert [type(module) for module in model.modules()] == kinds  # left as it was


def test_an_optimizer_of_other_parameters_is_refused() -> None:
    model, x, _ = made("mlp")
    private = privatize(model, SPEC, (x[:3],))
    parameters = list(model.parameters())
    private.check_optimizer(torch.optim.SGD(parameters, lr=0.1))
    with pytest.raises(ModelRefused, match="not this model's"):
        private.check_optimizer(torch.optim.SGD(made("mlp")[0].parameters(), lr=0.1))
    with pytest.raises(ModelRefused, match="does not hold it"):
        private.check_optimizer(torch.optim.SGD(parameters[1:], lr=0.1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"bound": 0.0},
        {"bound": float("nan")},
        {"groups": {"a": 1.0}},
        {"mode": "per_group"},
        {"microbatch": 0},
    ],
)
def test_a_specification_without_a_proof_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"clip_norm|groups|microbatch"):
        ClipSpec(**{"mode": "flat", "bound": 1.0, **wrong})


def test_modules_outside_every_group_are_refused() -> None:
    model, x, _ = made("mlp")
    with pytest.raises(ModelRefused, match="belongs to no group"):
        privatize(model, ClipSpec(mode="per_group", bound=1.0, groups={"0": None}), (x[:3],))


def test_losses_that_were_reduced_are_refused() -> None:
    model, x, _ = made("mlp")
    private = privatize(model, SPEC, (x[:3],))
    with pytest.raises(ValueError, match="one loss an example"):
        private.backward(model(x).sum())


def test_too_few_made_up_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="three made-up"):
        privatize(Gpt(), SPEC, (torch.zeros(2, 9, dtype=torch.int64),))
