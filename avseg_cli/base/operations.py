"""How much arithmetic a piece of work is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.flop_counter import FlopCounterMode


def count_flops(work: Callable[[], Any]) -> int:
    """Floating-point operations (two per multiply-accumulate) of the matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
