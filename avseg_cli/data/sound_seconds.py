"""Single seconds of recordings, and how they are changed: rooms, microphones, other sounds beside them, loudness."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from avseg_cli.data.files import read_waveform
from avseg_cli.data.listed import LIST, ListedRecording
from avseg_cli.model.kinds import NO_SOUND
from avseg_cli.model.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE

MOST_OF_A_RECORDING = 30  # seconds
MOST_OF_A_KIND = {"none": 900, "speech": 900, "drums": 500, "music": 400, "cymbal": 300}
MOST = 700  # seconds of any other kind
QUIETEST = 30  # dB below a recording's loudest second: below that it is a pause
IN_PIECES = 0.3  # how often a changed second is put together from pieces of it
FOLDS = 3  # of the sources, for hearing each with a network that never met it
TRIES = 256  # at finding a second to put beside another
INAUDIBLE = (-80.0, -52.0)  # dB


@dataclass(frozen=True)
class SoundSecond:
    """A second of a recording, 16-bit (15600,)."""

    kind: str
    source: str
    samples: np.ndarray

    @property
    def fold(self) -> int:
        return zlib.crc32(self.source.encode()) % FOLDS

    @property
    def wave(self) -> np.ndarray:
        return self.samples.astype(np.float32) / 32767


def cut_recordings(recordings: Sequence[ListedRecording], limit: int | None = None) -> list[SoundSecond]:
    """The seconds of all recordings that are not pauses, no kind with more than its share.

    limit: so many seconds of a kind at most. Raises ``DataError`` for a recording that cannot be read.
    """
    by_kind: dict[str, list[SoundSecond]] = {}
    for recording in recordings:
        by_kind.setdefault(recording.kind, []).extend(_cut(recording))
    chosen: list[SoundSecond] = []
    for kind, seconds in by_kind.items():
        random.Random(kind).shuffle(seconds)
        most = MOST_OF_A_KIND.get(kind, MOST)
        chosen += seconds[: min(limit or most, most)]
    return chosen


def _cut(recording: ListedRecording) -> list[SoundSecond]:
    wave = read_waveform(recording.path, LIST)
    rng = np.random.default_rng(zlib.crc32(recording.path.name.encode()))
    if len(wave) < EXAMPLE_SAMPLES:  # a shot, a bark: somewhere in its second
        before = int(rng.integers(0, EXAMPLE_SAMPLES - len(wave) + 1))
        wave = np.pad(wave, (before, EXAMPLE_SAMPLES - len(wave) - before))
    hop = EXAMPLE_SAMPLES if len(wave) > 4 * EXAMPLE_SAMPLES else EXAMPLE_SAMPLES // 2
    starts = np.arange(0, len(wave) - EXAMPLE_SAMPLES + 1, hop)
    loudness = np.array([root_mean_square(wave[s : s + EXAMPLE_SAMPLES]) for s in starts])
    loud = starts[loudness > max(loudness.max() * 10 ** (-QUIETEST / 20), 1e-6)]
    rng.shuffle(loud)
    pieces = [np.clip(wave[s : s + EXAMPLE_SAMPLES], -1, 1) for s in loud[:MOST_OF_A_RECORDING]]
    return [SoundSecond(recording.kind, recording.source, (piece * 32767).astype(np.int16)) for piece in pieces]


def as_recorded(second: SoundSecond) -> np.ndarray:
    """At its own loudness, within what recordings have."""
    wave = second.wave
    return wave if second.kind == NO_SOUND else at_level(wave, float(np.clip(decibels(wave), -40, -8)))


def changed(
    second: SoundSecond, others: Sequence[SoundSecond], rng: np.random.Generator
) -> tuple[np.ndarray, set[str]]:
    """A second as another microphone in another place may hear it, with noise and perhaps another source beside it.

    others: where those come from; of its own fold alone, so that no head meets a source that it is to be judged on.
    Returns the samples and the kinds that are to be heard in them.
    """
    kinds, quiet = {second.kind}, second.kind == NO_SOUND
    wave = np.roll(second.wave, rng.integers(EXAMPLE_SAMPLES)) if rng.random() < 0.5 else second.wave
    wave = in_pieces(wave, rng) if rng.random() < IN_PIECES else wave
    wave = at_level(in_a_place(wave, rng), 0.0)
    if rng.random() < 0.3 and not quiet:
        beside = _another(others, rng, lambda other: other.fold == second.fold)
        if beside and beside.kind != NO_SOUND:
            wave = wave + at_level(in_a_place(beside.wave, rng), rng.uniform(-9, 6))
            kinds.add(beside.kind)
    if rng.random() < 0.6:
        noise = _another(others, rng, lambda other: other.kind == NO_SOUND and other.fold == second.fold)
        wave = wave + at_level(in_a_place(noise.wave, rng), rng.uniform(-30, -6)) if noise else wave
    if rng.random() < 0.4:
        wave = wave + rng.standard_normal(EXAMPLE_SAMPLES) * 10 ** (rng.uniform(-50, -15) / 20)
    level = min(-6.0, max(-80.0 if quiet else -45.0, rng.normal(-22, 7)))
    if quiet and rng.random() < 0.3:
        level = rng.uniform(-75, -35)
    if not quiet and rng.random() < 0.03:
        level, kinds = rng.uniform(*INAUDIBLE), {NO_SOUND}
    return np.clip(at_level(wave, level), -1, 1).astype(np.float32), kinds


def _another(
    others: Sequence[SoundSecond], rng: np.random.Generator, fits: Callable[[SoundSecond], bool]
) -> SoundSecond | None:
    """One of those that fit, if one is found soon."""
    return next((others[index] for index in rng.integers(len(others), size=TRIES) if fits(others[index])), None)


def in_pieces(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two to four pieces of it, from where it is loud, a twentieth to a fifth of it each, again and again.

    Of a short sound, what was cut or composed may have no more.
    """
    power = wave.astype(np.float64) ** 2 + 1e-12
    middles = rng.choice(len(wave), rng.integers(2, 5), p=power / power.sum())
    return np.resize(np.concatenate([faded(_around(middle, wave, rng)) for middle in middles]), len(wave))


def _around(middle: int, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = int(len(wave) * rng.uniform(0.05, 0.2))
    start = min(max(0, middle - length // 2), len(wave) - length)
    return wave[start : start + length]


def faded(piece: np.ndarray) -> np.ndarray:
    """The piece with 5 ms fades at both ends, so that joins do not click."""
    fade = np.minimum(1, np.arange(1, len(piece) + 1) / (0.005 * SAMPLE_RATE))
    return piece * fade * fade[::-1]


def in_a_place(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Limits of a microphone, a resonance, the echoes of a room, another speed: each now and then."""
    from scipy import signal  # of the extra train: only who trains needs it

    if rng.random() < 0.2:
        highest = rng.choice([3400, 4000, 5500, 7000])
        wave = np.asarray(signal.sosfilt(signal.butter(4, highest, "low", fs=SAMPLE_RATE, output="sos"), wave))
    if rng.random() < 0.3:
        lowest = rng.uniform(80, 500)
        wave = np.asarray(signal.sosfilt(signal.butter(2, lowest, "high", fs=SAMPLE_RATE, output="sos"), wave))
    if rng.random() < 0.35:
        # at most 4 kHz: a band as wide as the spectrum makes no stable filter
        peak = signal.iirpeak(rng.uniform(200, 4000), rng.uniform(0.7, 3), fs=SAMPLE_RATE)
        wave = wave + rng.uniform(-0.6, 1.5) * np.asarray(signal.lfilter(*peak, wave))
    if rng.random() < 0.45:
        wave = wave + rng.uniform(0.2, 1.2) * _echo(wave, rng)
    if rng.random() < 0.2:
        speed = rng.uniform(0.85, 1.18)
        wave = np.interp(np.arange(len(wave)) * speed % len(wave), np.arange(len(wave)), wave)
    return wave


def _echo(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a room gives back, as loud as the sound itself."""
    from scipy import signal

    length = int(SAMPLE_RATE * rng.uniform(0.1, 0.9))
    fading = np.exp(-np.arange(length) / (SAMPLE_RATE * rng.uniform(0.03, 0.25)))
    echo = signal.fftconvolve(wave, rng.standard_normal(length) * fading)[: len(wave)]
    return echo * (root_mean_square(wave) / (root_mean_square(echo) + 1e-9))


def at_level(wave: np.ndarray, level: float) -> np.ndarray:
    """The same at ``level`` dB below full."""
    return wave * (10 ** (level / 20) / (root_mean_square(wave) + 1e-9))


def decibels(wave: np.ndarray) -> float:
    return float(20 * np.log10(root_mean_square(wave) + 1e-9))


def root_mean_square(wave: np.ndarray) -> float:
    return float(np.sqrt((wave.astype(np.float64) ** 2).mean()))
