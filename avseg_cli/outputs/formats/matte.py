"""A greyscale video, white where it sounds, for an editor's track matte (H.264, or ProRes with -o FILE.mov)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.media.codecs import MATTE_H264, PRORES_422, Codec
from avseg_cli.media.video import BT709, UNSPECIFIED, Picture, Pictures, Video, even
from avseg_cli.outputs.drawing import blank, plane_array
from avseg_cli.outputs.formats import MOVIES, Format
from avseg_cli.outputs.soft_mask import SoftMask
from avseg_cli.outputs.writers import Job, MovieWriter

SUFFIX = ".avseg.matte.mp4"


class MatteWriter(MovieWriter):
    """A picture of grey for each of the video's, at its time; without sound, which the video itself has.

    Black and white are those of the limited range, 16 and 235 of 255, and tagged so: that is what editors make 0 and
    100 %, and what is left of a matte whose tag of the full range they overlook would be grey.
    """

    codecs: tuple[Codec, ...]
    timecoded = True

    def __init__(self, path: Path, job: Job) -> None:
        deep = path.suffix.lower() == ".mov"
        self.codecs = PRORES_422 if deep else MATTE_H264
        self.dtype, ground, top, self.grey = (np.uint16, 64, 876, 512) if deep else (np.uint8, 16, 219, 128)
        self.mask = SoftMask(job, (even(job.video.height), even(job.video.width)), top, ground)
        super().__init__(path, replace(job, video=_grey(job.video)))

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        video = self.job.video
        frame = blank(video, even(video.width), picture.pts, self.codecs[0].pixel_format)
        for index in (1, 2):
            plane_array(frame, index, self.dtype)[...] = self.grey
        plane_array(frame, 0, self.dtype)[...] = self.mask.of(logits)
        return frame


def _grey(video: Video) -> Pictures:
    """The video as a matte is tagged: as its source, so that an editor treats both alike; BT.709 without tags."""
    tags = {
        name: BT709 if getattr(video, name) in (0, UNSPECIFIED) else getattr(video, name)
        for name in ("matrix", "primaries", "transfer")
    }
    return replace(video.pictures, **tags, full_range=False)


FORMAT = Format(writer=MatteWriter, suffix=SUFFIX, files=MOVIES)
