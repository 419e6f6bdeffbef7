"""A table (CSV) of what is heard and seen to sound: start, end, duration, timecode, name."""

from __future__ import annotations

import csv
from typing import Any

from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.marked import Marker, MarkersWriter

SUFFIX = ".avseg.markers.csv"
COLUMNS = ("start", "end", "duration", "timecode", "kind", "name", "source", "probability", "area")


class CsvWriter(MarkersWriter):
    """A row for each stretch. Times are seconds of the video; timecode is that of the start in its frames."""

    def finish(self, summary: dict[str, Any]) -> None:
        with open(self.partial, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows(self._row(marker) for marker in self.markers())

    def _row(self, marker: Marker) -> list[Any]:
        start, end = round(marker.start, 3), round(marker.end, 3)
        rounded = [None if value is None else round(value, 4) for value in (marker.probability, marker.area)]
        timecode = clock_of_frames(marker.start, float(self.job.video.rate))
        return [start, end, round(end - start, 3), timecode, marker.kind, marker.name, marker.source, *rounded]


def clock_of_frames(seconds: float, rate: float) -> str:
    """hours:minutes:seconds:frames without dropped numbers, at the nearest whole rate."""
    whole = max(1, round(rate))
    frames = round(seconds * rate)
    clock, frame = divmod(frames, whole)
    return f"{clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}:{frame:02d}"


FORMAT = Format(writer=CsvWriter, suffix=SUFFIX, files=(".csv",))
