"""What was heard in a second, with its name: kinds of sounds and their probabilities, told in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avseg_cli.model.kinds import NO_SOUND

Heard = tuple[tuple[str, float], ...]  # kinds with their probabilities, the strongest first

FLOOR = 0.02  # probability below which a kind is not listed
KNOWN = 0.3  # probability from which a kind is named; a sound of which none reaches it is unknown
SILENT = -60.0  # dB of full scale, root mean square, below which a second is silence
NOTHING = "nothing"  # the name of what is heard in silence


def listed(kinds: Sequence[str], probabilities: Sequence[float]) -> Heard:
    """The kinds above ``FLOOR``, the strongest first; the strongest always, so that only no kinds give none."""
    pairs = sorted(zip(kinds, probabilities, strict=True), key=lambda pair: -pair[1])
    return tuple(pair for place, pair in enumerate(pairs) if place == 0 or pair[1] >= FLOOR)


def loudness(wave: np.ndarray) -> float:
    """The root mean square of samples in [-1, 1], in dB of full scale; -120 at least."""
    return max(-120.0, float(10 * np.log10(np.square(wave, dtype=np.float64).mean() + 1e-12)))


def known(heard: Heard, level: float) -> Heard:
    """The kinds that can be named; none in silence, ``level`` dB, or where no thing is heard."""
    if not heard or level < SILENT or heard[0][0] == NO_SOUND:
        return ()
    return tuple((kind, sure) for kind, sure in heard if sure >= KNOWN and kind != NO_SOUND)


def called(heard: Heard, level: float) -> str:
    """The strongest kind's name, "unknown sound" or "nothing"; "" where the model names no kinds."""
    if not heard:
        return ""
    named = known(heard, level)
    if named:
        return in_plain(named[0][0])
    nothing = level < SILENT or (heard[0][0] == NO_SOUND and heard[0][1] >= KNOWN)
    return NOTHING if nothing else "unknown sound"


def in_words(heard: Heard, level: float, most: int = 1) -> str:
    """As ``called``, with probabilities and ``most`` kinds at most: "dog 0.93, siren 0.41"."""
    named = [f"{in_plain(kind)} {sure:.2f}" for kind, sure in known(heard, level)[:most]]
    return ", ".join(named) or called(heard, level)


def in_plain(kind: str) -> str:
    """A kind's name as people write it."""
    return kind.replace("_", " ")
