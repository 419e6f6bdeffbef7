"""COCO's instances: an annotation for each source of each mask, with the number of its track."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from avseg_cli.outputs.annotations import AnnotationsWriter, write_list
from avseg_cli.outputs.formats import Format

SUFFIX = ".avseg.coco.json"


class CocoWriter(AnnotationsWriter):
    """A document that pycocotools and annotation tools read: images are the masks' frames, run lengths compressed."""

    def write_document(self, file: IO[str]) -> None:
        write_list(file, "images", iter(self.images))
        write_list(file, "annotations", self._annotations())

    def _annotations(self) -> Iterator[dict[str, Any]]:
        for number, entry in enumerate(self.entries(), start=1):
            yield {"id": number, "category_id": self.category(entry["track_id"]), "iscrowd": 0, **entry}


FORMAT = Format(writer=CocoWriter, suffix=SUFFIX, files=(".json",))
