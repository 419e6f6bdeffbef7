"""Smaller pictures of a video, in square pixels: for thumbnails, sheets and videos to look at."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from avseg_cli.media.video import Picture, Pictures
from avseg_cli.outputs.drawing import Highlighter, plane_array, upright
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.writers import Job


def fitted(video: Pictures, width: int, height: int) -> Pictures:
    """The video as it is when scaled down, never up, into ``width`` x ``height`` square pixels; sides are even."""
    shown = float(video.width * video.aspect)
    scale = min(1.0, width / shown, height / video.height)
    across, down = (max(2, 2 * round(side * scale / 2)) for side in (shown, video.height))
    # players guess the matrix of untagged video from its size: it must not change with it
    return replace(video, width=across, height=down, aspect=Fraction(1), matrix=video.guessed_matrix)


class Drawer:
    """Draws overlays at the size of ``video``, a smaller version of the job's."""

    def __init__(self, job: Job, video: Pictures) -> None:
        self.video = video
        self.highlighter = Highlighter(video, job.low_res, job.image_size, job.threshold, job.style)

    def rgb(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The picture with its overlay, a colour for each source, uint8 RGB (H, W, 3)."""
        frame = upright(replace(picture, video=self.video))
        self.highlighter.draw([plane_array(frame, index) for index in range(3)], logits, numbers)
        drawn = replace(picture, frame=frame, video=replace(self.video, rotation=0))
        return drawn.rgb()


@dataclass(frozen=True)
class Snapshot:
    """A mask of the grid and the picture it belongs to, drawn."""

    result: MaskResult
    fraction: float  # of the picture that sounds
    pixels: np.ndarray  # uint8 RGB (H, W, 3)


class Snapshots:
    """Draws the pictures that belong to some of the masks, as they pass by."""

    def __init__(self, job: Job, width: int, height: int) -> None:
        self.video = fitted(job.video, width, height)
        self._drawer = Drawer(job, self.video)
        self._wanted: deque[MaskResult] = deque()

    def want(self, result: MaskResult) -> None:
        """Ask for the picture of a mask, before that picture passes."""
        self._wanted.append(result)

    def look(self, picture: Picture) -> list[Snapshot]:
        """The snapshots of the picture that passes: one of each wanted mask that belongs to it."""
        found = []
        while self._wanted and picture.time >= self._wanted[0].time - 1e-6:
            result = self._wanted.popleft()
            pixels = self._drawer.rgb(picture, result.cleaned, result.territories)
            found.append(Snapshot(result, result.area / result.mask.size, pixels))
        return found
