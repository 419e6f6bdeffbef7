"""This process's share of the machine: several processes at work divide its cores between them."""

from __future__ import annotations

import os

_share = 0  # threads each library may use; 0: as it likes


def cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def take_share(count: int) -> None:
    """Let the model and the codecs of this process use ``count`` threads each."""
    global _share
    import torch

    _share = count
    torch.set_num_threads(count)


def codec_threads() -> int:
    """What FFmpeg is told: the share, or 0 where it may choose."""
    return _share
