"""Measuring: interleaved times, peak memory, arithmetic, and what the hardware can do at most."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler talks to stderr unless told not to, before torch comes

import torch
from torch.profiler import ProfilerActivity, profile

from avseg_cli.base.operations import count_flops
from avseg_cli.model import inference
from avseg_cli.model.config import ModelConfig

Work = Callable[[], Any]
Times = tuple[list[float], list[float]]  # the reference's, and ours


@dataclass(frozen=True)
class Measured:
    """One side of one component."""

    times: list[float]  # seconds on the wall, one per repeat
    cpu_times: list[float]  # processor seconds of all threads: steadier on a machine that others use too
    peak_bytes: int  # held at most at one moment, above what was held before (weights, inputs)
    output: Any

    @property
    def seconds(self) -> float:
        """The least disturbed repeat."""
        return min(self.times)

    @property
    def cpu_seconds(self) -> float:
        return min(self.cpu_times)


@dataclass(frozen=True)
class Roofline:
    """What this device did best just now: large matrix products and a large copy."""

    flops: float  # per second, in the precision measured
    bytes: float  # per second, read plus written


def compare(reference: Work, ours: Work, device: torch.device, repeats: int) -> tuple[Measured, Measured]:
    """Run both, first once to warm up and to see their memory, then ``repeats`` times in turn."""
    works = (reference, ours)
    first = []
    for side, work in enumerate(works):
        with _allocator(kept=side == 1):
            first.append(peak_memory(work, device))
    times, cpu_times = in_turn(works, device, repeats)
    theirs, own = (Measured(times[side], cpu_times[side], *first[side]) for side in (0, 1))
    return theirs, own


def in_turn(works: tuple[Work, Work], device: torch.device, repeats: int) -> tuple[Times, Times]:
    """Seconds, and seconds of the processor, of the reference and of ours, ``repeats`` times in turn."""
    times: Times = ([], [])
    cpu_times: Times = ([], [])
    for _ in range(repeats):
        for side, work in enumerate(works):
            with _allocator(kept=side == 1):
                cpu_start = process_time()
                times[side].append(_time(work, device))
                cpu_times[side].append(process_time() - cpu_start)
    return times, cpu_times


class _allocator:
    """The reference runs with malloc as every process finds it, ours as ``prepare_for_inference`` leaves it."""

    def __init__(self, kept: bool) -> None:
        self.kept = kept

    def __enter__(self) -> None:
        (inference.keep_freed_memory if self.kept else inference.return_freed_memory)()

    def __exit__(self, *_: object) -> None:
        inference.keep_freed_memory()


def _time(work: Work, device: torch.device) -> float:
    _synchronise(device)
    start = perf_counter()
    work()
    _synchronise(device)
    return perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(work: Work, device: torch.device) -> tuple[int, Any]:
    """Most bytes of tensors (and, on the CPU, numpy arrays) alive at once during ``work``, and its output.

    On the CPU every allocation is recorded, so the figure does not depend on what malloc keeps.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        output = work()
        return torch.cuda.max_memory_allocated(device) - before, output
    tracemalloc.start()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            output = work()
        _, peak_arrays = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return max(_peak_tensors(recorded), peak_arrays), output


def _peak_tensors(recorded: profile) -> int:
    results = recorded.profiler and recorded.profiler.kineto_results
    assert results, "it has recorded"
    events = [e for e in results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def measure_roofline(device: torch.device, dtype: torch.dtype) -> Roofline:
    """Best of several: products of square matrices, and a copy far larger than any cache."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    works = [lambda: torch.mm(a, b, out=out)]
    if device.type == "cpu" and inference.can_pack(dtype):
        packed = inference.PackedLinear(_as_linear(b), gelu=False)
        works.append(lambda: packed(a))
    source = torch.empty((1 << 30 if device.type == "cuda" else 1 << 27), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = min(_time(work, device) for work in works for _ in range(5))
    copy = min(_time(lambda: target.copy_(source), device) for _ in range(5))
    return Roofline(2 * size**3 / product, 2 * source.nbytes / copy)


def _as_linear(weight: torch.Tensor) -> torch.nn.Linear:
    linear = torch.nn.Linear(*weight.shape, bias=False, device="meta")
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    return linear


def encoder_flops(encode: Callable[[torch.Tensor, torch.Tensor], Any], config: ModelConfig) -> int:
    """Operations of ``encode`` on one frame of a model on the meta device."""
    frame = torch.empty(1, 3, config.image_size, config.image_size, device="meta")
    return count_flops(lambda: encode(frame, torch.empty(1, config.audio_dim, device="meta")))


def relative_error(reference: torch.Tensor, ours: torch.Tensor) -> float:
    """Largest difference over the largest magnitude of the reference."""
    reference, ours = reference.double(), ours.double()
    return ((reference - ours).abs().max() / reference.abs().max()).item()
