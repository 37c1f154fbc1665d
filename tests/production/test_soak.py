"""What the soak calls flat, on made-up minutes: growth is found, a slow first minute is none."""

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.soak import table, verdicts


def minute(number: int, latency_ms: float = 20.0, memory_mb: float = 200.0) -> dict[str, Any]:
    times = {"p50": latency_ms, "p99": 5 * latency_ms, "p999": 9 * latency_ms}
    return {
        "period": number,
        "lives": 1000,
        "reserve_ms": times,
        "commit_ms": times,
        "memory_mb": {"api 1": memory_mb, "worker 2": 400.0},
        "jobs": 20,
        "job_s": None,
    }


@pytest.mark.parametrize(
    ("made", "uneven"),
    [
        (minute, []),
        (lambda n: minute(n, latency_ms=300.0 if n == 0 else 20.0), []),
        (lambda n: minute(n, memory_mb=200.0 + 5 * n), ["memory_mb api 1"]),
        (
            lambda n: minute(n, latency_ms=20.0 + 2 * n),
            ["reserve_ms p50", "reserve_ms p99", "commit_ms p50", "commit_ms p99"],
        ),
    ],
)
def test_what_grows_over_half_an_hour_is_found_and_a_slow_start_is_not_growth(
    made: Callable[[int], dict[str, Any]], uneven: list[str]
) -> None:
    found = verdicts([made(number) for number in range(30)])
    assert [name for name, each in found.items() if not each["flat"]] == uneven


def test_the_page_says_every_minute_and_which_figure_is_not_flat() -> None:
    minutes = [minute(number, memory_mb=200.0 + 9 * number) for number in range(30)]
    page = table(
        {
            "on": {"cores": 2},
            "clients": 32,
            "capacity_per_s": 50.0,
            "rate_per_s": 25.0,
            "lives": 30_000,
            "jobs": 600,
            "entries_replayed": 61_200,
            "restore_check": "the database knows all that its witness knows",
            "minutes": minutes,
            "verdicts": verdicts(minutes),
        }
    )
    assert page.count("\n| 30 | 1,000 | 20.0 |") == 1
    assert "**no**" in next(line for line in page.splitlines() if "memory_mb api 1" in line)
