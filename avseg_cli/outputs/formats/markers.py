"""A table (CSV) of what is heard and seen to sound: start, end, duration, timecode, name."""

from __future__ import annotations

import csv
from typing import Any

from avseg_cli.media.timecode import Timecode
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.marked import Marker, MarkersWriter

SUFFIX = ".avseg.markers.csv"
COLUMNS = ("start", "end", "duration", "timecode", "kind", "name", "source", "probability", "area", "source_timecode")


class CsvWriter(MarkersWriter):
    """A row for each stretch. Times are seconds of the video; timecode is that of the first frame from the start on,
    source_timecode the same counted from the video's own, where it has one."""

    def finish(self, summary: dict[str, Any]) -> None:
        with open(self.partial, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows(self._row(marker) for marker in self.markers())

    def _row(self, marker: Marker) -> list[Any]:
        start, end = round(marker.start, 3), round(marker.end, 3)
        rounded = [None if value is None else round(value, 4) for value in (marker.probability, marker.area)]
        video = self.job.video
        frame, own = video.frame_at(marker.start), Timecode.read(video.timecode, video.rate)
        timecode = Timecode(video.rate).at(frame)
        said = [marker.kind, marker.name, marker.source, *rounded, own.at(frame) if own else None]
        return [start, end, round(end - start, 3), timecode, *said]


FORMAT = Format(writer=CsvWriter, suffix=SUFFIX, files=(".csv",))
