"""Seeded little melodies as MIDI, rendered with a General MIDI sound font by fluidsynth."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from avseg_cli.base.errors import DataError
from avseg_cli.synth.media_table import Instrument
from avseg_cli.synth.sound_files import SAMPLE_RATE, decode_sound

_TICKS_PER_SECOND = 1000  # division 500 at 120 beats a minute
_PLAYED_SECONDS = 6.0
_SLOT_SECONDS = 8.0  # the rest of a slot lets the last note ring and die

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10))


def render_instrument(
    instrument: Instrument, soundfont: Path, count: int, rng: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """Render ``count`` different melodies: the program of each (0: percussion), and float32 mono at 16 kHz, about 6 s.

    All melodies go through one run of fluidsynth, one after another: loading the sound font takes longest.
    Raises DataError when fluidsynth is not installed or fails.
    """
    events: list[tuple[float, bytes]] = []
    programs = []
    for slot in range(count):
        programs.append(0 if instrument.percussion else int(rng.choice(instrument.programs)))
        events += _performance(instrument, programs[-1], slot * _SLOT_SECONDS, rng)
    sound = _run_fluidsynth(_midi_file(events), soundfont)
    starts = [int(slot * _SLOT_SECONDS * SAMPLE_RATE) for slot in range(count)]
    melodies = [sound[start : start + int((_PLAYED_SECONDS + 0.5) * SAMPLE_RATE)] for start in starts]
    return list(zip(programs, melodies, strict=True))


def _performance(
    instrument: Instrument, program: int, start: float, rng: np.random.Generator
) -> list[tuple[float, bytes]]:
    if instrument.percussion:
        return _beat(instrument, start, rng)
    low, high = instrument.keys
    scale = _SCALES[rng.integers(len(_SCALES))]
    tonic = int(rng.integers(low, high - 7))
    ladder = [tonic + 12 * octave + step for octave in range(4) for step in scale]
    ladder = [note for note in ladder if note <= high]
    position = int(rng.integers(len(ladder)))
    tempo = rng.uniform(0.12, 0.7)
    events = [(start, bytes((0xC0, program)))]
    time = start + 0.02
    while time < start + _PLAYED_SECONDS:
        length = tempo * rng.choice((0.5, 1.0, 1.0, 2.0))
        position = int(np.clip(position + rng.integers(-3, 4), 0, len(ladder) - 1))
        chord = [ladder[position]]
        if not instrument.sustained and rng.random() < 0.3:
            chord += [note for note in (chord[0] + 4, chord[0] + 7) if note <= high]
        velocity = int(rng.integers(60, 122))
        end = min(time + length * rng.uniform(0.8, 1.1), start + _PLAYED_SECONDS + 0.4)
        for note in chord:
            events += [(time, bytes((0x90, note, velocity))), (end, bytes((0x80, note, 0)))]
        time += length
    return events


def _beat(instrument: Instrument, start: float, rng: np.random.Generator) -> list[tuple[float, bytes]]:
    """A looped bar of a few of the kit's voices, or a roll on one of them."""
    voices = rng.choice(instrument.percussion, size=min(len(instrument.percussion), int(rng.integers(1, 5))))
    step = rng.uniform(0.09, 0.28)
    bar = rng.random((8, len(voices))) < rng.uniform(0.2, 0.5)
    bar[0, 0] = bar[4, -1] = True
    events = []
    for index in range(int(_PLAYED_SECONDS / step)):
        time = start + 0.02 + index * step
        for voice, plays in zip(voices, bar[index % 8], strict=True):
            if plays:
                velocity = int(rng.integers(60, 125))
                events += [
                    (time, bytes((0x99, voice, velocity))),
                    (time + 0.9 * step, bytes((0x89, voice, 0))),
                ]
    return events


def _midi_file(events: list[tuple[float, bytes]]) -> bytes:
    """A format-0 Standard MIDI File; events are (seconds, message)."""
    track = bytearray()
    now = 0
    # note-offs sort before note-ons of the same moment, so that a repeated note sounds again
    for time, message in sorted(events, key=lambda event: (round(event[0] * _TICKS_PER_SECOND), event[1][0])):
        tick = round(time * _TICKS_PER_SECOND)
        track += _variable_length(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS_PER_SECOND // 2)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + bytes(track)


def _variable_length(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def _run_fluidsynth(midi: bytes, soundfont: Path) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        score, rendered = Path(folder, "score.mid"), Path(folder, "rendered.wav")
        score.write_bytes(midi)
        command = [
            "fluidsynth",
            "-ni",
            "-q",
            "-R",
            "0",
            "-C",
            "0",
            "-g",
            "0.6",
            "-r",
            "32000",
            "-F",
            str(rendered),
        ]
        try:
            subprocess.run([*command, str(soundfont), str(score)], check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise DataError("fluidsynth is not installed; install it to render instruments") from error
        except subprocess.CalledProcessError as error:
            raise DataError(f"fluidsynth failed: {error.stderr.strip()[-300:]}; check {soundfont}") from error
        return decode_sound(rendered)
