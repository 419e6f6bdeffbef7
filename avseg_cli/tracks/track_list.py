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

    def __init__(self, start: float = 0.0) -> None:
        self._tracks: dict[int, TrackSummary] = {}
        self._since = start  # seconds, where the next mask's stretch begins

    def take(self, end: float, sources: Iterable[OneSource]) -> None:
        """The sources of a mask whose second ends at ``end``: they sound since the mask before."""
        for source in sources:
            track = self._tracks.setdefault(source.id, TrackSummary(source.id, source.label))
            track.label, track.masks, track.area = source.label, track.masks + 1, track.area + source.area
            if track.spans and track.spans[-1][1] == self._since:
                track.spans[-1] = track.spans[-1][0], end
            else:
                track.spans.append((self._since, end))
        self._since = end

    def __iter__(self):
        return iter(self._tracks.values())
