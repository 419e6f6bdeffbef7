"""What a clip sounds like: who sounds in which second, and the 5 s waveform that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from avseg_cli.synth.library import Media, SoundStretch, sound_record
from avseg_cli.synth.sound_files import SAMPLE_RATE

SECONDS = 5
_AUDIBLE_UNDER_LOUDEST = 0.12  # −18 dB: quieter than this beside a louder source, nobody would point at it
_AUDIBLE_OVER_AMBIENCE = 0.5  # −6 dB against the background of the same second
_AUDIBLE = 0.003  # RMS, absolute

ENTIRELY_SILENT = 0.05
OFF_SCREEN = 0.08
NO_AMBIENCE = 0.2


@dataclass(frozen=True)
class SoundSource:
    """One thing that sounds: its category, the seconds it sounds in, and what was played.

    sounding: bool (5,). on_screen: False for a sound whose object is not in the picture.
    """

    category: str
    on_screen: bool
    sounding: np.ndarray
    recording: str
    speed: float
    gain_db: float


def make_schedule(visible: int, rng: np.random.Generator, steady: bool = False) -> np.ndarray:
    """Which visible object should sound in which second: bool (visible, 5).

    steady: one source all along (S4); otherwise sources start, stop, swap, overlap and fall silent (MS3).
    """
    plan = np.zeros((visible, SECONDS), dtype=bool)
    if steady:
        plan[0] = True
        return plan
    if rng.random() < ENTIRELY_SILENT:
        return plan
    active = min(visible, int(rng.choice((1, 2, 3), p=(0.4, 0.42, 0.18))))
    pattern = rng.choice(("all", "window", "swap", "random"), p=(0.32, 0.16, 0.38, 0.14))
    if pattern == "all":
        plan[:active] = True
    elif pattern == "window":
        for row in plan[:active]:
            length = int(rng.integers(3, 5))
            start = int(rng.integers(0, SECONDS - length + 1))
            row[start : start + length] = True
    elif pattern == "swap":
        _swap(plan[:active], rng)
    else:
        plan[:active] = rng.random((active, SECONDS)) < 0.65
    if rng.random() < 0.1:
        plan[:, int(rng.integers(SECONDS))] = False
    return plan


def _swap(plan: np.ndarray, rng: np.random.Generator) -> None:
    """Sources take turns, with a pause between some turns."""
    turns = int(rng.integers(2, 4))
    cuts = np.sort(rng.choice(np.arange(1, SECONDS), size=turns - 1, replace=False))
    first = int(rng.integers(len(plan)))
    for turn, seconds in enumerate(np.split(np.arange(SECONDS), cuts)):
        pauses = turn % 2 == 1 if len(plan) == 1 else rng.random() < 0.1
        if not pauses:
            plan[(first + turn) % len(plan), seconds] = True


def make_waveform(
    media: Media,
    categories: list[str],
    plan: np.ndarray,
    rng: np.random.Generator,
    off_screen: str | None = None,
) -> tuple[np.ndarray, list[SoundSource], dict[str, object]]:
    """Mix the clip's sound.

    categories: of the visible objects, in the order of the plan's rows. off_screen: a category that is heard
    in some of the seconds but not seen. Returns float32 (80000,) in [-1, 1], the sources with the seconds in
    which they are really audible, and the parameters of the background sound.
    """
    rows = [(category, True, row) for category, row in zip(categories, plan, strict=True) if row.any()]
    if off_screen is not None:
        rows.append((off_screen, False, rng.random(SECONDS) < 0.5))
    tracks, sources = [], []
    for category, on_screen, row in rows:
        sound = media.sounds[category][rng.integers(len(media.sounds[category]))]
        speed = float(2 ** (rng.normal(0, 1.2 if len(sound.waveform) > SAMPLE_RATE else 0.8) / 12))
        gain_db = float(rng.uniform(-9, 4))
        track = _play(sound, row, speed, rng) * 10 ** (gain_db / 20)
        tracks.append(_coloured(track, rng))
        sources.append(
            SoundSource(category, on_screen, row.copy(), sound_record(sound), round(speed, 4), round(gain_db, 2))
        )
    ambience, parameters = _ambience(media, rng)
    audible = _audible(tracks, [source.sounding for source in sources], ambience)
    mix = ambience
    for source, track, seconds in zip(sources, tracks, audible, strict=True):
        source.sounding[:] = seconds
        mix = mix + track * _envelope(seconds, rng)
    if tracks and rng.random() < 0.25:
        mix = _room(mix, rng)
    peak = float(np.abs(mix).max())
    gain = 10 ** (rng.uniform(-8, 3) / 20)
    if peak * gain > 0.95:
        gain = 0.95 / peak
    parameters["gain_db"] = round(20 * float(np.log10(gain)), 2)
    return (mix * gain).astype(np.float32), sources, parameters


def _play(sound: SoundStretch, seconds: np.ndarray, speed: float, rng: np.random.Generator) -> np.ndarray:
    """The recording from random starts, again and again, for each run of seconds; float32 (80000,)."""
    track = np.zeros(SECONDS * SAMPLE_RATE, dtype=np.float32)
    material = _resampled(sound.waveform, speed)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], seconds.astype(int), [0]))))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        # at the run's ends the recording goes on a little: the envelope fades it out
        low = max(0, int((start - 0.1) * SAMPLE_RATE))
        high = min(len(track), int((stop + 0.1) * SAMPLE_RATE))
        track[low:high] = max((_tiled(material, high - low, rng) for _ in range(3)), key=lambda part: _quietest(part))
    return track


def _quietest(part: np.ndarray) -> float:
    whole = len(part) // 2000 * 2000
    return float(np.sqrt((part[:whole].reshape(-1, 2000) ** 2).mean(axis=1)).min())


def _tiled(material: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Random stretches of the material, end to end with short gaps and 5 ms fades, (length,)."""
    out = np.zeros(length, dtype=np.float32)
    fade = np.linspace(0, 1, 80, dtype=np.float32)
    position = 0
    while position < length:
        start = int(rng.integers(0, max(1, len(material) - SAMPLE_RATE)))
        piece = material[start : start + length - position].copy()
        if len(piece) > 200:
            piece[:80] *= fade
            piece[-80:] *= fade[::-1]
        out[position : position + len(piece)] = piece
        position += len(piece) + int(rng.exponential(0.08) * SAMPLE_RATE) * (len(material) < 3 * SAMPLE_RATE)
    return out


def _resampled(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play faster or slower: pitch and time change together, and nothing above half the rate folds back."""
    return librosa.resample(waveform, orig_sr=SAMPLE_RATE * speed, target_sr=SAMPLE_RATE)


def _coloured(track: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random microphone: sometimes a high-pass, a low-pass, or a tilt."""
    kind = rng.random()
    if kind < 0.2:
        return np.asarray(sosfilt(butter(1, rng.uniform(100, 500), "highpass", fs=SAMPLE_RATE, output="sos"), track))
    if kind < 0.45:
        return np.asarray(sosfilt(butter(1, rng.uniform(2000, 6000), "lowpass", fs=SAMPLE_RATE, output="sos"), track))
    return track


def _ambience(media: Media, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, object]]:
    """Background sound at a random level: noise of a random colour, a recording or music, or nothing."""
    length = SECONDS * SAMPLE_RATE
    if rng.random() < NO_AMBIENCE:
        return np.zeros(length), {"ambience": None}
    level_db = float(rng.uniform(-52, -30))
    if media.ambience and rng.random() < 0.45:
        sound = media.ambience[rng.integers(len(media.ambience))]
        bed, name = _tiled(sound.waveform, length, rng), sound_record(sound)
    else:
        slope = float(rng.uniform(0, 2))
        spectrum = np.fft.rfft(rng.standard_normal(length))
        frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20)
        bed, name = np.fft.irfft(spectrum * frequency ** (-slope / 2), length), f"noise 1/f^{slope:.2f}"
    bed = bed * (10 ** (level_db / 20) / max(float(np.sqrt(np.mean(bed**2))), 1e-9))
    return bed, {"ambience": name, "ambience_db": round(level_db, 2)}


def _audible(tracks: list[np.ndarray], wanted: list[np.ndarray], ambience: np.ndarray) -> list[np.ndarray]:
    """The seconds in which each scheduled source can really be heard: loudness gates the label."""
    if not tracks:
        return []
    loud = np.stack([_rms_by_second(track) for track in tracks]) * np.stack(wanted)
    floor = np.maximum(_AUDIBLE_UNDER_LOUDEST * loud.max(axis=0), _AUDIBLE_OVER_AMBIENCE * _rms_by_second(ambience))
    return list(loud > np.maximum(floor, _AUDIBLE))


def _rms_by_second(track: np.ndarray) -> np.ndarray:
    return np.sqrt((track.reshape(SECONDS, SAMPLE_RATE) ** 2).mean(axis=1))


def _envelope(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1 in the given seconds and 0 elsewhere, with changes at whole seconds ±40 ms and fades of 10–50 ms."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], seconds.astype(int), [0]))))
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    envelope = np.zeros_like(time)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        jitter = rng.uniform(-0.04, 0.04, size=2)
        fades = rng.uniform(0.01, 0.05, size=2)
        rise = (time - start - jitter[0]) / fades[0] if start > 0 else np.ones_like(time)
        fall = (stop + jitter[1] - time) / fades[1] if stop < SECONDS else np.ones_like(time)
        envelope = np.maximum(envelope, np.clip(np.minimum(rise, fall), 0, 1))
    return envelope


def _room(mix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A short reverberation; its tail stays under the audible within the next second."""
    decay = rng.uniform(0.02, 0.07)
    length = int(5 * decay * SAMPLE_RATE)
    tail = rng.standard_normal(length) * np.exp(-np.arange(length) / (decay * SAMPLE_RATE))
    tail *= rng.uniform(0.15, 0.5) / np.linalg.norm(tail)
    tail[0] += 1.0
    return fftconvolve(mix, tail)[: len(mix)]
