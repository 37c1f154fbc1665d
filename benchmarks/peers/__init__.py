"""Other engines of private queries, each in a virtual environment of its own.

Not part of the service: `benchmarks.queries` makes the environments and runs these texts in them.
Each prints one line of JSON: CPU and wall seconds of its query step, peak memory, and its answers,
a noisy count and a noisy sum for each destination. The step is what ours is: from the same Parquet
file on disk to the released answer, with the engine loaded.
"""

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_METER: Final = """
import json, resource, sys, time
def used():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime
def say(cpu_s, wall_s, answers):
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak, "answers": answers}))
"""

_OPENDP: Final = """
import polars as pl, opendp.prelude as dp
dp.enable_features("contrib", "honest-but-curious")
rows = pl.scan_parquet(sys.argv[1]).select("unit", "dest", "distance")
context = dp.Context.compositor(
    data=rows,
    privacy_unit=dp.unit_of(contributions=1, identifier=pl.col("unit")),
    privacy_loss=dp.loss_of(epsilon=1.0, delta=1e-8),
    split_evenly_over=1,
    margins=[dp.polars.Margin(by=["dest"], max_length=10**9, max_groups=200)],
)
query = (
    context.query()
    .truncate_per_group(10, by=["dest"])
    .truncate_num_groups(3, by=["dest"], keep="first")
    .group_by("dest")
    .agg(dp.len(), pl.col("distance").fill_null(0).dp.sum((0, 5000)))
)
cpu, wall = used(), time.perf_counter()
table = query.release().collect()
cpu, wall = used() - cpu, time.perf_counter() - wall
say(cpu, wall, {row[0]: row[1:] for row in table.select("dest", "len", "distance").iter_rows()})
"""

_SMARTNOISE: Final = """
import warnings; warnings.filterwarnings("ignore")
import pandas as pd
from snsql import Privacy, from_connection
cpu, wall = used(), time.perf_counter()
frame = pd.read_parquet(sys.argv[1], columns=["unit", "dest", "distance"])
meta = {"": {"": {"f": {
    "row_privacy": False, "rows": len(frame), "max_ids": 3, "sample_max_ids": True,
    "censor_dims": True,
    "unit": {"name": "unit", "type": "int", "private_id": True},
    "dest": {"name": "dest", "type": "string"},
    "distance": {"name": "distance", "type": "int", "lower": 0, "upper": 5000},
}}}}
reader = from_connection(frame, privacy=Privacy(epsilon=1.0, delta=1e-8), metadata=meta)
rows = reader.execute("SELECT dest, COUNT(*) AS c, SUM(distance) AS s FROM f GROUP BY dest")
cpu, wall = used() - cpu, time.perf_counter() - wall
say(cpu, wall, {str(row[0]): [int(row[1]), int(row[2])] for row in rows[1:]})
"""


@dataclass(frozen=True)
class Peer:
    """One engine: what its environment holds, and its query."""

    name: str
    packages: tuple[str, ...]
    text: str


PEERS: Final = (
    Peer("opendp-polars", ("opendp[polars]==0.16.0",), _METER + _OPENDP),
    Peer("smartnoise", ("smartnoise-sql==1.0.10", "pyarrow"), _METER + _SMARTNOISE),
)


def prepare(peer: Peer, folder: Path) -> Path:
    """The interpreter of a peer's environment, made and filled where it is not there yet."""
    home = folder / peer.name
    python = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        venv.create(home, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *peer.packages]
        subprocess.run(install, check=True)  # noqa: S603
        ready.touch()
    return python


def run(peer: Peer, python: Path, file: Path) -> dict[str, Any]:
    """One query of a peer in a fresh process."""
    done = subprocess.run(  # noqa: S603
        [str(python), "-c", peer.text, str(file)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        raise RuntimeError(f"{peer.name} failed")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
