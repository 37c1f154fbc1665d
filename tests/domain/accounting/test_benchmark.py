"""The benchmark of the accountants fails when it should, and compares with what it says."""

import json
from decimal import Decimal

import pytest

from app.domain.accounting.fits import most_units
from app.domain.accounting.prices import price
from app.domain.privacy import Loss
from benchmarks import accounting
from benchmarks.accounting import RELATION, WORKLOADS, Figure, best_order_units, mixture


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: f"{each.epsilon} {each.name}")
def test_best_order_admits_what_the_table_says(workload: accounting.Workload) -> None:
    assert best_order_units(workload.mechanism, float(workload.epsilon)) == workload.best


def test_a_loss_beyond_the_limit_breaks_the_bound_that_is_checked() -> None:
    policy, one = mixture("8", "0.9"), price(WORKLOADS[2].mechanism, RELATION)
    edge = most_units(policy.admits, one, 10**6, beside=Loss.zero())
    accounting.require_bound(policy, one.charge(edge))
    with pytest.raises(AssertionError):
        accounting.require_bound(policy, one.charge(edge + 50))


@pytest.mark.parametrize(
    ("figure", "short"),
    [
        (Figure("share", "share", 0.89, at_least=0.9), True),
        (Figure("share", "share", 0.9, at_least=0.9), False),
        (Figure("time", "ms", 1.01, at_most=1.0), True),
        (Figure("time", "ms", 1.01), False),
        (Figure("time", "ms", float("inf"), at_most=1.0), True),
    ],
)
def test_a_must_that_falls_short_fails_the_run(
    figure: Figure,
    *,
    short: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(accounting, "efficiency", lambda: ([figure], ["table"]))
    monkeypatch.setattr(accounting, "decisions", list)
    monkeypatch.setattr(accounting, "blocks", list)
    assert accounting.main() == int(short)
    printed = capsys.readouterr().out.splitlines()
    assert ("FALLS SHORT" in "\n".join(printed)) == short
    if figure.value < 10:
        assert json.loads(printed[-1])["figures"][0]["falls_short"] == short


def test_a_wrong_decision_is_an_error_before_it_is_a_time() -> None:
    policy, one = mixture("8", "0.9"), price(WORKLOADS[2].mechanism, RELATION).charge(1)
    with pytest.raises(AssertionError):
        accounting.cpu_ms(accounting.decide, policy, Loss.zero(), one, expected=False)
    assert policy.limit.epsilon == Decimal(8)
