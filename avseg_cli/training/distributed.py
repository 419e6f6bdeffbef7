"""Several processes as one: torchrun starts them, gradients are averaged by DistributedDataParallel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from avseg_cli.base.errors import DeviceError
from avseg_cli.base.sharing import Sharing


@contextmanager
def process_group(device: torch.device) -> Iterator[Sharing]:
    """Join the processes that torchrun started; alone when there are none.

    Gradients go over NCCL on CUDA. What the host decides goes over gloo, which no GPU waits for.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Sharing()
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Sharing(distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def take_own_gpu(name: str) -> None:
    """Have this process use its own GPU from the start when torchrun started several and ``name`` names none of them.

    Before anything is asked of CUDA, else every process opens the first GPU too and keeps memory there. Raises
    ``DeviceError`` where there are fewer GPUs than processes.
    """
    if name not in ("auto", "cuda") or "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
        return
    number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= count:
        raise DeviceError(f"process {number + 1} of this machine finds {count} GPUs: start as many processes as GPUs")
    torch.cuda.set_device(number)


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU, by its number, when torchrun started several."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def mean_over_processes(values: list[float], weights: list[float], sharing: Sharing) -> list[float]:
    """Weighted means over all processes, one for each value."""
    pairs = torch.tensor([[v * w for v, w in zip(values, weights, strict=True)], weights], dtype=torch.float64)
    if sharing.world > 1:
        distributed.all_reduce(pairs)
    total, weight = pairs
    return (total / weight.clamp(min=1e-12)).tolist()


def mean_figures(parts: list[tuple[dict[str, float], float]], sharing: Sharing) -> dict[str, float]:
    """Means of figures, weighted, over the parts of all processes."""
    names = list(parts[0][0]) if parts else []
    if sharing.world > 1:
        names = _names_from_first(names)
    weight = sum(w for _, w in parts)
    sums = [sum(f[name] * w for f, w in parts) / max(weight, 1e-12) for name in names]
    means = mean_over_processes(sums, [weight] * len(names), sharing)
    return dict(zip(names, means, strict=True))


def _names_from_first(names: list[str]) -> list[str]:
    """A process without a part of a small val split still takes part in the mean."""
    told = [names]
    distributed.broadcast_object_list(told, 0)
    return told[0]


def from_first(flag: bool, sharing: Sharing) -> bool:
    """The first process's decision, told to all."""
    if sharing.world == 1:
        return flag
    told = torch.tensor([int(flag)])
    distributed.broadcast(told, 0)
    return bool(told.item())
