"""What was tried on this machine's processor, kept in the cache folder.

A trial is made once: so a busy moment cannot change what a machine computes from one run to the next.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from avseg_cli.base.json_text import parse_json
from avseg_cli.base.processor import processor_field
from avseg_cli.base.whole_files import write_json
from avseg_cli.checkpoints.manifest import cache_dir

PATIENCE = 60.0  # seconds for which another process's trial is waited for
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # instructions that whoever set them keeps from torch

CLOCK = time.perf_counter if sys.platform == "win32" else time.process_time  # Windows counts the latter in 16 ms


def outcome(record: str, trial: Callable[[], float], *about: str) -> float:
    """What ``trial`` gave, as kept in the file ``record`` from the first time, or tried now. about: what was tried."""
    path, name = cache_dir() / record, " | ".join([machine(), *about])
    kept = read(path)
    if name not in kept:
        with _lock(path):
            kept = read(path)
            if name not in kept:
                kept[name] = round(trial(), 3)
                _keep(path, kept)
    return kept[name]


def _lock(path: Path) -> AbstractContextManager:
    """Processes that begin together, as those of a run do, try in turns; where nothing can be kept, each for itself."""
    if not path.is_absolute():
        return nullcontext()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path.with_name(f".{path.name}.lock")).acquire(PATIENCE)
    except (OSError, NotImplementedError):  # as of disks that know no locks
        return nullcontext()


def machine() -> str:
    """What outcomes depend on; a cache folder may be shared by machines."""
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ]
    return " | ".join([processor_field("model name"), f"torch {torch.__version__}", *limits])


def fastest(works: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The least seconds of each, in turns, so that what else the machine does meets all; the first is left out.

    Seconds of the processor: on a busy machine those of the clock tell how often a work was interrupted. Where the
    processor's are counted too coarsely to see a work, those of the clock all the same.
    """
    times: list[list[tuple[float, float]]] = [[] for _ in works]
    with torch.inference_mode():
        for _ in range(rounds + 1):  # the first makes the kernel
            for work, spent in zip(works, times, strict=True):
                started = CLOCK(), time.perf_counter()
                work()
                spent.append((CLOCK() - started[0], time.perf_counter() - started[1]))
    own, clock = ([min(took[kind] for took in spent[1:]) for spent in times] for kind in (0, 1))
    return own if all(own) else clock


def read(path: Path) -> dict[str, float]:
    """The outcomes kept; none where there is no file, or one that is damaged."""
    try:
        kept: Any = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    entries = kept.items() if isinstance(kept, dict) else ()
    return {name: value for name, value in entries if isinstance(value, float) and 0 < value < 1e3}


def _keep(path: Path, kept: dict[str, float]) -> None:
    """Write the outcomes; where nothing can be kept, the next process tries again."""
    if not path.is_absolute():  # a user without a home folder
        return
    with suppress(OSError):
        write_json(path, kept)
