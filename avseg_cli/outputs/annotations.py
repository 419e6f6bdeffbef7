"""Documents of annotation tools: every source of every mask, under the name that is known at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.rle import encode_rle
from avseg_cli.outputs.writers import Job, Writer

UNKNOWN = "unknown"  # the category of sources that the model has no name for


class AnnotationsWriter(Writer):
    """Keeps the sources of a video in a file without a name until the end, when their names are settled.

    What stays in memory is a few numbers for each mask and source.
    """

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        kinds = job.about["model"]["config"]["seen_kinds"]
        self._numbers = {name: number for number, name in enumerate((UNKNOWN, *kinds), start=1)}
        self.images: list[dict[str, Any]] = []
        self.places: dict[int, list[tuple[int, int]]] = {}  # source -> (number of the mask, place in the file)
        self._labels: dict[int, str | None] = {}
        self._kept = TemporaryFile("w+b", dir=path.parent)  # noqa: SIM115  closed by finish or abort

    def take(self, result: MaskResult) -> None:
        height, width = result.size
        name = f"{self.job.video.path.stem}/{result.index:06d}.jpg"
        image = {"id": len(self.images) + 1, "width": width, "height": height, "file_name": name}
        self.images.append({**image, "time": round(result.time, 6)})
        for source in result.sources:
            places = self.places.setdefault(source.id, [])
            places.append((image["id"], self._kept.tell()))
            entry = {
                "track_id": source.id, "image_id": image["id"], "segmentation": encode_rle(source.mask),
                "area": source.area, "bbox": list(source.bbox), "score": round(source.confidence, 4),
            }  # fmt: skip
            self._kept.write(json.dumps(entry).encode() + b"\n")

    def finish(self, summary: dict[str, Any]) -> None:
        self._labels = {track["id"]: track["label"] for track in summary.get("tracks", ())}
        info = {"description": f"what sounds in {self.job.video.path.name}", **self.job.about}
        with open(self.partial, "w", encoding="utf-8") as file:
            file.write(json.dumps({"info": info, "licenses": [], "categories": self._categories()}, indent=1)[:-2])
            self.write_document(file)
            file.write("\n}\n")
        self._kept.close()

    def write_document(self, file: IO[str]) -> None:
        """Append the fields of the format to an object that has fields already."""
        raise NotImplementedError

    def category(self, source: int) -> int:
        """The number of a source's category."""
        return self._numbers.get(self._labels.get(source) or UNKNOWN, self._numbers[UNKNOWN])

    def entries(self) -> Iterator[dict[str, Any]]:
        """All that was kept, in order of time."""
        self._kept.seek(0)
        return map(json.loads, self._kept)

    def entry(self, place: int) -> dict[str, Any]:
        """What is kept at one place."""
        self._kept.seek(place)
        return json.loads(self._kept.readline())

    def _categories(self) -> list[dict[str, Any]]:
        return [{"id": number, "name": name, "supercategory": "sound"} for name, number in self._numbers.items()]

    def abort(self) -> None:
        with suppress(OSError):  # a full disk does not take the last bytes either
            self._kept.close()
        super().abort()


def write_list(file: IO[str], name: str, items: Iterator[Any]) -> None:
    """One more field of an object: a list, an item a line, never held whole."""
    file.write(f',\n "{name}": [')
    for place, item in enumerate(items):
        file.write(("\n  " if place == 0 else ",\n  ") + json.dumps(item))
    file.write("\n ]")
