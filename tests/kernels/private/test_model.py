"""Attacks on private models: every mode against the per-example float64 loop, and its bound."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.private.model import privatize
from kernels.private.spec import ClipSpec, Mode, PlanName
from tests.kernels.paths import paths, taking
from tests.kernels.private.nets import NETS, by_module, loop, losses, made

BOUND = 0.7
MODES: list[Mode] = ["per_layer", "flat", "stream", "per_group"]


@pytest.fixture(params=[path for path in paths() if path in ("pure-pytorch", "avx512vnni", "avx2")])
def _path(request: pytest.FixtureRequest) -> Iterator[None]:
    with taking(request.param):
        yield


def _spec(mode: Mode, model: nn.Module, plan: PlanName = "auto", kept: int = 2**20) -> ClipSpec:
    groups: dict[str, float | None] = {}
    if mode == "per_group":
        groups = {name: None for name, _ in model.named_children()} | {"": 0.2}
    return ClipSpec(mode=mode, bound=BOUND, groups=groups, plan=plan, microbatch=4, kept_bytes=kept)


def _expected_groups(mode: Mode, model: nn.Module, spec: ClipSpec) -> list[tuple[list[str], float]]:
    modules = by_module(model)
    everything = [name for held in modules for name in held]
    if mode in ("flat", "stream"):
        return [(everything, BOUND)]
    if mode == "per_layer":
        return [(held, BOUND / math.sqrt(len(modules))) for held in modules]
    by_child: dict[str, list[str]] = {}
    for name in everything:
        by_child.setdefault(name.split(".")[0], []).append(name)
    return [(held, BOUND / math.sqrt(len(by_child))) for held in by_child.values()]


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _gap(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    gap = sum(float((found[n].double() - expected[n]).square().sum()) for n in expected)
    return math.sqrt(gap / sum(float(t.square().sum()) for t in expected.values()))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("plan", ["direct", "ghost"])
def test_every_mode_is_the_per_example_loop(net: str, mode: Mode, plan: PlanName) -> None:
    model, x, y = made(net)
    spec = _spec(mode, model, plan, kept=0 if plan == "ghost" else 2**20)
    expected = loop(model, x, y, _expected_groups(mode, model, spec))
    private = privatize(model, spec, (x[:3],))
    if mode == "stream":  # microbatches see their own part of the scales
        total: dict[str, Tensor] = {}
        private.sum_gradients(losses_scaled, x, y, _scales())
        total = _gradients(model)
    else:
        private.backward(losses(model, x, y))
        total = _gradients(model)
    assert not any(t.requires_grad for t in total.values())
    assert _gap(total, expected) < 1e-6
    assert private.sensitivity() <= BOUND * (1 + 1e-12)


def _scales() -> Tensor:
    return torch.logspace(-2, 1, 6, dtype=torch.float64)


def losses_scaled(model: nn.Module, x: Tensor, y: Tensor, scales: Tensor) -> Tensor:
    """The losses of a part of the batch, with its own scales."""
    first = torch.logspace(-2, 1, 6, dtype=torch.float64)[: x.shape[0]]
    found: Tensor = losses(model, x, y) / first * scales
    return found


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("mode", ["per_layer", "flat"])
@pytest.mark.parametrize("net", NETS)
def test_float32_follows_the_float64_loop_on_every_path(net: str, mode: Mode) -> None:
    model, x, y = made(net, torch.float32)
    expected = loop(model, x, y, _expected_groups(mode, model, _spec(mode, model)))
    private = privatize(model, _spec(mode, model, "direct"), (x[:3],))
    private.backward(losses(model, x, y))
    assert _gap(_gradients(model), expected) < 2e-5  # the float32 forward pass is in it
    model.zero_grad()
    ghost = privatize(private.unwrap(), _spec(mode, model, "ghost"), (x[:3],))
    ghost.backward(losses(model, x, y))
    assert _gap(_gradients(model), expected) < 0.03  # norms are bounded from above


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("net", ["gpt", "gpt-tied", "cnn"])
def test_one_example_moves_the_gradients_by_at_most_the_sensitivity(net: str, mode: Mode) -> None:
    model, x, y = made(net, torch.float32)
    private = privatize(model, _spec(mode, model), (x[:3],))

    def sums(rows: list[int]) -> Tensor:
        model.zero_grad()
        private.sum_gradients(lambda m, a, b: losses(m, a, b) * 1e3, x[rows], y[rows])
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    alone = sums([0]).double()
    assert 0.5 * BOUND < float(alone.norm()) <= private.sensitivity() * (1 + 1e-6)
    empty = sums([])
    assert float(empty.abs().max()) == 0.0  # an empty draw still has gradients to add noise to
    assert empty.numel() == alone.numel()


@pytest.mark.parametrize("mode", ["flat", "per_layer"])
def test_an_example_that_is_not_finite_adds_exactly_zero(mode: Mode) -> None:
    model, x, y = made("mlp", torch.float32)
    private = privatize(model, _spec(mode, model), (x[:3],))
    private.backward(losses(model, x[:5], y[:5]))
    expected = _gradients(model)
    model.zero_grad()
    bad = torch.cat([x[:5], torch.full((1, 12), math.nan)])
    private.backward(losses(model, bad, torch.cat([y[:5], y[:1]])))
    for name, gradient in _gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7)


def test_parts_of_a_logical_batch_add_up() -> None:
    model, x, y = made("gpt")
    private = privatize(model, _spec("flat", model), (x[:3],))
    scales = _scales()
    private.backward(losses_scaled(model, x, y, scales))
    whole = _gradients(model)
    model.zero_grad()
    for rows in (slice(0, 2), slice(2, 6)):
        private.backward(losses_scaled(model, x[rows], y[rows], scales[rows]))
    assert _gap(_gradients(model), whole) < 1e-12


def test_a_pass_that_was_broken_off_leaves_nothing_behind() -> None:
    model, x, y = made("mlp")
    expected = loop(model, x, y, [([n for n, _ in model.named_parameters()], BOUND)])
    private = privatize(model, _spec("flat", model), (x[:3],))
    # Not through the private model: booked, never summed.
    torch.autograd.backward(losses(model, x, y).sum())
    assert all(p.grad is None for p in model.parameters())
    private.backward(losses(model, x, y))
    assert _gap(_gradients(model), expected) < 1e-6


def test_unwrapping_gives_the_layers_back() -> None:
    model, x, y = made("gpt")
    names = list(model.state_dict())
    torch.autograd.backward(losses(model, x, y).sum())
    expected = _gradients(model)
    model.zero_grad()
    private = privatize(model, _spec("flat", model), (x[:3],))
    assert list(model.state_dict()) == names
    assert private.unwrap() is model
    torch.autograd.backward(losses(model, x, y).sum())
    assert _gap(_gradients(model), expected) < 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_the_report_holds_every_choice_and_nothing_of_the_data(mode: Mode) -> None:
    model, x, y = made("gpt", torch.float32)
    private = privatize(model, _spec(mode, model, "direct"), (x[:3],))
    private.sum_gradients(losses, x, y)
    report = private.report()
    assert report["mode"] == mode
    assert {"module", "shape", "algorithm", "measured_us"} == set(report["plans"][0])
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert {plan["module"] for plan in report["plans"]} == linear
    forced = "keep" if mode == "stream" else "direct"
    assert {plan["algorithm"] for plan in report["plans"]} == {forced}
    assert report["path"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler about itself
@pytest.mark.parametrize("net", ["mlp", "gpt"])
def test_a_compiled_model_gives_the_same_sums(net: str) -> None:
    model, x, y = made(net, torch.float32)
    if net == "gpt":
        model = nn.Sequential(nn.Linear(9, 20), nn.GELU(), nn.Linear(20, 5)).float()
        x, y = torch.randn(6, 4, 9), torch.randint(0, 5, (6, 4))
    private = privatize(model, _spec("per_layer", model, "direct"), (x[:3],))
    torch.autograd.backward(losses(model, x, y).sum())
    expected = _gradients(model)
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.autograd.backward(losses(compiled, x, y).sum())  # type: ignore[arg-type]
    assert _gap(_gradients(model), {n: g.double() for n, g in expected.items()}) < 1e-6
    assert private.sensitivity() <= BOUND * (1 + 1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize(
    ("mode", "backend"),
    [
        ("flat", "aot_eager"),
        pytest.param("flat", "inductor", marks=pytest.mark.long),
        pytest.param("per_layer", "inductor", marks=pytest.mark.long),
    ],
)
def test_a_stack_of_linear_layers_gives_the_same_sums_compiled(mode: Mode, backend: str) -> None:
    # what is booked over layers breaks the graph where it is booked; a fused layer does not
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    x, y = torch.randn(6, 20), torch.randint(0, 5, (6,))
    private = privatize(model, _spec(mode, model), (x[:3],))
    private.backward(losses(model, x, y))
    expected = _gradients(model)
    model.zero_grad()
    compiled = torch.compile(model, fullgraph=mode == "per_layer", backend=backend)
    private.backward(losses(compiled, x, y))  # type: ignore[arg-type]
    assert _gap(_gradients(model), {n: g.double() for n, g in expected.items()}) < 1e-6


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which operators run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


def test_a_step_outside_the_compiler_never_calls_it() -> None:
    # Its operator loads all of the compiler when it is first called: 900 modules, 130 MB.
    model, x, y = made("mlp", torch.float32)
    privatize(model, _spec("per_layer", model), (x[:3],))
    with _Operators() as operators:
        torch.autograd.backward(losses(model, x, y).sum())
    assert model.get_parameter("0.weight").grad is not None
    assert not [name for name in operators.seen if name.startswith("epsilon_ledger")]


@pytest.mark.parametrize("mode", MODES)
def test_a_layer_of_one_position_never_holds_an_example_s_gradient(mode: Mode) -> None:
    model, x, y = made("mlp", torch.float32)
    private = privatize(model, _spec(mode, model), (x[:3],))
    private.sum_gradients(losses, x, y)
    plans = [plan["algorithm"] for plan in private.report()["plans"]]
    assert set(plans) == {"product"}
    assert len(plans) == 3  # a part of another size is no other shape


@pytest.mark.parametrize("mode", MODES)
def test_the_report_does_not_tell_how_many_examples_were_drawn(mode: Mode) -> None:
    reports = []
    for drawn in (2, 3, 5):
        model, x, y = made("gpt", torch.float32)
        private = privatize(model, _spec(mode, model, "ghost"), (x[:3],))
        private.sum_gradients(losses, x[:drawn], y[:drawn])
        reports.append(private.report())
    assert reports[0] == reports[1] == reports[2]


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("mode", MODES)
def test_a_bound_that_is_set_later_clips_as_one_that_was_there(mode: Mode) -> None:
    found = []
    for first in (BOUND, 9.0):
        model, x, y = made("mlp")
        spec = replace(_spec(mode, model), bound=first)
        private = privatize(model, spec, (x,))
        private.set_bound(BOUND)
        assert private.spec == replace(spec, bound=BOUND)
        private.sum_gradients(losses, x, y)
        found.append((_gradients(model), private.sensitivity()))
    assert found[0][1] == found[1][1]
    for name, grad in found[0][0].items():
        assert torch.equal(grad, found[1][0][name])
    with pytest.raises(ValueError, match="clip_norm"):
        private.set_bound(0.0)


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("mode", ["flat", "stream"])
def test_norms_that_are_kept_are_those_that_clipped_and_are_given_once(mode: Mode) -> None:
    model, x, y = made("mlp")
    private = privatize(model, replace(_spec(mode, model), keeps_norms=True, microbatch=8), (x,))
    private.sum_gradients(losses, x, y)
    kept = private.take_norms()
    assert kept.shape == (x.shape[0],)
    assert private.take_norms().shape == (0,)
    torch.testing.assert_close(private.norms(losses(model, x, y)), kept, rtol=1e-6, atol=0)
    assert private.take_norms().shape == (0,)


def test_norms_are_refused_where_nobody_asked_for_them_or_no_group_knows_them() -> None:
    model, x, y = made("mlp")
    with pytest.raises(ValueError, match="one group"):
        replace(_spec("per_layer", model), keeps_norms=True)
    private = privatize(model, _spec("flat", model), (x,))
    for ask in (private.take_norms, lambda: private.norms(losses(model, x, y))):
        with pytest.raises(ValueError, match="keeps_norms"):
            ask()
