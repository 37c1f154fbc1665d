"""`consumed` bounds what was lost whenever it is read, by whoever stops where it pays (R5).

The claim: P(S) <= integral over S of e^E(o) dQ + d_conv + E[D], where E(o) is the figure that was
shown at the end of the path o. All paths of an adversary who picks the next mechanism, or stops,
after every output are enumerated exactly; the best such adversary is found backwards. The same one
must be seen to break the usual figure, or these tests could not fail.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from app.domain.accounting.filters import MixturePolicy, make_policy
from app.domain.privacy import Limit, Loss
from tests.domain.accounting.test_adversaries import Ours, Step, bucketed, response, two_atoms

Floats = np.ndarray[Any, np.dtype[np.float64]]


def at_most(epsilon: str) -> Fraction:
    """e^epsilon, rounded in the adversary's favour by 1e-50."""
    with localcontext() as context:
        context.prec = 60
        return Fraction(Decimal(epsilon).exp()) * (1 - Fraction(1, 10**50))


def rule_of(epsilon: str, delta: str, split: str = "0.9") -> tuple[Ours, MixturePolicy]:
    policy = make_policy("rdp-mix/1", Limit(Decimal(epsilon), Decimal(delta)), Decimal(split))
    assert isinstance(policy, MixturePolicy)
    rule = Ours(epsilon, delta, bounded=False)
    rule.policy = policy
    return rule, policy


LIBRARY = np.array([*(1 + n / 10 for n in range(1, 100)), *range(11, 64), 128, 256, 512, 1024])


def usual_figure(nats: Floats, delta: float) -> str:
    """Epsilon spent so far as the libraries tell it: the best order, at the full delta."""
    spread = np.log1p(-1 / LIBRARY) - (math.log(delta) + np.log(LIBRARY)) / (LIBRARY - 1)
    return f"{max(0.0, float(np.min(nats + spread))):.12f}"


# ---- one mechanism many times, read after every one -----------------------------------------


def best_stop(step: Step, factors: Sequence[Fraction]) -> Fraction:
    """What the best stopping rule gains on a walk of randomized responses; exact, backwards.

    factors: e^E after 1, 2, ... steps. The state after n steps is how often the likelier output
    came, so the tree of 2^n paths has n + 1 places.
    """
    p, q = step.p[0], step.q[0]
    value: list[Fraction] = []
    for steps in range(len(factors), 0, -1):
        ratio = [(q / p) ** (2 * ones - steps) for ones in range(steps + 1)]
        here = [max(Fraction(0), 1 - factors[steps - 1] * each) for each in ratio]
        if value:
            on = [p * value[ones + 1] + (1 - p) * value[ones] for ones in range(steps + 1)]
            here = [max(pair) for pair in zip(here, on, strict=True)]
        value = here
    return p * value[1] + (1 - p) * value[0]


WALKS = [("20", "1e-3", 0.5, 50), ("8", "1e-2", 0.25, 60), ("22", "1e-4", 0.6, 40)]


@pytest.mark.parametrize(("epsilon", "delta", "loss", "steps"), WALKS)
def test_whoever_stops_where_consumed_looks_best_gains_no_more_than_its_delta(
    epsilon: str, delta: str, loss: float, steps: int
) -> None:
    rule, policy = rule_of(epsilon, delta)
    step = response(loss)
    held, factors = Loss.zero(), []
    for _ in range(steps):
        held = held + rule.charge(step)
        assert policy.admits(held)
        factors.append(at_most(policy.consumed(held).epsilon))
    gained = best_stop(step, factors)
    assert Fraction("0.3") < gained / Fraction(delta) <= Fraction("0.9")


@pytest.mark.parametrize(("epsilon", "delta", "loss", "steps"), WALKS)
def test_the_same_reader_breaks_the_usual_figure_of_what_was_spent_so_far(
    epsilon: str, delta: str, loss: float, steps: int
) -> None:
    step = response(loss)
    each = step.nats(LIBRARY)
    factors = [at_most(usual_figure(each * n, float(delta))) for n in range(1, steps + 1)]
    assert best_stop(step, factors) > Fraction(delta)


# ---- trees: another mechanism after every output --------------------------------------------

CATALOGUE: list[tuple[Step, Fraction]] = [
    (response(0.4), Fraction(0)),
    (response(1.5), Fraction(0)),
    (bucketed(0.5, 4), Fraction(0)),
    (two_atoms(math.log(0.02), 4.0), Fraction(0)),
    # leaks with this probability, else a randomized response
    (response(0.4), Fraction(1, 10_000)),
]


class Tree:
    """The best adaptive adversary of a few steps against one way of telling what was spent."""

    def __init__(
        self, rule: Ours, figure: Callable[[Loss, tuple[int, ...]], str], *, forth: bool
    ) -> None:
        self.rule, self.forth = rule, forth
        self.charges = [self._charge(*entry) for entry in CATALOGUE]
        self.factor = lru_cache(lambda counts: at_most(figure(self.loss(counts), counts)))

    def _charge(self, step: Step, delta: Fraction) -> Loss:
        plain = self.rule.charge(step)
        leak = math.ceil(delta * 10**18)
        zero = (0,) * len(plain.nats_2p40)
        return plain + Loss(zero, zero, 0, 0, leak, 0, 1)

    def loss(self, counts: tuple[int, ...]) -> Loss:
        pairs = zip(self.charges, counts, strict=True)
        return sum((charge for charge, count in pairs for _ in range(count)), Loss.zero())

    @lru_cache  # noqa: B019 - lives as long as its test
    def admits(self, counts: tuple[int, ...]) -> bool:
        return self.rule.policy.admits(self.loss(counts))

    def value(self, counts: tuple[int, ...], p: Fraction, q: Fraction, depth: int) -> Fraction:
        """The most that can be gained from here, less the expected deltas of what is run."""
        best = max(Fraction(0), p - self.factor(counts) * q) if any(counts) else Fraction(0)
        if depth == 0:
            return best
        for index, (step, delta) in enumerate(CATALOGUE):
            after = tuple(count + (place == index) for place, count in enumerate(counts))
            if not self.admits(after):
                continue
            # A leak gains all of its probability, which is what its delta is charged for.
            outputs = zip(*((step.p, step.q) if self.forth else (step.q, step.p)), strict=True)
            gained = Fraction(0)
            for x, y in outputs:
                gained += self.value(after, (1 - delta) * p * x, (1 - delta) * q * y, depth - 1)
            best = max(best, gained)
        return best

    def root(self, depth: int) -> Fraction:
        return self.value((0,) * len(CATALOGUE), Fraction(1), Fraction(1), depth)


@pytest.mark.parametrize("forth", [True, False])
@pytest.mark.parametrize(("epsilon", "delta"), [("4", "1e-2"), ("8", "0.1"), ("3", "1e-3")])
def test_no_tree_of_chosen_mechanisms_and_readings_gains_more_than_its_delta(
    epsilon: str, delta: str, *, forth: bool
) -> None:
    rule, policy = rule_of(epsilon, delta)
    tree = Tree(rule, lambda loss, _: policy.consumed(loss).epsilon, forth=forth)
    assert Fraction("0.3") < tree.root(3) / Fraction(delta) <= Fraction("0.9")


@pytest.mark.parametrize("bounded", [True, False])
def test_worst_cases_that_are_known_do_not_help_the_reader(*, bounded: bool) -> None:
    rule, policy = rule_of("4", "1e-2")
    rule.bounded = bounded
    tree = Tree(rule, lambda loss, _: policy.consumed(loss).epsilon, forth=True)
    assert tree.root(3) <= Fraction("0.9") * Fraction("1e-2")


def test_the_same_trees_break_the_usual_figure() -> None:
    rule, _ = rule_of("8", "0.1")
    nats = [step.nats(LIBRARY) for step, _ in CATALOGUE]

    def figure(_: Loss, counts: tuple[int, ...]) -> str:
        held = sum((n * each for n, each in zip(counts, nats, strict=True)), 0 * LIBRARY)
        return usual_figure(held, 0.1)

    assert Tree(rule, figure, forth=True).root(3) > Fraction("0.1")
