"""Masks in order of time -> which source each piece belongs to.

A piece that stands apart is a source. It keeps its number while the next masks overlap it, over gaps of ``MEMORY``
seconds too; a piece broken in two stays one source, and two sources that run into each other stay two if both had
stood apart for a while. Holds the last mask of each source that is remembered, whatever the length of the video.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from avseg_cli.tracks.naming import Placed, Scores, alike, named, scores
from avseg_cli.tracks.pieces import CRUMB, pieces

MEMORY = 4.0  # seconds for which a source that fell silent keeps its place and number
SAME = 0.05  # affinity from which a piece is the source that was there before
OF_SMALLER = 0.3  # weight of what a piece and a track share of the smaller one, beside that of their union
WITHIN = 0.5  # share of a piece inside a source, or of a source inside a piece, that makes it part of it
FLICKER = 0.3  # seconds for which a source may be missing, of many masks a second, and still be there
SETTLED = 2.0  # seconds for which a source must have stood apart not to be swallowed by one that it touches
DIFFERENT = 0.4  # likeness of names up to which two sources are never taken for one


@dataclass(frozen=True)
class Told:
    """One source at one instant: its number from 1 up, its name ("" where none is known) and how sure that is."""

    id: int
    label: str
    sure: float


@dataclass(frozen=True)
class Tracked:
    """The sources of one mask. numbers: int32 (h, w), the number of each cell's source; 0 where nothing sounds, and
    ``CRUMB`` where what sounds is too small to be a source."""

    numbers: np.ndarray
    sources: tuple[Told, ...]


@dataclass(eq=False)
class Track:
    """A source that is remembered."""

    id: int
    where: np.ndarray  # bool (h, w), in its last mask
    time: float  # seconds, of that mask
    apart: float = 0.0  # seconds for which it was a piece of its own
    totals: Scores = field(default_factory=dict)  # of its names, summed over its masks
    masks: int = 0

    def see(self, where: np.ndarray, time: float, names: Scores, apart: float) -> None:
        """The source in a new mask."""
        self.where, self.time = where, time
        self.masks, self.apart = self.masks + 1, self.apart + apart
        for kind, score in names.items():
            self.totals[kind] = self.totals.get(kind, 0.0) + score

    def mean(self) -> Scores:
        """The mean scores of its names."""
        return {kind: total / max(1, self.masks) for kind, total in self.totals.items()}

    def told(self) -> Told:
        """What is told of it."""
        return Told(self.id, *named(self.totals, self.masks))


class Tracker:
    """Tells the sources of one video apart; asked with masks in order of time."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._last = 0  # number given
        self._before = 0.0  # seconds, of the mask before

    def step(self, time: float, mask: np.ndarray, placed: Placed, cut: bool = False) -> Tracked:
        """The sources of a mask, bool (h, w), at ``time`` in seconds; placed: kinds of things seen and heard; cut: it
        is of another scene than the mask before, so that its sources are new ones."""
        self._tracks = [track for track in self._tracks if time - track.time <= MEMORY and not cut]
        numbers = pieces(mask)
        parts = [numbers == number for number in range(1, int(numbers.max()) + 1)]
        holders = self._holders(parts, [scores(part, placed) for part in parts], time)
        told = np.where(numbers == CRUMB, CRUMB, 0).astype(np.int32)
        for part, tracks in zip(parts, holders, strict=True):
            told[part] = _nearest(part, tracks)
        alone = {tracks[0].id for tracks in holders if len(tracks) == 1}
        present = [track for track in self._tracks if (told == track.id).any()]
        for track in present:
            where = told == track.id
            apart = time - self._before if track.id in alone and track.masks else 0.0
            track.see(where, time, scores(where, placed), apart)
        self._before = time
        return Tracked(told, tuple(track.told() for track in present))

    def _holders(self, parts: list[np.ndarray], names: list[Scores], time: float) -> list[list[Track]]:
        """The tracks of each piece; several where sources touch that had stood apart."""
        owners = self._matched(parts, names)
        left = [track for track in self._tracks if track not in owners.values()]
        matched = list(owners.values())
        holders = []
        for place, part in enumerate(parts):
            owner = owners.get(place) or _holding(part, matched) or self._new(part, time)
            holders.append([owner])
        for track in left:
            self._touch(track, parts, holders)
        return holders

    def _matched(self, parts: list[np.ndarray], names: list[Scores]) -> dict[int, Track]:
        """Pieces that continue a track, the best pairs first; each track once."""
        pairs = [
            (_affinity(part, names[place], track), place, track)
            for place, part in enumerate(parts)
            for track in self._tracks
        ]
        owners: dict[int, Track] = {}
        for affinity, place, track in sorted(pairs, key=lambda pair: (-pair[0], pair[2].id)):
            if affinity >= SAME and place not in owners and track not in owners.values():
                owners[place] = track
        return owners

    def _new(self, part: np.ndarray, time: float) -> Track:
        self._last += 1
        self._tracks.append(Track(self._last, part, time))
        return self._tracks[-1]

    def _touch(self, track: Track, parts: list[np.ndarray], holders: list[list[Track]]) -> None:
        """A track of the mask just before without a piece of its own: it may be inside another's, as part or in one."""
        if track.time < self._before - FLICKER:
            return
        inside = [float((part & track.where).sum()) / track.where.sum() for part in parts]
        place = int(np.argmax(inside)) if inside else -1
        if place < 0 or inside[place] < WITHIN:
            return
        for other in holders[place]:
            if min(track.apart, other.apart) < SETTLED and alike(track.mean(), other.mean()) > DIFFERENT:
                younger = min(track, other, key=lambda own: own.apart)
                holders[:] = [[track if own is younger else own for own in tracks] for tracks in holders]
                self._tracks.remove(younger)
                return
        holders[place].append(track)


def _affinity(part: np.ndarray, names: Scores, track: Track) -> float:
    """How likely a piece continues a track, 0 to 1: by what they share, less where their names differ."""
    shared, areas = np.count_nonzero(part & track.where), (np.count_nonzero(part), np.count_nonzero(track.where))
    overlap = max(shared / (sum(areas) - shared), OF_SMALLER * shared / min(areas))
    return overlap * alike(names, track.mean())


def _holding(part: np.ndarray, tracks: list[Track]) -> Track | None:
    """The track inside whose last mask most of a piece lies."""
    inside = [np.count_nonzero(part & track.where) / np.count_nonzero(part) for track in tracks]
    place = int(np.argmax(inside)) if inside else 0
    return tracks[place] if inside and inside[place] >= WITHIN else None


def _nearest(part: np.ndarray, tracks: list[Track]) -> np.ndarray | int:
    """The number of the track for each cell of a piece, (n,): of several the one whose last mask is nearest."""
    if len(tracks) == 1:
        return tracks[0].id
    away = [cv2.distanceTransform((~track.where).astype(np.uint8), cv2.DIST_L2, 3)[part] for track in tracks]
    return np.array([track.id for track in tracks])[np.argmin(away, axis=0)]
