"""Two processes give the gradients of one, in every mode."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from kernels.private.model import PrivateModel, privatize
from kernels.private.spec import ClipSpec, Mode
from tests.kernels.private.nets import losses, made

MODES: list[Mode] = ["per_layer", "flat", "per_group", "stream"]


def _private(mode: Mode) -> tuple[PrivateModel, Tensor, Tensor]:
    model, x, y = made("gpt", torch.float32)
    groups: dict[str, float | None] = {}
    if mode == "per_group":
        groups = {"blocks": None, "": None}
    spec = ClipSpec(mode=mode, bound=0.7, plan="direct", groups=groups, microbatch=3)
    return privatize(model, spec, (x[:3],)), x, y


def _found(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _gradients(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    half = slice(3 * rank, 3 * rank + 3)
    found: dict[str, dict[str, Tensor]] = {}
    for mode in MODES:
        private, x, y = _private(mode)
        # The scales of `losses` go by place in the batch: both ranks see the first three.
        if mode == "per_layer":
            # Its sums are ordinary gradients, which DDP averages over the ranks.
            parallel = DistributedDataParallel(private.model)
            torch.autograd.backward(losses(parallel, x[half], y[half]).sum())
            found[mode] = {n: g * 2 for n, g in _found(private.model).items()}
            continue
        private.sum_gradients(losses, x[half], y[half])
        private.sum_over_ranks()
        found[mode] = _found(private.model)
    # Wrapped all the same, without its own reduction; and one rank that drew no example.
    private, x, y = _private("flat")
    wrapped = DistributedDataParallel(private.model)
    with wrapped.no_sync():
        private.backward(losses(wrapped, x[half], y[half]))
    private.sum_over_ranks()
    found["flat, wrapped"] = _found(private.model)
    private.model.zero_grad()
    if rank == 1:
        private.backward(losses(private.model, x[:3], y[:3]))
    private.sum_over_ranks()
    found["flat, one rank empty"] = _found(private.model)
    torch.save(found, Path(folder) / f"found-{rank}.pt")
    dist.destroy_process_group()


def _expected(name: str) -> dict[str, Tensor]:
    mode = next(mode for mode in MODES if name.startswith(mode))
    private, x, y = _private(mode)
    halves = [slice(0, 3)] if "empty" in name else [slice(0, 3), slice(3, 6)]
    for half in halves:
        private.backward(losses(private.model, x[half], y[half]))
    return _found(private.model)


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_give_the_gradients_of_one_in_every_mode(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    spawn(_gradients, args=(port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"found-{rank}.pt") for rank in (0, 1))
    assert set(first) == {*MODES, "flat, wrapped", "flat, one rank empty"}
    for name, found in first.items():
        expected = _expected(name)
        assert found.keys() == expected.keys(), name
        flat = torch.cat([expected[n].flatten() for n in expected])
        gap = torch.cat([(found[n] - expected[n]).flatten() for n in expected]).norm()
        assert float(gap / flat.norm()) <= 1e-6, name
        assert all(torch.equal(found[n], second[name][n]) for n in found), name
