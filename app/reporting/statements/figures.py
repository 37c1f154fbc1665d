"""Risk figures as decimal strings, each rounded up: the same code for statements and reports.

One function per family, so that none is shown as another (L9): `risk_figures` of a proven
(epsilon, delta), `gaussian_figures` of a mu and `concentrated_figures` of a rho that were fixed in
advance.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from app.domain.risk import gaussian, proven
from app.domain.risk.groups import group_bound, group_mu, group_rho
from app.reporting.statements.rounding import (
    SHOWN_DIGITS,
    per_100,
    percent,
    percent_down,
    small,
    up,
)

FALSE_ALARM_RATES: Final = (Decimal("0.001"), Decimal("0.01"), Decimal("0.05"))
# at which a claim "this one was in it" is asked how often it is right
CLAIM_RATE: Final = Decimal("0.01")
PRIORS: Final = (Decimal("0.01"), Decimal("0.1"), Decimal("0.5"))
CHOICES: Final = (10, 100, 1000)
GROUP_SIZES: Final = (2, 5, 10)
PROFILE_EPSILONS: Final = (Decimal(1), Decimal(2), Decimal(4), Decimal(8))


def risk_figures(
    epsilon: str,
    delta: str,
    relation: str,
    *,
    false_alarm_rates: Sequence[Decimal] = FALSE_ALARM_RATES,
    priors: Sequence[Decimal] = PRIORS,
    choices: Sequence[int] = CHOICES,
    group_sizes: Sequence[int] = GROUP_SIZES,
    digits: int = SHOWN_DIGITS,
) -> dict[str, Any]:
    """What a proven (epsilon, delta) means, for any order of jobs and any attacker.

    Args:
        epsilon: a decimal string; "Infinity" where nothing bounds it.
        delta: a decimal string.
        relation: of the dataset; any two values of one unit are neighbours under `replace_one`.
        false_alarm_rates: at which a test for one unit is asked how often it is right.
        priors: what was believed before.
        choices: how many equally likely secrets there are to choose from.
        group_sizes: numbers of linked units.
        digits: how many significant digits are shown.

    Returns:
        Decimal strings rounded up; "nearly always" stands for more than 99.5 out of 100. Odds and
        belief hold but for an event of at most `except_with_probability` (0 for pure losses); all
        else counts that event in.
    """
    loss, failing = Decimal(epsilon), Decimal(delta)
    return {
        "epsilon": epsilon,
        "delta": delta,
        "odds_factor": up(proven.odds_factor(loss), digits),
        "except_with_probability": delta,
        "best_guess_per_100": per_100(proven.best_guess(loss, failing), digits),
        "advantage_percent": per_100(proven.advantage(loss, failing), digits),
        "attack": [
            {
                "false_alarm_percent": percent(rate, digits),
                "caught_percent": per_100(proven.attack_rate(loss, failing, rate), digits),
            }
            for rate in false_alarm_rates
        ],
        "belief": [
            {
                "before_percent": percent(prior, digits),
                "after_percent": per_100(proven.posterior(loss, prior), digits),
            }
            for prior in priors
        ],
        "claims": [
            {
                "before_percent": percent(prior, digits),
                "false_alarm_percent": percent(CLAIM_RATE, digits),
                "right_percent": per_100(
                    proven.precision(
                        prior, proven.attack_rate(loss, failing, CLAIM_RATE), CLAIM_RATE
                    ),
                    digits,
                ),
            }
            for prior in priors
        ],
        "rebuilding": [
            {
                "choices": each,
                "blind_percent": percent(1 / Decimal(each), digits),
                "rebuilt_percent": per_100(_rebuilding(loss, failing, each, relation), digits),
            }
            for each in choices
        ],
        "linked_units": [_linked(loss, failing, size, digits) for size in group_sizes],
    }


def trade_off_points(epsilon: str, delta: str, digits: int = 6) -> list[dict[str, str]]:
    """The corners of the proven bound on attacks, which is straight between them.

    False alarms are rounded down and catches up, so the line through them is never below the bound.
    """
    return [
        {"false_alarm_percent": percent_down(at, digits), "caught_percent": percent(rate, digits)}
        for at, rate in proven.trade_off_corners(Decimal(epsilon), Decimal(delta))
    ]


def gaussian_figures(
    mu: Decimal,
    *,
    false_alarm_rates: Sequence[Decimal] = FALSE_ALARM_RATES,
    epsilons: Sequence[Decimal] = PROFILE_EPSILONS,
    group_sizes: Sequence[int] = GROUP_SIZES,
    digits: int = SHOWN_DIGITS,
) -> dict[str, Any]:
    """What mu-GDP means: only for one job, or a plan, whose Gaussians were fixed in advance.

    Args:
        mu: the root of the summed 1/noise^2, in the relation of the dataset.
        false_alarm_rates: as in `risk_figures`.
        epsilons: at which the delta is asked for.
        group_sizes: numbers of linked units.
        digits: how many significant digits are shown.
    """
    return {
        "mu": up(mu, digits),
        "best_guess_per_100": per_100(gaussian.best_guess(mu), digits),
        "advantage_percent": per_100(gaussian.advantage(mu), digits),
        "attack": [
            {
                "false_alarm_percent": percent(rate, digits),
                "caught_percent": per_100(gaussian.attack_rate(mu, rate), digits),
            }
            for rate in false_alarm_rates
        ],
        "profile": [
            {"epsilon": up(each, digits), "delta": small(gaussian.delta_at(mu, each), digits)}
            for each in epsilons
        ],
        "linked_units": [
            {"units": size, "mu": up(group_mu(mu, size), digits)} for size in group_sizes
        ],
    }


def concentrated_figures(
    rho: Decimal, *, group_sizes: Sequence[int] = GROUP_SIZES, digits: int = SHOWN_DIGITS
) -> dict[str, Any]:
    """What rho-zCDP becomes for linked units: only where rho is native and fixed in advance."""
    return {
        "rho": up(rho, digits),
        "linked_units": [
            {"units": size, "rho": up(group_rho(rho, size), digits)} for size in group_sizes
        ],
    }


def _rebuilding(epsilon: Decimal, delta: Decimal, choices: int, relation: str) -> Decimal:
    general = proven.reconstruction_rate(epsilon, delta, 1 / Decimal(choices))
    if relation != "replace_one":
        return general
    return min(general, proven.reconstruction_rate_replaced(epsilon, delta, choices))


def _linked(epsilon: Decimal, delta: Decimal, size: int, digits: int) -> dict[str, Any]:
    bound = group_bound(epsilon, delta, size)
    return {
        "units": size,
        "epsilon": up(bound.epsilon, digits),
        "delta": small(bound.delta, digits),
        "best_guess_per_100": per_100(proven.best_guess(bound.epsilon, bound.delta), digits),
    }
