"""What a run's canaries say of it, as it stands in the result and on the card (R26).

An estimate, a bound and a verdict, all from canaries alone: they are free to release. The verdict
rests on two tests, each with half of the level: that the noise beside each layer is
not smaller than was claimed, and that what an attack achieves is possible under the claimed
trade-off, composed exactly. Neither assumes a shape of the run's own trade-off.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import numpy as np

from app.domain.accounting.conversions import gdp_mu
from app.domain.accounting.pld import pld_profile
from app.domain.canaries import (
    LEVEL,
    CanaryScores,
    TradeOff,
    gaussian_estimate,
    one_run_bound,
    too_little_noise,
    trade_off_p_value,
)
from app.domain.decimals import decimal_text
from app.domain.mechanisms.parsing import Part
from app.domain.training.spec import AuditSpec
from workers.engines.train.canaries import Canaries

CONFIDENCE: Final = 0.95
# The claimed curve is asked at these.
EPSILONS: Final = tuple(float(each) for each in np.linspace(0.0, 20.0, 81))
NOT_COVERED: Final = (
    "data that leaks past the gradients: times, failures, sizes",
    "a neighbouring relation other than the declared one",
    "weights that were not trained in this run",
)


def audit_report(
    asked: AuditSpec,
    canaries: Canaries,
    part: Part,
    *,
    relation: str,
    steps_run: int,
    not_covered: Sequence[str] = (),
) -> dict[str, Any]:
    """The audit of one run, as JSON.

    Args:
        asked: what the spec says.
        canaries: those of the run, all its steps observed.
        part: the run's mechanism.
        relation: the dataset's neighbouring relation.
        steps_run: the steps that the canaries saw.
        not_covered: what the run releases beside its gradients.
    """
    said: dict[str, Any] = {
        "canaries": asked.canaries,
        "delta": decimal_text(asked.delta),
        "confidence": CONFIDENCE,
        "steps": steps_run,
        "not_covered": [*NOT_COVERED, *not_covered],
    }
    if steps_run == 0:
        return {**said, "verdict": "not covered", "reason": "no step was run here"}
    seen = canaries.noise()
    p_noise = min(1.0, len(seen) * min(too_little_noise(g.sum_of_squares, g.count) for g in seen))
    said["noise_ratios"] = [_rounded(group.ratio) for group in seen]
    pairs = pld_profile([replace(part, max_units=steps_run)], relation, EPSILONS)
    if pairs is None:
        verdict = "refuted" if p_noise < LEVEL else "not covered"
        return {
            **said,
            "p_value": _rounded(p_noise),
            "verdict": verdict,
            "reason": "the claim has no composed curve: its noise alone was tested",
        }
    scores, seed = canaries.scores(), secrets.randbits(32)
    p_value = min(1.0, 2.0 * min(p_noise, trade_off_p_value(scores, TradeOff(pairs), seed=seed)))
    return {
        **said,
        **_figures(scores, TradeOff(pairs), asked.delta, seed),
        "p_value": _rounded(p_value),
        "verdict": "refuted" if p_value < LEVEL else "consistent",
    }


def _figures(
    scores: CanaryScores, claimed: TradeOff, delta: Decimal, seed: int
) -> dict[str, float | None]:
    """Epsilons at the audit's delta: what is claimed, and what the canaries allow at 95%."""
    at, level = float(delta), 1.0 - CONFIDENCE
    epsilon = claimed.epsilon_at(at)
    mu = gdp_mu(epsilon, at) if epsilon else 1.0
    return {
        "claimed_epsilon": None if epsilon is None else _rounded(epsilon),
        "bound_epsilon": _rounded(
            one_run_bound(scores, delta=at, significance=level, claimed_mu=mu)
        ),
        "estimate_epsilon": _rounded(
            gaussian_estimate(scores, delta=at, significance=level, seed=seed)
        ),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
