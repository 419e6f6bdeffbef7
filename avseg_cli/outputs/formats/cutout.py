"""What sounds, as ProRes 4444 with a transparent ground."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.media.codecs import PRORES_4444
from avseg_cli.media.video import Picture, even
from avseg_cli.outputs.drawing import Upsampler, opacity, plane_array, upright
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.writers import Job, MovieWriter

SUFFIX = ".avseg.cutout.mov"
PRORES_MATRIX = {5: 6}  # ProRes knows BT.601 by this number alone, and has none for the full range


class CutoutWriter(MovieWriter):
    """What sounds on a transparent ground: ProRes 4444, which every editor opens, with the original sound."""

    codecs = PRORES_4444

    def __init__(self, path: Path, job: Job) -> None:
        size = even(job.video.height), even(job.video.width)
        self.upsampler = Upsampler(job.low_res, job.image_size, size)
        self.level = np.float32(logit(job.threshold))
        matrix = PRORES_MATRIX.get(job.video.matrix, job.video.matrix)
        super().__init__(path, replace(job, video=replace(job.video, matrix=matrix, full_range=False)))

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        frame = upright(picture, "yuva444p10le", full_range=False)
        frame.colorspace = self.job.video.matrix  # the encoder writes what each frame says
        opaque = opacity(self.upsampler.full(logits - self.level), 1023)  # a soft edge, as the overlay's
        hidden = opaque == 0
        for index, ground in enumerate((64, 512, 512)):  # black
            plane_array(frame, index, np.uint16)[hidden] = ground
        plane_array(frame, 3, np.uint16)[...] = opaque
        return frame


FORMAT = Format(writer=CutoutWriter, suffix=SUFFIX, files=(".mov", ".mkv"))
