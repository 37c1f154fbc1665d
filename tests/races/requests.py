"""What a seed asks for: each request is drawn by its own number, whoever comes to send it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Literal

from app.domain.partitions import AskedBlocks
from tests.histories import APPROXIMATES, GAUSSIANS, OTHERS, PURES

PROCESSES = 2
THREADS_EACH = 32
THREADS = PROCESSES * THREADS_EACH

Act = Literal["reserve", "repeat", "end", "officer"]
ACTS: Mapping[Act, int] = {"reserve": 48, "repeat": 8, "end": 41, "officer": 3}
# an answer says what is asked of each scope on its own: 15 ms under rdp-mix/1, so that is rarer
ROOMY = ("team", "normal", "basic", "basic", "days", "days", "basic+days")
EDGES = ("strict", "paced", "few_days")
# without the Poisson-sampled: a price of 1.5 s that every thread would work out at first
ANYTHING = GAUSSIANS + PURES + OTHERS[1:] + APPROXIMATES
MECHANISMS: Mapping[str, list[dict[str, Any]]] = {
    "team": ANYTHING,
    "normal": GAUSSIANS,
    "strict": PURES,
    "paced": PURES,
    "few_days": [{"type": "gaussian", "noise_multiplier": "20"}],
}


@dataclass(frozen=True, slots=True)
class Reserve:
    """One reservation that is asked for; `leaves` are named as in the scene."""

    key: str
    leaves: tuple[tuple[str, AskedBlocks], ...]
    mechanism: dict[str, Any]
    max_units: int
    is_runner: bool


def draw_of(seed: int, number: int) -> Random:
    """The draw of one request: the act first, then what it needs."""
    return Random(f"{seed}/{number}")


def act_of(draw: Random) -> Act:
    return draw.choices([*ACTS], [*ACTS.values()])[0]


@lru_cache(maxsize=20_000)
def reserve_of(seed: int, number: int) -> Reserve:
    """The reservation of a number; of a repeat it is that of another, under the same key."""
    draw = draw_of(seed, number)
    if act_of(draw) == "repeat":
        # one before is the next thread; half the threads before is the other process
        other = number - draw.choice([1, THREADS_EACH])
        while other >= 0 and act_of(draw_of(seed, other)) != "reserve":
            other -= 1
        if other >= 0:
            return reserve_of(seed, other)
    leaf = draw.choice(EDGES) if draw.random() < 0.12 else draw.choice(ROOMY)
    return Reserve(
        key=f"{seed}-{number}",
        leaves=tuple((each, _blocks(draw, each)) for each in leaf.split("+")),
        mechanism=draw.choice(MECHANISMS.get(leaf, PURES + APPROXIMATES)),
        max_units=draw.choice([1, 3]),
        is_runner=draw.random() < 0.5,
    )


def _blocks(draw: Random, leaf: str) -> AskedBlocks:
    if leaf == "few_days":
        return draw.choice((((8, 9),), ((9, 9),), ((2, 2), (9, 9))))
    if leaf != "days":
        return "all"
    return draw.choice(("all", ((0, 4),), ((3, 7),), ((1, 2), (6, 9))))
