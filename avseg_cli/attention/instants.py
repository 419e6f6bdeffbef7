"""What ``avseg attention`` shows of one clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MapRow:
    """One row of maps for the T instants of a clip, all in multiples of an even share: 1 is no preference.

    space (T, g, g): the sound of t over the pixels of its frame. time (T, g, g): at each pixel, the sound of t on
    its own frame among the T. listening (T, g, g): each pixel of frame t on its own sound among the T. The pairs
    (T, T) are means over pixels for every [sound, frame]. None where the model has no such attention.
    """

    label: str
    space: np.ndarray
    time: np.ndarray | None
    listening: np.ndarray | None
    time_pairs: np.ndarray | None
    listening_pairs: np.ndarray | None


@dataclass(frozen=True)
class FrameLook:
    """One of a clip's frames with the second of sound it is seen with; times in seconds from the start of the file."""

    time: float
    end: float  # of the second of sound
    picture: np.ndarray  # uint8 RGB (H, W, 3), no larger than was asked for
    wave: np.ndarray  # (15600,) samples of 16 kHz that the model hears
    logits: np.ndarray  # (4g, 4g) of the clip alone, not averaged with its neighbours

    def inside(self, space: np.ndarray) -> tuple[float, float]:
        """The share of a (g, g) map that lies in the predicted mask, and the share of the picture that the mask is."""
        g = len(space)
        mask = (self.logits > 0).reshape(g, -1, g, self.logits.shape[1] // g).mean((1, 3))
        return float((mask * space).sum() / space.sum()), float(mask.mean())


@dataclass(frozen=True)
class ClipLook:
    """What the model looked at in one clip. Only the last ``new`` instants were not part of the clip before.

    A video shorter than a clip has its last instant repeated in the model's eyes, but not in ``instants``.
    """

    instants: list[FrameLook]
    rows: list[MapRow]
    new: int
