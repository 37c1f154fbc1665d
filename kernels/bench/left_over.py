"""Where the microseconds of a private step go that a plain step does not spend."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.profiler import ProfilerActivity, profile, record_function

from kernels.native.library import library

_LEAST_US = 100.0


def by_operation(step: Callable[[], None], turns: int = 5) -> dict[str, float]:
    """Microseconds of one step by operation, the compiled kernels under their own names.

    The least over some steps: the profiler reads the wall clock, and other work on the machine only
    adds to that.
    """
    step()
    least: dict[str, float] = {}
    for _ in range(turns):
        with _named_kernels(), profile(activities=[ProfilerActivity.CPU]) as found:
            step()
        for event in found.key_averages():
            spent = float(event.self_cpu_time_total)
            least[event.key] = min(spent, least.get(event.key, spent))
    return least


def lines(step: Callable[[], None], plain: Callable[[], None], most: int = 6) -> list[str]:
    """The largest differences between two steps; above zero is what the first spends more."""
    ours, theirs = by_operation(step), by_operation(plain)
    more = {name: ours.get(name, 0.0) - theirs.get(name, 0.0) for name in {*ours, *theirs}}
    largest = sorted(more, key=lambda name: -abs(more[name]))[:most]
    return [f"{more[name]:+10.0f} us  {name}" for name in largest if abs(more[name]) >= _LEAST_US]


@contextmanager
def _named_kernels() -> Iterator[None]:
    loaded = library()
    if loaded is None:
        yield
        return
    plain_call = loaded.call

    def named(name: str, *arguments: object) -> None:
        with record_function(f"kernels.{name}"):
            plain_call(name, *arguments)

    loaded.call = named  # type: ignore[method-assign]
    try:
        yield
    finally:
        del loaded.call
