"""The original and the overlay beside each other, in one video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.media.video import Picture
from avseg_cli.outputs.drawing import Highlighter, blank, plane_array, upright
from avseg_cli.outputs.formats import MOVIES, Format
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.snapshots import fitted
from avseg_cli.outputs.writers import Job, MovieWriter

SUFFIX = ".avseg.side-by-side.mp4"
FLAG = True


class SideBySideWriter(MovieWriter):
    """A video twice as wide: the original on the left, the overlay on the right, the original sound."""

    box = (1920, 2160)  # pixels each half fits into: players of H.264 in hardware stop at 4096 across

    def __init__(self, path: Path, job: Job) -> None:
        self.half = fitted(job.video, *self.box)
        self.highlighter = Highlighter(self.half, job.low_res, job.image_size, job.threshold, job.style)
        super().__init__(path, replace(job, video=replace(self.half, width=2 * self.half.width)))

    def take(self, result: MaskResult) -> None:
        self.highlighter.learn(result.tracked)

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        frame = upright(replace(picture, video=self.half))
        planes = [plane_array(frame, index) for index in range(3)]
        both = blank(self.half, 2 * self.half.width, picture.pts)
        halves = [np.split(plane_array(both, index), 2, axis=1) for index in range(3)]
        for (left, _), plane in zip(halves, planes, strict=True):
            left[...] = plane
        self.highlighter.draw(planes, logits, numbers)
        for (_, right), plane in zip(halves, planes, strict=True):
            right[...] = plane
        return both


FORMAT = Format(writer=SideBySideWriter, suffix=SUFFIX, files=MOVIES, sounds=True)
