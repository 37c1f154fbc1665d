"""Splits one target of privacy over what a query asks, and fixes the noise of each.

A mechanism keeps the sensitivity of one unit added or removed, which `price` converts (R7); the
noise itself is that of the dataset's relation. Rounding always goes to more noise.
"""

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal, localcontext
from fractions import Fraction
from typing import Final

from app.domain.decimals import text_down
from app.domain.mechanisms.parsing import (
    DiscreteGaussian,
    DiscreteLaplace,
    Exponential,
    Mechanism,
    Repeated,
    Threshold,
)
from app.domain.queries.noise import (
    DIGITS,
    GaussianNoise,
    LaplaceNoise,
    Noise,
    gaussian_scale,
    laplace_scale,
    largest_rho,
    root_up,
    round_scale,
)
from app.domain.queries.quantities import Choice, NoiseKind, NoisyQuantity, Quantity, Selection
from app.domain.queries.spec import QuerySpec

SAMPLER: Final = "opendp/0.16"
# A quantile has at most four digits after the point, so that its scores are whole numbers.
QUANTILE_PARTS: Final = 10_000
_EPSILON_DIGITS: Final = 12

Asked = Quantity | Selection
Fixed = tuple[NoisyQuantity | Choice, ...]


class Calibration:
    """Splits one target over what is asked, by weight.

    groups: L0, the groups in which one unit may count.
    doubling: 2 under replace_one, where one unit leaves its groups and another joins its own.
    """

    def __init__(
        self, spec: QuerySpec, groups: int, doubling: int, weights: Mapping[Asked, Fraction]
    ) -> None:
        self._spec = spec
        self._groups = groups
        self._doubling = doubling
        self._weights = weights
        self._total = sum(weights.values(), Fraction(0))

    def fix(self) -> Fixed:
        """The noise kind that was asked for; for `auto` the one with the lower total error."""
        choice = self._spec.noise
        if choice == "discrete_laplace" or self._spec.delta == 0:
            return self._laplace()
        if choice == "discrete_gaussian":
            return self._gaussian()
        laplace, gaussian = self._laplace(), self._gaussian()
        return gaussian if _error(gaussian) < _error(laplace) else laplace

    def _laplace(self) -> Fixed:
        fixed: list[NoisyQuantity | Choice] = []
        for asked, weight in self._weights.items():
            share = Fraction(self._spec.epsilon) * weight / self._total
            if isinstance(asked, Selection):
                epsilon = share / (self._runs(asked) * self._doubling)
                fixed.append(self._choice(asked, epsilon))
                continue
            moved = self._groups * asked.bound
            scale = laplace_scale(self._doubling * moved, share)
            noise = LaplaceNoise(scale)
            if self._guards_keys(asked):
                cell: Mechanism = DiscreteLaplace(scale, "1", sampler=SAMPLER)
                fixed.append(self._threshold(asked, noise, scale, cell, self._spec.delta))
                continue
            charged = DiscreteLaplace(scale, str(moved), sampler=SAMPLER)
            fixed.append(_plain(asked, "discrete_laplace", noise, scale, charged))
        return tuple(fixed)

    def _gaussian(self) -> Fixed:
        # With private keys half of delta is for the thresholds, half for the Gaussian's own tail.
        delta = self._spec.delta / 2 if self._spec.has_private_keys else self._spec.delta
        rho = largest_rho(self._spec.epsilon, delta)
        fixed: list[NoisyQuantity | Choice] = []
        for asked, weight in self._weights.items():
            share = weight / self._total
            if isinstance(asked, Selection):
                # Bounded range: epsilon^2 / 8 of zCDP a run (R6), four times that for two units.
                square = 8 * Fraction(rho) * share / self._runs(asked)
                with localcontext(Context(prec=DIGITS)):
                    root = (Decimal(square.numerator) / Decimal(square.denominator)).sqrt()
                fixed.append(self._choice(asked, Fraction(root) / self._doubling))
                continue
            if self._guards_keys(asked):
                # Unit counts of 2 L0 cells move by one each under replace_one.
                scale = gaussian_scale(self._doubling * self._groups, rho, share)
                cell = DiscreteGaussian(scale, "1", sampler=SAMPLER)
                noise = GaussianNoise(scale)
                fixed.append(self._threshold(asked, noise, scale, cell, delta))
                continue
            moved_squared = self._doubling**2 * self._groups * asked.bound**2
            scale = gaussian_scale(moved_squared, rho, share)
            moved = root_up(self._groups, asked.bound)
            charged = DiscreteGaussian(scale, moved, sampler=SAMPLER)
            fixed.append(_plain(asked, "discrete_gaussian", GaussianNoise(scale), scale, charged))
        return tuple(fixed)

    def _guards_keys(self, quantity: Quantity) -> bool:
        return quantity.kind == "units" and self._spec.has_private_keys

    def _runs(self, selection: Selection) -> int:
        """One unit takes part in the draws of all its groups (R24)."""
        return selection.draws * self._groups

    def _choice(self, selection: Selection, most_epsilon: Fraction) -> Choice:
        text = text_down(most_epsilon * (1 - Fraction(1, 10**40)), _EPSILON_DIGITS)
        epsilon = Decimal(text)
        bound = selection.spread.bound
        if selection.quantile is None:
            sensitivity, moved = bound, bound
            candidates = selection.spread.bins.size
            in_weights = 1
        else:
            part = int(max(selection.quantile, 1 - selection.quantile) * QUANTILE_PARTS)
            sensitivity = bound * part
            # A score may rise or fall, so that two scores move apart by twice as much.
            moved = 2 * sensitivity
            candidates = selection.spread.bins.size + 1
            in_weights = QUANTILE_PARTS
        with localcontext(Context(prec=DIGITS, rounding=ROUND_CEILING)):
            scale = round_scale(Decimal(moved) / epsilon)
            apart = scale * (candidates / (1 - self._spec.confidence)).ln()
        exponential: Mechanism = Exponential(text, sampler=SAMPLER)
        runs = self._runs(selection)
        return Choice(
            selection=selection,
            epsilon=epsilon,
            scale=scale,
            sensitivity=sensitivity,
            mechanism=exponential if runs == 1 else Repeated(runs, exponential, sampler=SAMPLER),
            half_width_steps=math.ceil(apart / in_weights),
        )

    def _threshold(
        self, quantity: Quantity, noise: Noise, scale: Decimal, cell: Mechanism, delta: Decimal
    ) -> NoisyQuantity:
        text = text_down(Fraction(delta) / self._doubling, 12)
        kind: NoiseKind = (
            "discrete_laplace" if isinstance(cell, DiscreteLaplace) else "discrete_gaussian"
        )
        return NoisyQuantity(
            quantity=quantity,
            noise=kind,
            scale=scale,
            mechanism=Threshold(cell, self._groups, text, sampler=SAMPLER),
            half_width_steps=noise.half_width(self._spec.confidence),
            threshold=noise.least_threshold(self._groups, Decimal(text)),
        )


def _plain(
    quantity: Quantity, kind: NoiseKind, noise: Noise, scale: Decimal, mechanism: Mechanism
) -> NoisyQuantity:
    width = noise.half_width(Decimal("0.95"))
    return NoisyQuantity(quantity, kind, scale, mechanism, width)


def _error(fixed: Fixed) -> Fraction:
    """The product of the half-widths: lower is better on the average measure."""
    return math.prod((Fraction(each.half_width_steps + 1) for each in fixed), start=Fraction(1))
