"""When within an interval the sound changes: what sounds switches there, and not half a second later."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from avseg_cli.model.log_mel import HOP, MEL_BANDS, SAMPLE_RATE

RATE = SAMPLE_RATE // HOP  # rows of a spectrum a second
BANDS = 16
SPAN = 60  # rows on either side that are compared: shorter ones take each bark for a change
LEAST = 5  # rows that must be known on either side
CLEAR = 0.5  # weighted difference of the spectra from which a change is heard; below the sound goes on as it was


class Second(Protocol):
    """A result at ``time`` with the ``spectrum`` of the second of sound that ends at ``sound_end``, in seconds."""

    @property
    def time(self) -> float: ...
    @property
    def sound_end(self) -> float: ...
    @property
    def spectrum(self) -> np.ndarray | None: ...


def spectrum(log_mel: Tensor) -> np.ndarray:
    """A log-mel (rows, 64) in 16 bands: float16 (rows, 16)."""
    return log_mel.reshape(len(log_mel), BANDS, MEL_BANDS // BANDS).mean(-1).numpy().astype(np.float16)


def onset(before: Second, after: Second) -> float:
    """The time in seconds, from that of ``before`` to that of ``after``, at which the sound changes most.

    That is where the mean spectra of what comes before and of what follows differ most.
    """
    return _greatest(before, after, (before.time, after.time))[0]


def turn(before: Second, after: Second, within: tuple[float, float]) -> float | None:
    """As ``onset``, between two times; None where the sound goes on as it was."""
    time, strength = _greatest(before, after, within)
    return time if strength >= CLEAR else None


def _greatest(before: Second, after: Second, within: tuple[float, float]) -> tuple[float, float]:
    """When the sound changes most, in seconds, and how much; halfway and not at all where that is not known."""
    heard, start = _together(before, after)
    unknown = sum(within) / 2, 0.0
    if heard is None:
        return unknown
    first, last = (round((time - start) * RATE) for time in within)
    splits = np.arange(max(first, LEAST), min(last, len(heard) - LEAST) + 1)
    if not len(splits):
        return unknown
    sums = np.concatenate([np.zeros((1, BANDS)), np.cumsum(heard, 0, dtype=np.float64)])
    left, right = np.minimum(splits, SPAN), np.minimum(len(heard) - splits, SPAN)
    earlier = (sums[splits] - sums[splits - left]) / left[:, None]
    later = (sums[splits + right] - sums[splits]) / right[:, None]
    weight = np.sqrt(left * right / (left + right))  # means of few rows differ by chance
    differs = np.abs(later - earlier).mean(1) * weight
    return start + float(splits[differs.argmax()]) / RATE, float(differs.max())


def _together(before: Second, after: Second) -> tuple[np.ndarray | None, float]:
    """The spectra of both in one row, and the second at which it begins; None where either is not known."""
    if before.spectrum is None or after.spectrum is None:
        return None, 0.0
    start, new = before.sound_end - 1, round((after.sound_end - before.sound_end) * RATE)
    if new > RATE:  # a hole in between
        return after.spectrum, after.sound_end - 1
    rest = np.repeat(before.spectrum[-1:], RATE - len(before.spectrum), 0)  # an example ends before its second does
    return np.concatenate([before.spectrum, rest, after.spectrum[RATE - new :]]), start
