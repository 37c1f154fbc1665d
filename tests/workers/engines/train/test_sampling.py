"""Attacks on the draw: its rate, its independence, and the batches that only look like it."""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kernels.noise.chacha20 import chacha20_words
from workers.engines.train.sampling import PoissonSampler

RECORDS, DRAWS, RATE = 200, 2_000, 0.05
Membership = NDArray[np.bool_]


def _fixed_bytes() -> Callable[[int], bytes]:
    """One key stream for ever: the statistical tests give one verdict, at level 1e-4."""
    calls: Iterator[int] = itertools.count()

    def take(count: int) -> bytes:
        nonce = next(calls).to_bytes(12, "little")
        return chacha20_words(bytes(32), nonce, 0, count // 64 + 1).tobytes()[:count]

    return take


def _poisson() -> Membership:
    sampler = PoissonSampler(Decimal(str(RATE)), _fixed_bytes())
    member = np.zeros((DRAWS, RECORDS), dtype=bool)
    for row in member:
        row[sampler.draw(RECORDS).numpy()] = True
    return member


def _fixed_size() -> Membership:
    generator = np.random.default_rng(7)
    member = np.zeros((DRAWS, RECORDS), dtype=bool)
    for row in member:
        row[generator.choice(RECORDS, int(RECORDS * RATE), replace=False)] = True
    return member


def _shuffled() -> Membership:
    """Each record once an epoch: the batches of an ordinary loader."""
    generator = np.random.default_rng(7)
    batch = int(RECORDS * RATE)
    member = np.zeros((DRAWS, RECORDS), dtype=bool)
    for first in range(0, DRAWS, RECORDS // batch):
        order = generator.permutation(RECORDS).reshape(-1, batch)
        for offset, members in enumerate(order[: DRAWS - first]):
            member[first + offset, members] = True
    return member


def _at_a_higher_rate() -> Membership:
    return np.random.default_rng(7).random((DRAWS, RECORDS)) < RATE * 1.05


def _verdict(member: Membership) -> dict[str, bool]:
    """Which properties of independent Bernoulli draws hold at level 1e-4."""
    joins = member.sum(axis=0)
    spread = float(((joins - DRAWS * RATE) ** 2).sum() / (DRAWS * RATE * (1 - RATE)))
    sizes = member.sum(axis=1)
    size_spread = float(((sizes - RECORDS * RATE) ** 2).sum() / (RECORDS * RATE * (1 - RATE)))
    total = int(member.sum())
    repeats = int((member[1:] & member[:-1]).sum())
    expected_repeats = (DRAWS - 1) * RECORDS * RATE**2

    def within(statistic: float, freedom: int) -> bool:
        low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], freedom)
        return bool(low <= statistic <= high)

    return {
        "rate": stats.binomtest(total, DRAWS * RECORDS, RATE).pvalue > 1e-4,
        "each record alike": within(spread, RECORDS),
        "sizes vary as independent draws do": within(size_spread, DRAWS),
        "steps are independent": abs(repeats - expected_repeats) < 4 * math.sqrt(expected_repeats),
    }


@pytest.mark.statistical
def test_every_record_joins_on_its_own_at_the_stated_rate() -> None:
    assert _verdict(_poisson()) == {
        "rate": True,
        "each record alike": True,
        "sizes vary as independent draws do": True,
        "steps are independent": True,
    }


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        (_fixed_size, "sizes vary as independent draws do"),
        (_shuffled, "steps are independent"),
        (_at_a_higher_rate, "rate"),
    ],
)
def test_the_same_test_finds_batches_that_only_look_poisson(
    fault: Callable[[], Membership], broken: str
) -> None:
    assert not _verdict(fault())[broken]


@pytest.mark.parametrize("rate", ["1e-9", "0.05", "0.3333333333333333333333333333", "0.999999999"])
def test_no_record_joins_more_often_than_the_rate_that_was_charged(rate: str) -> None:
    def words(count: int) -> bytes:
        # The least word that must stay outside, and the greatest that is inside.
        limit = math.floor(Fraction(rate) * 2**64)
        return limit.to_bytes(8, "little") + (limit - 1).to_bytes(8, "little")

    assert PoissonSampler(Decimal(rate), words).draw(2).tolist() == [1]


def test_every_draw_takes_fresh_bytes_for_every_record() -> None:
    asked: list[int] = []

    def count(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    sampler = PoissonSampler(Decimal("0.5"), count)
    sampler.draw(10)
    sampler.draw(10)
    assert asked == [80, 80]


def test_the_bytes_come_from_the_operating_system() -> None:
    assert PoissonSampler(Decimal("0.5"))._random_bytes is os.urandom


def test_a_draw_may_be_empty_and_a_table_may_be_empty() -> None:
    assert PoissonSampler(Decimal("1e-9"), lambda size: b"\xff" * size).draw(50).tolist() == []
    assert PoissonSampler(Decimal("0.5")).draw(0).tolist() == []
    assert PoissonSampler(Decimal(1)).draw(0).tolist() == []


def test_rate_one_takes_everybody() -> None:
    assert PoissonSampler(Decimal(1)).draw(5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rate", ["0", "-0.1", "1.0000001"])
def test_what_is_no_probability_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        PoissonSampler(Decimal(rate))
