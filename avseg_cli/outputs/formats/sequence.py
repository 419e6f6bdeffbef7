"""A folder of the matte as PNGs, one a frame, numbered without a gap; their times in a JSON file beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from avseg_cli.media.container import tick_of
from avseg_cli.media.video import Picture
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.sidecar import Sidecar
from avseg_cli.outputs.soft_mask import SoftMask
from avseg_cli.outputs.writers import Job, Writer

SUFFIX = ".avseg.sequence"


class SequenceWriter(Writer):
    """A PNG of 0 to 255 for each frame of the video, NAME.000000.png and on, and NAME.json, which has their times."""

    draws = True

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self.name = path.name.removesuffix(SUFFIX)
        self.mask = SoftMask(job, job.video.size, 255)
        self.partial.mkdir(parents=True)
        self._sidecar = Sidecar(self.partial / f"{self.name}.json", job)

    def draw(self, picture: Picture, logits: np.ndarray, numbers: np.ndarray) -> VideoFrame:
        frame = VideoFrame.from_ndarray(self.mask.of(logits), format="gray")
        frame.pts, frame.time_base = picture.pts, picture.video.time_base
        return frame

    def write(self, frame: VideoFrame) -> None:
        file = f"{self.name}.{self._sidecar.count:06d}.png"
        Image.fromarray(frame.to_ndarray()).save(self.partial / file, compress_level=1)
        self._sidecar.add_frame(file, float((frame.pts or 0) * tick_of(frame)))

    def finish(self, summary: dict[str, Any]) -> None:
        self._sidecar.finish(summary)

    def abort(self) -> None:
        self._sidecar.close()
        super().abort()


FORMAT = Format(writer=SequenceWriter, suffix=SUFFIX, several=True)
