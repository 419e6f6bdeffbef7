"""What only tests need, in its plainest form: masks out of run lengths, the log-mel of any second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avseg_cli.model.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel_examples


def second_log_mel(waveform: Tensor | np.ndarray, ends: list[float]) -> Tensor:
    """The log-mel of the second that ends at each of ``ends`` (in seconds) -> (len(ends), 1, 96, 64).

    An example covers 0.975 s: it starts where its second starts. Sound before 0 and after the end is silence.
    """
    wave = torch.as_tensor(waveform, dtype=torch.float32)
    windows = []
    for end in ends:
        start = round((end - 1.0) * SAMPLE_RATE)
        piece = wave[max(0, start) : max(0, start + EXAMPLE_SAMPLES)]
        before = min(EXAMPLE_SAMPLES, max(0, -start))
        windows.append(F.pad(piece, (before, EXAMPLE_SAMPLES - before - len(piece))))
    return torch.cat([log_mel_examples(window) for window in windows])


def decode_rle(encoded: dict[str, Any]) -> np.ndarray:
    """The inverse of ``outputs.rle.encode_rle``."""
    runs: list[int] = []
    value = shift = 0
    for code in str(encoded["counts"]).encode("ascii"):
        group = code - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    height, width = encoded["size"]
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return pixels.reshape(width, height).T
