"""The parts of the model that stay in float32 when training computes the rest in bf16: they are cheap, and add up."""

from __future__ import annotations

from contextlib import nullcontext

import torch


def in_float32(device: torch.device) -> torch.autocast | nullcontext[None]:
    """Inside, an autocast around it has no say."""
    return torch.autocast(device.type, enabled=False) if device.type in ("cpu", "cuda", "mps") else nullcontext()
