"""An OpenTimelineIO timeline of the video with markers on what is heard and seen to sound (extra: editors)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from avseg_cli.base.extras import extra
from avseg_cli.media.timecode import Timecode
from avseg_cli.outputs.formats import Format
from avseg_cli.outputs.marked import Marker, MarkersWriter
from avseg_cli.outputs.writers import Job

SUFFIX = ".avseg.otio"
COLOURS = {"heard": "CYAN", "seen": "MAGENTA"}


class OtioWriter(MarkersWriter):
    """One clip, the video, on a track of pictures and one of sound; its markers say what sounds when."""

    def __init__(self, path: Path, job: Job) -> None:
        super().__init__(path, job)
        with extra("editors", "the format otio"):
            import opentimelineio
        self._otio = opentimelineio

    def finish(self, summary: dict[str, Any]) -> None:
        schema, markers = self._otio.schema, self.markers()
        whole = self.job.video.duration or self.end
        end = min(self.job.span[1] or whole, whole)
        url = _readable(self.job.video.source) or self.job.video.path.absolute().as_uri()
        reference = schema.ExternalReference(target_url=url, available_range=self._range(0.0, whole))
        name, about = _readable(self.job.video.path.name), _readable(json.dumps(self.job.about, ensure_ascii=False))
        timeline = schema.Timeline(name=name, metadata={"avseg": json.loads(about)})
        for kind in (schema.TrackKind.Video, schema.TrackKind.Audio):
            clip = schema.Clip(
                name=name,
                media_reference=reference.clone(),
                source_range=self._range(self.job.span[0], end),
            )
            if kind == schema.TrackKind.Video:
                clip.markers.extend(self._marker(marker) for marker in markers)
            track = schema.Track(name=kind, kind=kind)
            track.append(clip)
            timeline.tracks.append(track)
        # through Python: its own way to write a file says nothing of a full disk
        self.partial.write_text(self._otio.adapters.write_to_string(timeline, "otio_json"), encoding="utf-8")

    def _marker(self, marker: Marker) -> Any:
        facts = {"kind": marker.kind, "source": marker.source, "probability": marker.probability, "area": marker.area}
        return self._otio.schema.Marker(
            name=marker.name,
            marked_range=self._range(marker.start, marker.end),
            color=COLOURS[marker.kind],
            metadata={"avseg": {name: value for name, value in facts.items() if value is not None}},
        )

    def _range(self, start: float, end: float) -> Any:
        """The frames from ``start`` to ``end`` seconds, at the video's rate and from its timecode on."""
        video, rate = self.job.video, float(self.job.video.rate)
        code = Timecode.read(video.timecode, video.rate) or Timecode(video.rate)
        first, last = (code.first + video.frame_at(seconds) for seconds in (start, end))
        times = (self._otio.opentime.RationalTime(frames, rate) for frames in (first, max(1, last - first)))
        return self._otio.opentime.TimeRange(*times)


def _readable(text: str) -> str:
    """Without the bytes of file names that are not UTF-8, which opentimelineio does not take."""
    return os.fsencode(text).decode("utf-8", "replace")


FORMAT = Format(writer=OtioWriter, suffix=SUFFIX, files=(".otio",))
