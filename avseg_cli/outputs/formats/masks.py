"""A folder of PNGs of 0 and 255."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.palette import colour
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.sidecar import Sidecar
from avseg_cli.outputs.writers import Job, Writer

SUFFIX = ".avseg.masks"
MOST = 255  # sources that the values of an 8-bit PNG tell apart


class MasksWriter(Writer):
    """A folder of PNGs, 0 and 255, one for each mask, named by number and time; masks.json says what made them.

    With the job's sources "split" a folder for each source, which has the masks in which it sounds; with "index" the
    values are the sources' numbers, in 16 bits where one is above 255.
    """

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self.partial.mkdir(parents=True)
        self._sidecar = Sidecar(self.partial / "masks.json", job)

    def take(self, result: MaskResult) -> None:
        name = mask_name(result)
        self._sidecar.add_frame(name, result.time)
        if self.job.sources == "index":
            numbered(result).save(self.partial / name, compress_level=1)
        elif self.job.sources == "split":
            for source in result.sources:
                folder = self.partial / f"source-{source.id:03d}"
                folder.mkdir(exist_ok=True)
                _binary(source.mask).save(folder / name, compress_level=1)
        else:
            _binary(result.mask).save(self.partial / name, compress_level=1)

    def finish(self, summary: dict[str, Any]) -> None:
        self._sidecar.finish(summary)

    def abort(self) -> None:
        self._sidecar.close()
        super().abort()


def _binary(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255, "L")


def numbered(result: MaskResult) -> Image.Image:
    """The numbers of the sources, in the overlay's colours for those that look at the picture."""
    numbers = np.zeros(result.size, np.uint16)
    for source in result.sources:
        numbers[source.mask] = source.id
    if max((source.id for source in result.sources), default=0) > MOST:
        return Image.fromarray(numbers)
    image = Image.fromarray(numbers.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, *(value for number in range(1, MOST + 1) for value in colour(number))])
    return image


def mask_name(result: MaskResult) -> str:
    """000003_00-00-03.933.png: the number of the mask, then hours, minutes, seconds of its frame."""
    milliseconds = round(max(0.0, result.time) * 1000)
    minutes, seconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{result.index:06d}_{hours:02d}-{minutes:02d}-{seconds // 1000:02d}.{seconds % 1000:03d}.png"


FORMAT = Format(writer=MasksWriter, suffix=SUFFIX, several=True)
