"""``avseg evaluate --sources``: whether sources are told apart, keep their numbers, and are called what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from avseg_cli.tracks.naming import Placed
from avseg_cli.tracks.tracker import Tracker

FOUND = 0.5  # intersection over union from which a source is an object
LEAST = 0.002  # share of the picture from which an object counts: less is a rim behind another object


class Named(NamedTuple):
    """A source at one instant: its number, its name ("" where none is known), its pixels bool (H, W)."""

    id: int
    label: str
    mask: np.ndarray


@dataclass
class SourceScore:
    """Counts over clips; an object counts once for each frame in which it sounds.

    found: objects with a source of ``FOUND`` or more. switches: times an object's source has another number than when
    it was found before, of ``again`` times it was found again. merged: sources with half or more of two objects in
    them. split: objects in which two sources or more have most of their pixels. named: objects found whose source has
    a name, where the model knows their category by name; right: those with that name.
    """

    objects: int = 0
    found: int = 0
    again: int = 0
    switches: int = 0
    merged: int = 0
    split: int = 0
    named: int = 0
    right: int = 0

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.objects} objects found; {self.switches} of {self.again} found again have another "
            f"number; {self.merged} sources hold two objects, {self.split} objects are in several sources; "
            f"{self.right} of {self.named} names are right"
        )

    def __iadd__(self, other: SourceScore) -> SourceScore:
        for own in fields(self):
            setattr(self, own.name, getattr(self, own.name) + getattr(other, own.name))
        return self


def score_sources(
    truth: Iterable[Mapping[str, np.ndarray]], told: Iterable[Sequence[Named]], kinds: Sequence[str] = ()
) -> SourceScore:
    """One clip. truth: frame by frame the objects that sound, category -> pixels bool (H, W); kinds: names
    that can be given.
    """
    score, before = SourceScore(), {}
    for objects, sources in zip(truth, told, strict=True):
        score.objects += len(objects)
        score.split += sum(_halves(sources, pixels) > 1 for pixels in objects.values())
        score.merged += sum(_covers(source.mask, objects.values()) > 1 for source in sources)
        for category, source in _pairs(objects, sources):
            score.found += 1
            if category in before:
                score.again += 1
                score.switches += before[category] != source.id
            before[category] = source.id
            score.named += bool(source.label) and category in kinds
            score.right += source.label == category
    return score


def told_apart(masks: Iterable[np.ndarray], places: Iterable[Placed]) -> Iterator[list[Named]]:
    """The sources of the frames of a clip, a second apart: masks bool (H, W)."""
    tracker = Tracker()
    for second, (mask, there) in enumerate(zip(masks, places, strict=True)):
        tracked = tracker.step(float(second), mask, there)
        yield [Named(told.id, told.label, tracked.numbers == told.id) for told in tracked.sources]


def objects_of(map_: np.ndarray, mask: np.ndarray, categories: Sequence[str]) -> dict[str, np.ndarray]:
    """The objects that sound: an object map uint8 (H, W), the truth bool (H, W) -> category -> pixels."""
    numbers = [int(number) for number in np.unique(map_[mask]) if 0 < number <= len(categories)]
    found = {categories[number - 1]: (map_ == number) & mask for number in numbers}
    return {category: pixels for category, pixels in found.items() if pixels.mean() >= LEAST}


def _pairs(objects: Mapping[str, np.ndarray], sources: Sequence[Named]) -> Iterator[tuple[str, Named]]:
    """Objects with their sources, each once, the best pairs first."""
    pairs = [
        ((pixels & source.mask).sum() / (pixels | source.mask).sum(), category, place)
        for category, pixels in objects.items()
        for place, source in enumerate(sources)
    ]
    done: set[str | int] = set()
    for overlap, category, place in sorted(pairs, reverse=True):
        if overlap >= FOUND and not {category, place} & done:
            done |= {category, place}
            yield category, sources[place]


def _covers(mask: np.ndarray, objects: Iterable[np.ndarray]) -> int:
    """How many objects have half or more of their pixels in a source."""
    return len([pixels for pixels in objects if (mask & pixels).sum() >= pixels.sum() / 2])


def _halves(sources: Sequence[Named], pixels: np.ndarray) -> int:
    """How many sources have half or more of their pixels in an object."""
    masks = [source.mask for source in sources if source.mask.any()]
    return len([mask for mask in masks if (mask & pixels).sum() >= mask.sum() / 2])
