"""The video with what sounds highlighted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.media.video import Picture
from avseg_cli.outputs.drawing import Highlighter, plane_array, upright
from avseg_cli.outputs.formats import MOVIES, Format
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.writers import Job, MovieWriter

SUFFIX = ".avseg.mp4"


class OverlayWriter(MovieWriter):
    """The video with what sounds highlighted: H.264, the original sound."""

    def __init__(self, path: Path, job: Job) -> None:
        self.highlighter = Highlighter(job.video, job.low_res, job.image_size, job.threshold, job.style)
        super().__init__(path, job)

    def take(self, result: MaskResult) -> None:
        self.highlighter.learn(result.tracked)

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        frame = upright(picture)
        self.highlighter.draw([plane_array(frame, index) for index in range(3)], logits, numbers)
        return frame


FORMAT = Format(writer=OverlayWriter, suffix=SUFFIX, files=MOVIES, sounds=True)
