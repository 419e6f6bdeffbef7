"""The reference under ``torch.compile``: what a user could have without our work, where a compiler is at hand."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from avseg_cli.bench import measure
from avseg_cli.bench.parts import Part


def compiled(part: Part, device: torch.device, repeats: int) -> dict[str, Any]:
    """The part's reference compiled, in turn with ours: the best time, wall and processor, and what compiling took.

    Raises whatever the compiler raises.
    """
    torch.compiler.reset()
    work = torch.compile(part.reference)
    began = perf_counter()
    work()
    compiling = perf_counter() - began
    (seconds, ours), (cpu_seconds, _) = measure.in_turn((work, part.ours), device, repeats)
    return {
        "seconds": min(seconds), "all_seconds": seconds, "cpu_seconds": min(cpu_seconds), "compile_seconds": compiling,
        "speedup": min(seconds) / min(ours),
    }  # fmt: skip
