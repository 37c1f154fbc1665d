"""Peak memory of a step above what stood before it: `python -m kernels.bench.memory MODEL ENGINE`.

A process of its own for each engine: what another one left behind would be counted.
"""

import re
import sys
import warnings
from pathlib import Path

import torch

from kernels.bench import peers
from kernels.bench.engines import engine


def extra_mb(model: str, name: str, positions: int = 128) -> float:
    """Extra megabytes of two steps, from the kernel's own high-water mark (Linux only)."""
    torch.set_num_threads(1)
    made = engine(name, model, positions)
    before = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        made.step()
    return _status_mb("VmHWM") - before


def _status_mb(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[2].startswith("opacus"):
        peers.prepare()
    sys.stdout.write(f"{extra_mb(sys.argv[1], sys.argv[2])}\n")
