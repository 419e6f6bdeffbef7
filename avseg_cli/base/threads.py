"""This process's share of the machine: several processes at work divide its cores and its GPUs between them."""

from __future__ import annotations

import os

_share = 0  # threads each library may use; 0: as it likes
_number = 0  # of this process among those at work


def cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def take_share(count: int, number: int = 0) -> None:
    """Let the model and the codecs of this process, the ``number``-th from 0, use ``count`` threads each."""
    global _share, _number
    import torch

    _share, _number = count, number
    torch.set_num_threads(count)


def own_of(count: int) -> int:
    """Which of so many GPUs, from 0, is this process's."""
    return _number % count


def codec_threads() -> int:
    """What FFmpeg is told: the share, or 0 where it may choose."""
    return _share
