"""YouTube-VIS: an annotation for each source, with its masks over the whole video."""

from __future__ import annotations

import json
from itertools import chain
from typing import IO, Any

from avseg_cli.outputs.annotations import AnnotationsWriter, write_list
from avseg_cli.outputs.formats import Format

SUFFIX = ".avseg.youtube-vis.json"


class YoutubeVisWriter(AnnotationsWriter):
    """A document in the layout of YouTube-VIS: one video, a track for each source, null where it does not sound."""

    def write_document(self, file: IO[str]) -> None:
        video = {"id": 1, **self._size(), "length": len(self.images)}
        names = {"file_names": [image["file_name"] for image in self.images]}
        times = {"times": [image["time"] for image in self.images]}
        write_list(file, "videos", iter([{**video, **names, **times}]))
        file.write(',\n "annotations": [')
        for place, source in enumerate(sorted(self.places)):
            file.write(",\n  " if place else "\n  ")
            self._write_track(file, source)
        file.write("\n ]")

    def _size(self) -> dict[str, int]:
        return {name: self.images[0][name] for name in ("width", "height")}

    def _write_track(self, file: IO[str], source: int) -> None:
        """One source: its run lengths are copied mask by mask, as a long video has many."""
        head = {"id": source, "video_id": 1, "category_id": self.category(source), "iscrowd": 0, "length": 1}
        head |= self._size()
        file.write(json.dumps(head)[:-1] + ', "segmentations": [')
        boxes: list[Any] = [None] * len(self.images)
        areas: list[Any] = [None] * len(self.images)
        written = 0
        for number, place in self.places[source]:
            entry = self.entry(place)
            boxes[number - 1], areas[number - 1] = entry["bbox"], entry["area"]
            missing = ("null" for _ in range(number - 1 - written))
            file.write((", " if written else "") + ", ".join(chain(missing, [json.dumps(entry["segmentation"])])))
            written = number
        file.write(", null" * (len(self.images) - written))
        file.write(f'], "bboxes": {json.dumps(boxes)}, "areas": {json.dumps(areas)}}}')


FORMAT = Format(writer=YoutubeVisWriter, suffix=SUFFIX, files=(".json",))
