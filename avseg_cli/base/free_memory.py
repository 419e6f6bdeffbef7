"""How much memory there is to be had."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

SYSTEM = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # a container's limits


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on a GPU, or that programs on this computer may still take; None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    with suppress(OSError, ValueError, StopIteration):
        free = 1024 * _figure(SYSTEM, "MemAvailable:")
        with suppress(OSError, ValueError):  # no container, or one without a limit
            taken = int((GROUP / "memory.current").read_text()) - _given_back()
            free = min(free, int((GROUP / "memory.max").read_text()) - taken)
        return free
    return None


def _given_back() -> int:
    """Bytes of what the container holds of files, which it gives up for programs; 0 where it does not say."""
    with suppress(OSError, ValueError, StopIteration):
        return _figure(GROUP / "memory.stat", "inactive_file")
    return 0


def _figure(file: Path, name: str) -> int:
    """The number behind a name in a file of lines. Raises ``StopIteration`` where it has no such line."""
    lines = map(str.split, file.read_text().splitlines())
    return int(next(words[1] for words in lines if words[:1] == [name]))
