"""The figures that statements show against riskcal's, function by function.

riskcal is no dependency: it comes as sources, which a fresh machine would have to build. Its
figures were computed once, with the version that the file names, and the vectors of
`accounting-vectors.json` name it as well.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from app.reporting.statements.figures import gaussian_figures, risk_figures
from app.reporting.statements.rounding import percent

DATA = json.loads((Path(__file__).parents[2] / "data" / "riskcal-figures.json").read_text())
DIGITS = 15


@pytest.fixture(autouse=True)
def _numbers_above_99_5(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies above 99.5 is shown as words; the number behind them is asked for here."""
    monkeypatch.setattr("app.reporting.statements.figures.per_100", percent)


def caught(epsilon: str, delta: str, false_rate: str) -> float:
    rates = [Decimal(false_rate)]
    figures = risk_figures(epsilon, delta, "add_remove", false_alarm_rates=rates, digits=DIGITS)
    return float(figures["attack"][0]["caught_percent"]) / 100


def caught_by_gaussian(mu: str, false_rate: str) -> float:
    figures = gaussian_figures(Decimal(mu), false_alarm_rates=[Decimal(false_rate)], digits=DIGITS)
    return float(figures["attack"][0]["caught_percent"]) / 100


def rows(name: str, least: int) -> Sequence[Sequence[str]]:
    found: Sequence[Sequence[str]] = DATA[name]
    assert len(found) >= least
    return found


def test_the_bound_at_a_false_alarm_rate_is_riskcal_s() -> None:
    for epsilon, delta, rate, missed in rows("get_beta_from_adp", 120):
        assert caught(epsilon, delta, rate) == pytest.approx(1 - float(missed), rel=1e-9)


def test_the_advantage_is_riskcal_s() -> None:
    for epsilon, delta, advantage in rows("get_advantage_from_adp", 24):
        figures = risk_figures(epsilon, delta, "add_remove", digits=DIGITS)
        assert float(figures["advantage_percent"]) / 100 == pytest.approx(float(advantage))
    for mu, advantage in rows("get_advantage_from_gdp", 5):
        shown = gaussian_figures(Decimal(mu), digits=DIGITS)["advantage_percent"]
        assert float(shown) / 100 == pytest.approx(float(advantage), rel=1e-9)


def test_the_trade_off_of_one_gaussian_is_riskcal_s() -> None:
    for mu, rate, missed in rows("get_beta_from_gdp", 25):
        assert caught_by_gaussian(mu, rate) == pytest.approx(1 - float(missed), rel=1e-9)


def test_no_mechanism_is_attacked_more_often_than_its_bound_says() -> None:
    """Real trade-offs, from privacy loss distributions with a grid of 1e-4 nat."""
    for epsilon, rate, missed in rows("get_beta_from_pld of Laplace", 15):
        assert caught(epsilon, "0", rate) >= 1 - float(missed) - 1e-4
    for mu, rate, missed in rows("get_beta_from_pld of Gaussian", 15):
        assert caught_by_gaussian(mu, rate) == pytest.approx(1 - float(missed), abs=1e-4)
