"""VGGish's front end: sound -> log-mel examples (data facts: AVSBench uses it unchanged)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16_000  # Hz
WINDOW = SAMPLE_RATE * 25 // 1000  # 400 samples, 25 ms
HOP = SAMPLE_RATE * 10 // 1000  # 160 samples, 10 ms
FFT = 512
MEL_BANDS = 64
MEL_RANGE = (125.0, 7500.0)  # Hz
LOG_OFFSET = 0.01
EXAMPLE_FRAMES = 96  # log-mel frames in an example: 0.96 s
EXAMPLE_SAMPLES = (EXAMPLE_FRAMES - 1) * HOP + WINDOW  # 15,600 samples: what one example needs


def log_mel_spectrogram(waveform: Tensor | np.ndarray) -> Tensor:
    """Mono sound at 16 kHz, (samples,) in [-1, 1] -> (frames, 64) float32, one frame each 10 ms.

    STFT of periodic Hann windows of 400 without centring or padding, magnitude, 64 HTK mel bands,
    log(mel + 0.01). Shorter sound than one window gives no frames.
    """
    wave = torch.as_tensor(waveform, dtype=torch.float32)
    if wave.shape[-1] < WINDOW:
        return wave.new_zeros(0, MEL_BANDS)
    # rfft pads each window on its right; torch.stft would centre the 400 samples in 512 instead
    windows = wave.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW, periodic=True)
    magnitude = torch.fft.rfft(windows, FFT).abs()  # (frames, 257)
    return torch.log(magnitude @ _mel_matrix() + LOG_OFFSET)


def log_mel_examples(waveform: Tensor | np.ndarray) -> Tensor:
    """Consecutive, non-overlapping examples of 0.96 s -> (K, 1, 96, 64)."""
    spectrogram = log_mel_spectrogram(waveform)
    count = spectrogram.shape[0] // EXAMPLE_FRAMES
    return spectrogram[: count * EXAMPLE_FRAMES].reshape(count, 1, EXAMPLE_FRAMES, MEL_BANDS)


def clip_log_mel(waveform: Tensor | np.ndarray, frames: int = 5) -> Tensor:
    """The log-mel of an AVSBench clip -> (frames, 1, 96, 64).

    Example k starts at 0.96 k s (not k s: the benchmark's rule); a clip that gives fewer repeats its
    last, one that gives none is silence.
    """
    examples = log_mel_examples(waveform)[:frames]
    if not len(examples):
        examples = log_mel_examples(np.zeros(EXAMPLE_SAMPLES, np.float32))
    return torch.cat([examples, examples[-1:].expand(frames - len(examples), -1, -1, -1)])


@lru_cache(maxsize=1)
def _mel_matrix() -> Tensor:
    """(257, 64): triangles in the mel domain (HTK scale), the DC bin zeroed."""

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(MEL_RANGE[0]), mel(MEL_RANGE[1]), MEL_BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(0.0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    triangles[0] = 0.0
    return torch.from_numpy(triangles.astype(np.float32))
