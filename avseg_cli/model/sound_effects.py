"""A sound network that knows kinds of sounds: the CNN of aisfx (Ma and Lerch, ISMIR 2022) and a small head on it.

The CNN was trained to sort professional libraries of sound effects. It wants a fixed loudness, so every second is
brought to one inside the network, and its level goes to the head beside what the CNN heard.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.log_mel import EXAMPLE_FRAMES, EXAMPLE_SAMPLES, SAMPLE_RATE
from avseg_cli.model.log_mel import HOP as VGGISH_HOP

WINDOW = 742  # samples, 46.4 ms: 2048 samples of aisfx's 44.1 kHz
HOP = WINDOW // 2
FFT = 1024
MEL_BANDS = 96
HIGHEST = 22_050.0  # Hz, of aisfx's mel bands; those above 8 kHz stay empty here
LOUDNESS = 0.1  # root mean square to which a second is brought
_FLOOR = 1e-7  # of the power
_LARGEST = 9.457798957824707  # of aisfx's training spectrograms, log10(10000 power + 1)


def power_log_mel_examples(waveform: Tensor | np.ndarray) -> Tensor:
    """Mono sound at 16 kHz in [-1, 1] -> (K, 1, 41, 96), log of power: 0.975 s each 0.96 s, as VGGish's examples.

    Periodic Hann windows of 742, hop 371, padded to 1024; 96 HTK mel bands from 0 to 22050 Hz, each of unit sum;
    power as windows of 2048 samples would have it. Sound shorter than one example gives none.
    """
    wave = torch.as_tensor(waveform, dtype=torch.float32)
    if wave.shape[-1] < EXAMPLE_SAMPLES:
        return wave.new_zeros(0, 1, (EXAMPLE_SAMPLES - WINDOW) // HOP + 1, MEL_BANDS)
    examples = wave.unfold(-1, EXAMPLE_SAMPLES, EXAMPLE_FRAMES * VGGISH_HOP)  # (K, 15600)
    windows = examples.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW)
    power = torch.fft.rfft(windows, FFT).abs().square()  # (K, 41, 513)
    return torch.log(power @ _mel_matrix() + _FLOOR)[:, None]


def _edges() -> np.ndarray:
    """(98,): where the mel bands begin, peak and end, in Hz (HTK scale)."""
    top = 2595 * np.log10(1 + HIGHEST / 700)
    return 700 * (10 ** (np.linspace(0, top, MEL_BANDS + 2) / 2595) - 1)


@lru_cache(maxsize=1)
def _mel_matrix() -> Tensor:
    """(513, 96)."""
    edges = _edges()
    bins = np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    triangles[:, upper > SAMPLE_RATE / 2] = 0
    triangles /= np.maximum(triangles.sum(0), 1e-12)
    return torch.from_numpy((triangles * (2048 / WINDOW) ** 2).astype(np.float32))


class SoundEffectsNet(nn.Module):
    """One second of log-mel -> what is heard: the probability of each of ``ModelConfig.kinds``."""

    front_end = staticmethod(power_log_mel_examples)
    CHANNELS = (64, 128, 256, 512)

    def __init__(self, kinds: int, hidden: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for number, channels in enumerate(self.CHANNELS, start=1):
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
            if number < len(self.CHANNELS):
                layers.append(nn.MaxPool2d(2))
            inputs = channels
        self.cnn = nn.Sequential(*layers)  # batch norms folded
        self.lin1 = nn.Linear(2 * inputs + 1, hidden)
        self.drop = nn.Dropout(0.3)
        self.heard = nn.Linear(hidden, kinds)
        self.register_buffer("bandwidths", _bandwidths(), persistent=False)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(B, 1, 41, 96) -> (B, kinds)."""
        return self.describe(self.features(log_mel))

    def describe(self, features: Tensor) -> Tensor:
        """What the CNN answered (B, 1025) -> probabilities of the kinds (B, kinds)."""
        return self.logits(features).sigmoid()

    def logits(self, features: Tensor) -> Tensor:
        """The same before the sigmoid."""
        return self.heard(self.drop(F.relu(self.lin1(features))))

    def features(self, log_mel: Tensor) -> Tensor:
        """The CNN's strongest and mean answer over time, and the level in units of 20 dB below full: (B, 1025)."""
        normed, level = self._to_one_loudness(log_mel)
        x = self.cnn(normed.contiguous(memory_format=torch.channels_last)).mean(3)  # (B, 512, frames): over bands
        return torch.cat([x.amax(2), x.mean(2), level[:, None] / 20], 1)

    def _to_one_loudness(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """As aisfx takes it, and the level in dB."""
        power = log_mel.exp()
        square = (power @ self.bandwidths).mean((1, 2)) / (2048 * 3 / 8)  # the mean of squared samples, about
        normed = torch.log10(power * (LOUDNESS**2 / square.clamp_min(_FLOOR))[:, None, None, None] * 1e4 + 1)
        return normed / _LARGEST, 10 * torch.log10(square.clamp_min(1e-9))


def _bandwidths() -> Tensor:
    """(96,): the share of the spectrum that each mel band stands for."""
    edges = _edges()
    widths = edges[2:] - edges[:-2]
    return torch.from_numpy((widths / widths.sum()).astype(np.float32))
