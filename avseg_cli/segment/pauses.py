"""Pauses: seconds that are quiet beside what sounds around them, in which nothing is marked.

A clip's masks look at its other seconds too: a dog that barked and will bark again stays marked between the barks.
"""

from __future__ import annotations

from collections.abc import Sequence

QUIET = -40.0  # dB of full scale, root mean square
BELOW = 30.0  # dB below the loudest second of its clip
FAINT = 20.0  # likewise: too little for a name where the model marks nothing, as when a string dies away


def pauses(levels: Sequence[float], below: float = BELOW) -> list[bool]:
    """For each second of a clip, whether it is a pause, by its loudness in dB of full scale."""
    limit = min(QUIET, max(levels) - below)
    return [level < limit for level in levels]
