"""Two processes give the gradients of one: the per-layer sums are ordinary gradients to DDP."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from kernels.private.model import privatize
from kernels.private.spec import ClipSpec
from tests.kernels.private.nets import losses, made

_SPEC = ClipSpec(mode="per_layer", bound=0.7, plan="direct")


def _gradients(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    model, x, y = made("gpt", torch.float32)
    privatize(model, _SPEC, (x[:3],))
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    half = slice(3 * rank, 3 * rank + 3)
    # The scales of `losses` go by place in the batch: both ranks see the first three.
    torch.autograd.backward(losses(parallel, x[half], y[half]).sum())
    if rank == 0:
        found = {n: p.grad * 2 for n, p in model.named_parameters() if p.grad is not None}
        torch.save(found, Path(folder) / "found.pt")  # DDP averages over the ranks
    dist.destroy_process_group()


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    spawn(_gradients, args=(port, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    found = torch.load(tmp_path / "found.pt")
    model, x, y = made("gpt", torch.float32)
    private = privatize(model, _SPEC, (x[:3],))
    for half in (slice(0, 3), slice(3, 6)):
        private.backward(losses(model, x[half], y[half]))
    expected = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    flat = torch.cat([expected[n].flatten() for n in expected])
    gap = torch.cat([(found[n] - expected[n]).flatten() for n in expected]).norm()
    assert float(gap / flat.norm()) <= 1e-6
