"""Peak memory of a step above what stood before it: `python -m kernels.bench.memory MODEL ENGINE`.

A process of its own for each engine: what another one left behind would be counted. Freed memory
goes back at once (`ALLOCATOR`), or what an engine frees while it is built would hide what its step
takes.
"""

import ctypes
import re
import sys
import warnings
from pathlib import Path

import torch

from kernels.bench import peers
from kernels.bench.engines import engine

# For the environment of the process: blocks of 64 KiB and more are mapped, and nothing is held.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}


def extra_mb(model: str, name: str, positions: int = 128) -> float:
    """Extra megabytes of two steps, from the kernel's own high-water mark (Linux only)."""
    torch.set_num_threads(1)
    made = engine(name, model, positions)
    ctypes.CDLL(None).malloc_trim(0)
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
