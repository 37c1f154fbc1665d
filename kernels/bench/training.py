"""Cost of a private step over a plain one: engines in turn in one process, ratios of CPU time.

Each engine's gradients are held against a float64 loop over examples before it is timed. A ratio is
the median of ratios within a round, with its quartiles. Exits with 1 where a must of DESIGN section
9 falls short or was not measured.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from kernels.bench import goals, left_over, peers
from kernels.bench.engines import ENGINES, Definition, Engine, PeerMissing, engine
from kernels.bench.goals import Goal
from kernels.bench.memory import ALLOCATOR
from kernels.native.library import path_taken

OURS = ("per-layer", "flat", "stream")
# Always measured in every round; the others stop when their time is over.
_ANCHORS = ("plain", "per-layer", "flat")
_ROUNDS_LEAST = 3

Found = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Run the measurements; 1 when a must is missed."""
    asked = _asked(arguments)
    why_not = None if asked.without_peers else peers.prepare()
    if why_not:
        print(f"the peers are not here: {why_not}")
    results: list[Found] = []
    missed: list[str] = []
    print(f"path {path_taken()}, torch {torch.__version__}", flush=True)
    for model in asked.models.split(","):
        for positions in _positions(model, asked):
            definition = Definition(model, positions)
            for threads in [int(t) for t in asked.threads.split(",")]:
                found = _measure(model, positions, threads, definition, asked)
                results.append(found)
                missed += _missed(found, asked)
    if not asked.without_memory:
        for model in asked.models.split(","):
            found = _memory(model, asked)
            results.append(found)
            missed += _missed(found, asked)
    if asked.json:
        facts = {"path": path_taken(), "torch": torch.__version__, "cpu": _cpu()}
        text = json.dumps({**facts, "missed": missed, "results": results}, indent=1)
        Path(asked.json).write_text(text + "\n")
    print(f"\n{len(missed)} musts missed" if missed else "\nevery must that was asked for is met")
    for line in missed:
        print(f"MISSED {line}")
    tables = [found for found in results if "cpu_s" in found]
    if any((_ratio(found, name) or [0.0] * 3)[1] > 1.02 for found in tables for name in OURS):
        print(goals.ABOVE_ONE)
    return 1 if missed else 0


def _asked(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="dev.py bench training", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one thread, T=128: five minutes")
    parser.add_argument("--models", default="gpt,mlp,cnn,lora")
    parser.add_argument("--engines", default=None, help=f"of {','.join(ENGINES)}")
    parser.add_argument("--positions", default=None, help="of gpt, the default is 128,32,512")
    parser.add_argument("--threads", default=None, help="the default is 1,2")
    parser.add_argument("--rounds", type=int, default=None, help="the default is 9")
    parser.add_argument("--seconds", type=float, default=8.0, help="of an engine in one table")
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--without-memory", action="store_true")
    parser.add_argument("--without-profile", action="store_true")
    parser.add_argument("--json", help="write the raw samples there")
    asked = parser.parse_args(arguments)
    names = list(ENGINES)
    if asked.short:
        names = [*("plain", *OURS), "opacus-hooks", "opacus-ghost"]
    if asked.without_peers:
        names = [name for name in names if not name.startswith("opacus")]
    asked.engines = asked.engines.split(",") if asked.engines else names
    asked.positions = asked.positions or ("128" if asked.short else "128,32,512")
    asked.threads = asked.threads or ("1" if asked.short else "1,2")
    asked.rounds = asked.rounds or (5 if asked.short else 9)
    if "plain" not in asked.engines:
        parser.error("every ratio needs the engine plain")
    return asked


def _positions(model: str, asked: Namespace) -> list[int]:
    if model != "gpt":
        return [goals.POSITIONS]
    return [int(t) for t in asked.positions.split(",")]


def _measure(
    model: str, positions: int, threads: int, definition: Definition, asked: Namespace
) -> Found:
    """All engines of one table; those that are wrong or absent are named instead of timed."""
    torch.set_num_threads(threads)
    engines: dict[str, Engine] = {}
    gaps: dict[str, float] = {}
    rounds: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for name in asked.engines:
        try:
            made = engine(name, model, positions)
            made.step()
            gaps[name] = definition.gap(made)
            started = time.perf_counter()
            made.step()
            spent = time.perf_counter() - started
        except PeerMissing as error:
            left_out[name] = str(error)
            continue
        except Exception as error:
            if name in ("plain", *OURS):
                raise
            left_out[name] = f"{type(error).__name__}: {error}"[:120]  # a peer may fail in any way
            continue
        if not gaps[name] <= made.widest_gap():
            left_out[name] = f"WRONG: its gradients are {gaps[name]:.1e} from the definition"
            continue
        engines[name] = made
        most = max(_ROUNDS_LEAST, int(asked.seconds / max(spent, 1e-9)))
        rounds[name] = asked.rounds if name in _ANCHORS else min(asked.rounds, most)
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    wall: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(asked.rounds):
        for name, made in engines.items():
            if turn >= rounds[name]:
                continue
            started, spent = time.perf_counter(), time.process_time()
            made.step()
            cpu[name].append(time.process_time() - spent)
            wall[name].append(time.perf_counter() - started)
    private = {name: made.private.report() for name, made in engines.items() if made.private}
    found = {
        "model": model,
        "positions": positions,
        "threads": threads,
        "left_out": left_out,
        "gap_to_definition": gaps,
        "cpu_s": cpu,
        "wall_s": wall,
        "private": private,
    }
    _print(found)
    if not asked.without_profile and threads == 1 and positions == goals.POSITIONS:
        for name in _short_of_an_aim(found):
            print(f"  {name}: {goals.NOTES.get((model, name), 'no note yet')}")
            print(f"  what {name} spends more than plain, of one step:")
            for line in left_over.lines(engines[name].step, engines["plain"].step):
                print(f"  {line}", flush=True)
    return found


def _figures(found: Found, goal: Goal) -> list[float] | None:
    """Quartiles of a goal's figure, or None where it was not measured."""
    if goal.memory:
        held = found["extra_mb"]
        if goal.engine not in held or goal.base not in held:
            return None
        return [held[goal.engine] / held[goal.base]] * 3
    return _ratio(found, goal.engine, goal.base)


def _ratio(found: Found, name: str, base: str = "plain") -> list[float] | None:
    """Quartiles of the paired throughput ratio of an engine over a base."""
    samples = found["cpu_s"]
    if name not in samples or base not in samples:
        return None
    # An engine that takes long has fewer rounds than the others.
    pairs = [b / e for b, e in zip(samples[base], samples[name], strict=False)]
    return statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3


def _goals_of(found: Found) -> Iterable[Goal]:
    if "extra_mb" in found:
        return [goal for goal in goals.MEMORY if goal.model == found["model"]]
    if found["positions"] != goals.POSITIONS:
        return []
    return [goal for goal in goals.SPEED if goal.model == found["model"]]


def _short_of_an_aim(found: Found) -> list[str]:
    short = []
    for goal in _goals_of(found):
        figures = _figures(found, goal)
        if goal.base == "plain" and figures and not goal.met(figures[1], goal.aim):
            short.append(goal.engine)
    return short


def _missed(found: Found, asked: Namespace) -> list[str]:
    """The musts that this table misses; an engine that was not asked for has none."""
    where = f" ({found['threads']} threads)" if "threads" in found else ""
    lines = [
        f"{found['model']} {name}{where}: {why}"
        for name, why in found["left_out"].items()
        if why.startswith("WRONG") and name in ("plain", *OURS)
    ]
    for goal in _goals_of(found):
        if goal.engine not in asked.engines or goal.base not in asked.engines:
            continue
        figures = _figures(found, goal)
        if figures is None:
            lines.append(f"{goal.describe()}{where}: not measured, must {goal.must}")
        elif not goal.met(figures[1], goal.must):
            lines.append(f"{goal.describe()}{where}: {figures[1]:.3f}, must {goal.must}")
    return lines


def _print(found: Found) -> None:
    title = f"{found['model']} T={found['positions']} threads={found['threads']}"
    print(f"\n{title}: throughput over plain (median, quartiles), CPU ms, wall ms, gap, rounds")
    for name, samples in found["cpu_s"].items():
        low, middle, high = _ratio(found, name) or [0.0] * 3
        walls = found["wall_s"][name]
        print(
            f"  {name:20} {middle:6.3f} [{low:.3f}, {high:.3f}] "
            f"{statistics.median(samples) * 1e3:9.1f} {statistics.median(walls) * 1e3:9.1f}  "
            f"{found['gap_to_definition'][name]:.1e} {len(samples):3}"
        )
    for name, why in found["left_out"].items():
        print(f"  {name:20} left out: {why}")
    for goal in _goals_of(found):
        figures = _figures(found, goal)
        if figures:
            print(_verdict(goal, figures[1]))
    sys.stdout.flush()


def _verdict(goal: Goal, figure: float) -> str:
    said = "aim met" if goal.met(figure, goal.aim) else "must met"
    if not goal.met(figure, goal.must):
        said = "SHORT"
    return f"  {said:8} {goal.describe()} {figure:.3f} (aim {goal.aim}, must {goal.must})"


def _memory(model: str, asked: Namespace) -> Found:
    """Extra memory of a step, one process an engine."""
    held: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in asked.engines:
        command = [sys.executable, "-m", "kernels.bench.memory", model, name]
        answer = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, env={**os.environ, **ALLOCATOR}
        )
        if answer.returncode == 0:
            held[name] = float(answer.stdout)
        else:
            left_out[name] = (answer.stderr.strip().splitlines() or ["failed"])[-1][:120]
    found = {"model": model, "extra_mb": held, "left_out": left_out}
    print(f"\n{model}: extra memory of a step, MB (over the plain step's)")
    for name, mb in held.items():
        print(f"  {name:20} {mb:8.0f} ({mb / held['plain']:.2f})")
    for name, why in left_out.items():
        print(f"  {name:20} left out: {why}")
    for goal in _goals_of(found):
        figures = _figures(found, goal)
        if figures:
            print(_verdict(goal, figures[1]))
    sys.stdout.flush()
    return found


def _cpu() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    return {k.strip(): v.strip() for k, v in facts.items() if k.strip() in ("model name", "flags")}


# Engines warn of their own ways; nothing here depends on them.
warnings.filterwarnings("ignore", module=r"opacus|torch|kernels\.bench")
