"""A folder of PNGs of 0 and 255."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.writers import Job, Writer

SUFFIX = ".avseg.masks"


class MasksWriter(Writer):
    """A folder of PNGs, 0 and 255, one for each mask, named by number and time."""

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self.partial.mkdir(parents=True)

    def take(self, result: MaskResult) -> None:
        pixels = result.mask.astype(np.uint8) * 255
        Image.fromarray(pixels, "L").save(self.partial / mask_name(result), compress_level=1)


def mask_name(result: MaskResult) -> str:
    """000003_00-00-03.933.png: the number of the mask, then hours, minutes, seconds of its frame."""
    milliseconds = round(max(0.0, result.time) * 1000)
    minutes, seconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{result.index:06d}_{hours:02d}-{minutes:02d}-{seconds // 1000:02d}.{seconds % 1000:03d}.png"


FORMAT = Format(writer=MasksWriter, suffix=SUFFIX, several=True)
