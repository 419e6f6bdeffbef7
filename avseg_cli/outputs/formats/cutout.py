"""What sounds on a transparent ground (straight alpha): ProRes 4444, or VP9 with -o FILE.webm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.media.codecs import PRORES_4444, VP9_ALPHA, Codec
from avseg_cli.media.video import Picture, even
from avseg_cli.outputs.drawing import plane_array, upright
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.soft_mask import SoftMask
from avseg_cli.outputs.writers import Job, MovieWriter

SUFFIX = ".avseg.cutout.mov"
PRORES_MATRIX = {5: 6}  # ProRes knows BT.601 by this number alone, and has none for the full range
SPILL = 16  # pixels around what is seen that keep their colours: encoders mix what lies in one block


class CutoutWriter(MovieWriter):
    """What sounds on a transparent ground, with the original sound: ProRes 4444, which every editor opens, or VP9 in
    WebM, which browsers play. The alpha is straight: colours are the picture's own, not multiplied by it.
    """

    codecs: tuple[Codec, ...]
    timecoded = True

    def __init__(self, path: Path, job: Job) -> None:
        web = path.suffix.lower() == ".webm"
        self.codecs = VP9_ALPHA if web else PRORES_4444
        self.dtype, top, black = (np.uint8, 255, 16) if web else (np.uint16, 1023, 64)
        self.ground = black, (top + 1) // 2, (top + 1) // 2
        self.mask = SoftMask(job, (even(job.video.height), even(job.video.width)), top)
        matrix = job.video.matrix if web else PRORES_MATRIX.get(job.video.matrix, job.video.matrix)
        super().__init__(path, replace(job, video=replace(job.video, matrix=matrix, full_range=False)))

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        frame = upright(picture, self.codecs[0].pixel_format, full_range=False)
        frame.colorspace = self.job.video.matrix  # the encoder writes what each frame says
        opaque = self.mask.of(logits)  # a soft edge, as the overlay's
        seen = (opaque > 0).view(np.uint8)
        hidden = cv2.dilate(seen, np.ones((2 * SPILL + 1, 2 * SPILL + 1), np.uint8)) == 0
        for index, ground in enumerate(self.ground):
            plane = plane_array(frame, index, self.dtype)
            step = len(hidden) // len(plane)
            plane[hidden[::step, ::step]] = ground
        plane_array(frame, 3, self.dtype)[...] = opaque
        return frame


FORMAT = Format(writer=CutoutWriter, suffix=SUFFIX, files=(".mov", ".mkv", ".webm"), sounds=True)
