"""What can be seen of sound: how loud it is, and its log-mel spectrogram, over the length of a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avseg_cli.media.audio import SoundReader
from avseg_cli.media.video import Sound
from avseg_cli.model.log_mel import (
    EXAMPLE_FRAMES,
    EXAMPLE_SAMPLES,
    LOG_OFFSET,
    MEL_BANDS,
    SAMPLE_RATE,
    log_mel_spectrogram,
)

PIECE = EXAMPLE_SAMPLES / SAMPLE_RATE  # seconds read at once
PEAKS = (39, 13, 3, 1)  # of a piece; divisors of its samples
COLUMNS = (32, 16, 8, 4, 2, 1)  # of a piece; divisors of its log-mel frames


@dataclass(frozen=True)
class SoundPicture:
    """Sound from ``start`` to ``end`` seconds, evenly spaced: peaks (P,) in [0, 1] and log_mel (C, 64) float32."""

    start: float
    end: float
    peaks: np.ndarray
    log_mel: np.ndarray

    @property
    def loudness(self) -> np.ndarray:
        """The peaks with the loudest at 1, as waveforms are drawn; silence stays 0."""
        return self.peaks / max(float(self.peaks.max(initial=0)), 1e-3)

    @property
    def brightness(self) -> np.ndarray:
        """The log-mel as a picture, uint8 (64, C): low frequencies at the bottom, silence 0, the loudest 255."""
        silence = np.log(LOG_OFFSET)
        above = (self.log_mel - silence) / max(float(self.log_mel.max(initial=silence)) - silence, 1.0)
        return np.round(255 * np.clip(above, 0, 1)).astype(np.uint8).T[::-1]


def sound_picture(sound: Sound, start: float, end: float, most: int = 4000) -> SoundPicture:
    """Read the sound between ``start`` and ``end`` seconds into about ``most`` columns at most, a piece at a time."""
    pieces = max(1, int(np.ceil((end - start) / PIECE)))
    peaks_each = _each(PEAKS, pieces, most)
    columns_each = _each(COLUMNS, pieces, most)
    peaks, columns = np.empty((pieces, peaks_each), np.float32), np.empty((pieces, columns_each, MEL_BANDS), np.float32)
    reader = SoundReader(sound, start)
    try:
        for number in range(pieces):
            wave = reader.second(start + number * PIECE + 1.0)
            peaks[number] = np.abs(wave).reshape(peaks_each, -1).max(1)
            frames = log_mel_spectrogram(wave).numpy()[:EXAMPLE_FRAMES]
            columns[number] = frames.reshape(columns_each, -1, MEL_BANDS).mean(1)
    finally:
        reader.close()
    share = (end - start) / (pieces * PIECE)  # the last piece reaches past the end
    kept_peaks, kept_columns = (max(1, round(pieces * each * share)) for each in (peaks_each, columns_each))
    return SoundPicture(start, end, peaks.reshape(-1)[:kept_peaks], columns.reshape(-1, MEL_BANDS)[:kept_columns])


def _each(choices: tuple[int, ...], pieces: int, most: int) -> int:
    """The finest division of a piece that keeps to ``most`` columns in all."""
    return next((each for each in choices if each * pieces <= most), choices[-1])
