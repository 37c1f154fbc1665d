"""Compile the shipped Triton tiles ahead of time, without a GPU: `python -m kernels.layers.aot`.

Prints one JSON line a kernel and target: registers and stack bytes a thread (spills live on the
stack), shared memory a block. The process must run without TRITON_INTERPRET.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.layers import triton_kernels as kernels

TARGETS = (80, 90)
_FACTORS = {"a_ptr": "*bf16", "g_ptr": "*bf16"}
_SIZES = dict.fromkeys(("T", "D", "P"), "i32")


@dataclass(frozen=True, slots=True)
class Tile:
    """One shipped kernel with its shape."""

    kernel: str
    types: dict[str, str]
    constants: dict[str, Any]
    warps: int
    stages: int


@dataclass(frozen=True, slots=True)
class Use:
    """What a compiled tile takes. registers, stack_bytes: a thread; shared_bytes: a block."""

    kernel: str
    target: int
    registers: int
    stack_bytes: int
    shared_bytes: int
    tensor_cores: str


def tiles() -> list[Tile]:
    """Every tile that `fused_triton` launches, at its default size, for bfloat16 factors."""
    block: dict[str, Any] = {"UPCAST": False, "BP": 128, "BD": 128, "BT": 64}
    small = {"SLOTS": 64, "UPCAST": False, "BP": 16, "BD": 512, "BT": 64}
    ghost = {"HAS_BIAS": True, "UPCAST": False, "BT": 64, "BK": 64}
    parts = {**_FACTORS, "parts_ptr": "*fp32", **_SIZES}
    sums = {"factors_ptr": "*fp32", "weight_ptr": "*fp32", "B": "i32"}
    slots = {"sums_ptr": "*fp32", "norms2_ptr": "*fp32", "B": "i32", "bound": "fp32"}
    words = {"key_ptr": "*u32", "nonce_ptr": "*u32", "values_ptr": "*fp32"}
    numbers = {"count": "i64", "counter": "i32", "scale": "fp32"}
    return [
        Tile("norm_parts", parts, {"HAS_BIAS": True, **block}, warps=8, stages=3),
        Tile("scaled_sum", {**_FACTORS, **sums, **_SIZES}, block, warps=8, stages=3),
        Tile("ghost_parts", parts, ghost, warps=4, stages=3),
        Tile("clip_small", {**_FACTORS, **slots, **_SIZES}, small, warps=8, stages=2),
        Tile("add_noise", {**words, **numbers}, {"BLOCKS": 128}, warps=4, stages=1),
    ]


def compiled(tile: Tile, target: int) -> Use:
    """Compile one tile for one target and read what it takes from the binary itself."""
    function = getattr(kernels, tile.kernel)
    constants = {(function.arg_names.index(name),): v for name, v in tile.constants.items()}
    aligned = [*(n for n, kind in tile.types.items() if kind.startswith("*")), "D", "P"]
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(function.arg_names)
        if name in aligned
    }
    signature = {name: tile.types.get(name, "constexpr") for name in function.arg_names}
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    made = triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)
    usage = _resource_usage(made.asm["cubin"])
    ptx = made.asm["ptx"]
    cores = next((word for word in ("wgmma", "mma.sync") if word in ptx), "none")
    return Use(
        tile.kernel,
        target,
        int(re.search(r"REG:(\d+)", usage).group(1)),  # type: ignore[union-attr]
        int(re.search(r"STACK:(\d+)", usage).group(1)),  # type: ignore[union-attr]
        int(made.metadata.shared),
        cores,
    )


def _resource_usage(binary: bytes) -> str:
    """What the bundled tool says of a binary; the system's may be older than the code."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def uses() -> Iterator[Use]:
    """Every tile on every target."""
    for tile in tiles():
        for target in TARGETS:
            yield compiled(tile, target)


if __name__ == "__main__":
    for found in uses():
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        sys.stdout.flush()
