"""All sources of a video: when each sounds, where known what it is, and how large it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol


class OneSource(Protocol):
    """A source at one instant, whose area is in pixels."""

    @property
    def id(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def area(self) -> int: ...


@dataclass
class TrackSummary:
    """One source over the video. spans: (since, end) in seconds of the stretches in which it sounds."""

    id: int
    label: str
    spans: list[tuple[float, float]] = field(default_factory=list)
    masks: int = 0
    area: float = 0.0  # pixels, summed over the masks

    def to_dict(self) -> dict[str, Any]:
        """For the record; the area is the mean."""
        spans = [[round(since, 3), round(end, 3)] for since, end in self.spans]
        return {
            "id": self.id, "label": self.label or None, "masks": self.masks,
            "area": round(self.area / max(1, self.masks), 1), "times": spans,
        }  # fmt: skip


class TrackList:
    """Gathers the sources of results in order of time; a few numbers for each source."""

    def __init__(self) -> None:
        self._tracks: dict[int, TrackSummary] = {}
        self._sounding: dict[int, TrackSummary] = {}  # in the last mask

    def take(self, since: float, end: float, sources: Iterable[OneSource], gone: float | None = None) -> None:
        """The sources of a mask, which sound from ``since`` to ``end``, in seconds; those of the mask before it
        sounded until ``gone``, or ``since`` where none is given."""
        before, self._sounding = self._sounding, {}
        for track in before.values():
            track.spans[-1] = track.spans[-1][0], since if gone is None else gone
        for source in sources:
            track = self._tracks.setdefault(source.id, TrackSummary(source.id, source.label))
            track.label, track.masks, track.area = source.label, track.masks + 1, track.area + source.area
            began = track.spans.pop()[0] if source.id in before and track.spans[-1][1] == since else since
            track.spans.append((began, end))
            self._sounding[source.id] = track

    def __iter__(self):
        return iter(self._tracks.values())
