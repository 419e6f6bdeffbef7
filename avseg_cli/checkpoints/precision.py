"""In which precision a model computes: what is asked for or, left to ``auto``, what this device is faster in.

A GPU of before the A100's generation has no bf16 and is as fast in fp16, whose range is smaller.

Having bf16 instructions does not make a processor faster with them: without AMX, some of Intel's take twice as long
as in float32, where AMD's take half. So ``auto`` multiplies matrices for some milliseconds and sees. The outcome is
kept in the cache folder, so that a busy moment cannot change what a machine computes from one run to the next.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import nn

from avseg_cli.base.errors import DeviceError
from avseg_cli.checkpoints.manifest import cache_dir
from avseg_cli.checkpoints.packing import filled
from avseg_cli.checkpoints.trials import fastest, outcome
from avseg_cli.model.inference import PackedLinear, can_pack

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SWITCH = "AVSEG_BF16"  # on or off: what auto takes, for machines that are to compute alike
RECORD = "precision.json"
PAYS_FROM = 1.25  # times the speed of float32; less is not worth the digits
_SIZE, _ROUNDS = 512, 4  # rows and columns of the matrices multiplied; times each precision is timed


@dataclass(frozen=True)
class PrecisionChoice:
    """What ``auto`` takes on a device, and why, as the end of a sentence that begins with "because"."""

    dtype: torch.dtype
    why: str


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of one of ``PRECISIONS``, or of ``"auto"`` on ``device``; raises ``DeviceError`` for other names."""
    if name == "auto":
        return automatic(device).dtype
    if name not in PRECISIONS:
        raise DeviceError(f"no precision {name!r}; use auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def precision_name(dtype: torch.dtype) -> str:
    """What a dtype is called in ``PRECISIONS``, or by PyTorch if it is none of them."""
    return next((name for name, own in PRECISIONS.items() if own == dtype), str(dtype).removeprefix("torch."))


def training_precision(name: str, device: torch.device) -> torch.dtype:
    """As ``choose_precision``, but ``"auto"`` trains in float32 on a CPU: small steps are lost in bf16's 8 bits."""
    return choose_precision("fp32" if name == "auto" and device.type == "cpu" else name, device)


def automatic(device: torch.device) -> PrecisionChoice:
    """What ``auto`` takes on ``device``. Raises ``DeviceError`` when ``AVSEG_BF16`` is neither on nor off."""
    switch = os.environ.get(SWITCH, "").lower()
    if switch not in ("", "on", "off"):
        raise DeviceError(f"{SWITCH} is {switch!r}; set it to on or off, or leave it out")
    if switch:
        return PrecisionChoice(torch.bfloat16 if switch == "on" else torch.float32, f"{SWITCH} is {switch}")
    if not has_bf16(device):
        if has_fp16(device):
            return PrecisionChoice(torch.float16, f"{device} multiplies it in hardware, and has no bf16")
        return PrecisionChoice(torch.float32, f"{device} has no bf16 arithmetic, where it would be slower")
    if device.type == "cuda":
        return PrecisionChoice(torch.bfloat16, f"{device} multiplies it in hardware")
    speedup = _cpu_speedup()
    tried = (
        f"matrix products in bf16 take {1 / speedup:.2f} of float32's time here (tried once, {cache_dir() / RECORD})"
    )
    return PrecisionChoice(torch.bfloat16 if speedup >= PAYS_FROM else torch.float32, tried)


def has_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; without them it is emulated."""
    if device.type == "cuda":  # from the A100's generation on
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_fp16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of fp16 in hardware: GPUs from the V100 on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


@lru_cache(maxsize=1)
def _cpu_speedup() -> float:
    """How many times as fast this CPU multiplies in bf16 as in float32: as kept from the first time, or tried now."""
    return outcome(RECORD, try_products)


def try_products() -> float:
    """The speed of a linear layer in bf16 over that in float32, each as a prepared model runs it on this CPU."""
    candidates = [(layer, dtype) for dtype in (torch.float32, torch.bfloat16) for layer in _layers(dtype)]
    rows = {dtype: torch.ones(_SIZE, _SIZE, dtype=dtype) for _, dtype in candidates}
    times = fastest([partial(layer, rows[dtype]) for layer, dtype in candidates], _ROUNDS)
    fp32, bf16 = (
        min(seconds for seconds, (_, own) in zip(times, candidates, strict=True) if own == dtype) for dtype in rows
    )
    return fp32 / bf16


def _layers(dtype: torch.dtype) -> list[nn.Module]:
    """A linear layer, and the same packed where that is possible: the faster one runs."""
    layer = filled(nn.Linear, _SIZE, _SIZE, dtype)
    return [layer, PackedLinear(layer)] if can_pack(dtype) else [layer]
