"""The covered kinds of modules, and how their forward pass is taken over and given back.

A covered module keeps its parameters, its names and its place; only its class changes, to a
subclass whose forward goes through our autograd functions.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from kernels.private import functions
from kernels.private.rules import ConvRule, EmbeddingRule, LinearRule, NormRule, Rule
from kernels.private.tape import Tape


def _applied(function: Any, *arguments: object) -> Tensor:
    out: Tensor = function.apply(*arguments)
    return out


class _Covered:
    """What a covered module carries; plain attributes, so no state dict changes."""

    plain: ClassVar[type[nn.Module]]
    private_rule: Rule
    private_tape: Tape


class FusedLinear(_Covered, nn.Linear):
    """`nn.Linear` as a group by itself."""

    plain = nn.Linear
    private_bound: float
    private_plan: str
    private_key: str

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return _applied(
            functions.FusedLinear,
            *(x, self.weight, self.bias, self.private_bound, self.private_plan, self.private_key),
        )


class BookedLinear(_Covered, nn.Linear):
    """`nn.Linear` in a group."""

    plain = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return _applied(
            functions.BookedLinear, x, self.weight, self.bias, self.private_rule, self.private_tape
        )


class Embedding(_Covered, nn.Embedding):
    """`nn.Embedding`."""

    plain = nn.Embedding

    def forward(self, index: Tensor) -> Tensor:
        """As `nn.Embedding`."""
        return _applied(
            functions.ClippedEmbedding, index, self.weight, self.private_rule, self.private_tape
        )


class LayerNorm(_Covered, nn.LayerNorm):
    """`nn.LayerNorm`."""

    plain = nn.LayerNorm

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.LayerNorm`."""
        return _applied(
            functions.ClippedLayerNorm,
            x,
            self.weight,
            self.bias,
            self.private_rule,
            self.private_tape,
        )


class RmsNorm(_Covered, nn.RMSNorm):
    """`nn.RMSNorm`."""

    plain = nn.RMSNorm

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.RMSNorm`."""
        return _applied(
            functions.ClippedRmsNorm, x, self.weight, self.private_rule, self.private_tape
        )


class GroupNorm(_Covered, nn.GroupNorm):
    """`nn.GroupNorm`."""

    plain = nn.GroupNorm

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.GroupNorm`."""
        return _applied(
            functions.ClippedGroupNorm,
            x,
            self.weight,
            self.bias,
            self.private_rule,
            self.private_tape,
        )


class Conv1d(_Covered, nn.Conv1d):
    """`nn.Conv1d`."""

    plain = nn.Conv1d

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv1d`."""
        return _applied(
            functions.ClippedConv, x, self.weight, self.bias, self.private_rule, self.private_tape
        )


class Conv2d(_Covered, nn.Conv2d):
    """`nn.Conv2d`."""

    plain = nn.Conv2d

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        return _applied(
            functions.ClippedConv, x, self.weight, self.bias, self.private_rule, self.private_tape
        )


_COVERED: dict[type[nn.Module], tuple[type[nn.Module], type[Rule]]] = {
    nn.Linear: (BookedLinear, LinearRule),
    nn.Embedding: (Embedding, EmbeddingRule),
    nn.LayerNorm: (LayerNorm, NormRule),
    nn.RMSNorm: (RmsNorm, NormRule),
    nn.GroupNorm: (GroupNorm, NormRule),
    nn.Conv1d: (Conv1d, ConvRule),
    nn.Conv2d: (Conv2d, ConvRule),
}


def rule_for(module: nn.Module) -> type[Rule] | None:
    """The rule of a module of exactly a covered kind; a subclass may do anything in its forward."""
    found = _COVERED.get(type(module))
    return None if found is None else found[1]


def take_over(rule: Rule, tape: Tape, *, fused: bool, bound: float) -> None:
    """Put our forward pass in the place of the module's."""
    module: Any = rule.module
    target = _COVERED[type(module)][0]
    if target is BookedLinear and fused:
        target = FusedLinear
        module.private_bound, module.private_plan = bound, rule.plan
        module.private_key = rule.key
    module.private_rule, module.private_tape = rule, tape
    module.__class__ = target


def give_back(module: nn.Module) -> None:
    """Undo `take_over`."""
    if isinstance(module, _Covered):
        for name in (
            "private_rule",
            "private_tape",
            "private_bound",
            "private_plan",
            "private_key",
        ):
            module.__dict__.pop(name, None)
        module.__class__ = module.plain  # type: ignore[assignment]


def is_ours(node_name: str) -> bool:
    """Whether an autograd node belongs to one of our functions."""
    return node_name.removesuffix("Backward") in {
        name for name, value in vars(functions).items() if hasattr(value, "apply")
    }
