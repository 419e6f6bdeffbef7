"""What sounds when, as stretches of time that editors take as markers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.outputs.borders import Borders
from avseg_cli.outputs.heard import NOTHING
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.spans import HeardSecond, spans
from avseg_cli.outputs.unmarked import QUIET
from avseg_cli.outputs.writers import Job, Writer
from avseg_cli.tracks.track_list import TrackList


@dataclass(frozen=True)
class Marker:
    """A stretch of time in seconds. kind: "heard" for a sound, "seen" for what is seen to make one.

    source is the number of what is seen, probability that of what is heard, area the share of the picture.
    """

    start: float
    end: float
    kind: str
    name: str
    source: int | None = None
    probability: float | None = None
    area: float | None = None


class MarkersWriter(Writer):
    """Gathers the stretches in which the same is heard and those in which each source sounds."""

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        self._tracks, self._heard, self._borders = TrackList(), list[HeardSecond](), Borders(job.span[0])
        self.end = job.span[0]  # seconds, of the last mask's

    def take(self, result: MaskResult) -> None:
        sure = result.known[0][1] if result.known else None
        border = self._borders.step(result)
        self._heard.append(HeardSecond(border.heard, result.end, result.called, sure))
        self._tracks.take(border.seen, result.end, result.sketches, border.gone)
        self.end = result.end

    def markers(self) -> list[Marker]:
        """All of them, in order of time."""
        pixels = self.job.video.width * self.job.video.height
        heard = [
            Marker(span.since, span.end, "heard", span.name, probability=span.probability)
            for span in spans(self._heard, most=None)
            if span.name not in (NOTHING, QUIET)  # which are no markers
        ]
        seen = [
            Marker(since, end, "seen", track.label or f"source {track.id}", track.id, None, area)
            for track in self._tracks
            for area in (track.area / max(1, track.masks) / pixels,)
            for since, end in track.spans
        ]
        return sorted(heard + seen, key=lambda marker: (marker.start, marker.kind, marker.source or 0))
