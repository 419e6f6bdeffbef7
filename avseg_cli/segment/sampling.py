"""Which frames the model sees: a grid of instants, gathered in overlapping clips whose logits are averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from avseg_cli.media.container import Damage
from avseg_cli.media.video import Picture
from avseg_cli.segment.grid import Grid

LEFTOVER = 0.25  # of a grid step: a shorter rest at the end of a video gets no frame of its own
LONGEST = 60.0  # seconds for which one picture gets masks; the rest of a gap in the timestamps gets none

Item = TypeVar("Item")


@dataclass(frozen=True)
class GridFrame:
    """A picture of the grid and the end, in seconds, of its step: at one a second, of its second of sound."""

    index: int
    picture: Picture
    end: float


def sample(
    pictures: Iterable[Picture], grid: Grid, until: float | None = None, damage: Damage | None = None
) -> Iterator[GridFrame]:
    """The picture shown just before each step of the grid ends; a last partial step ends with the video, or at
    ``until`` seconds.

    A gap in the timestamps, of hours perhaps, is passed over after ``LONGEST`` seconds: its picture is known by then.
    ``damage`` is told.
    """
    damage = damage or Damage()
    index, origin, shown, length = 0, 0.0, None, 0.0
    for picture in pictures:
        if shown is None:
            origin = picture.time
        else:
            length = picture.time - shown.time
        while shown is not None and picture.time > origin + (index + 1) * grid.step - grid.lead + 1e-6:
            end = origin + (index + 1) * grid.step
            if end - shown.time > LONGEST:
                passed = math.ceil(picture.time - end + grid.lead)  # whole seconds keep sequences in step
                origin += passed
                damage.passed_over += passed
                break
            yield GridFrame(index, shown, end)
            index += 1
        shown = picture
    if shown is None:
        return
    over = min(_finish(shown, length), math.inf if until is None else until)
    finish = min(over, shown.time + LONGEST)
    damage.passed_over += over - finish
    while origin + (index + 1) * grid.step <= finish + 1e-6:
        yield GridFrame(index, shown, origin + (index + 1) * grid.step)
        index += 1
    if index == 0 or finish - (origin + index * grid.step) >= LEFTOVER * grid.step:
        yield GridFrame(index, shown, finish)


def _finish(last: Picture, length: float) -> float:
    """When the last picture is over: as the file says, or after the usual time (``length``: of the one before)."""
    usual, known = 1 / float(last.video.rate), last.video.duration
    if known is not None and last.time < known <= last.time + max(usual, length, last.held) + 1e-3:
        return known
    return last.time + min(usual, length or usual)


class ClipSequence(Generic[Item]):
    """Cuts one sequence of unknown length into clips, and averages their logits frame by frame.

    Clips start every ``stride`` items; the last one shifts back so that it ends with the sequence. A sequence
    shorter than a clip repeats its last item. Holds no more than ``length + stride`` items.
    """

    def __init__(self, length: int, stride: int) -> None:
        self.length, self.stride = length, stride
        self._items: dict[int, Item] = {}
        self._sums: dict[int, tuple[np.ndarray, int]] = {}
        self._count = 0  # items seen
        self._next_start = 0  # of the next regular clip
        self._released = 0  # frames whose mean was given out

    def push(self, item: Item) -> list[tuple[int, list[Item]]]:
        """Take the next item; gives the (start, items) of the clip it completes, if any."""
        self._items[self._count] = item
        self._count += 1
        if self._count < self._next_start + self.length:
            return []
        clip = self._clip(self._next_start)
        self._next_start += self.stride
        self._forget()
        return [clip]

    def finish(self) -> list[tuple[int, list[Item]]]:
        """The clip still needed to cover the end, if any."""
        covered = self._next_start - self.stride + self.length if self._next_start else 0
        if covered >= self._count:
            return []
        return [self._clip(max(0, self._count - self.length))]

    def add(self, start: int, logits: np.ndarray) -> None:
        """Take the logits (length, h, w) of the clip that began at ``start``; those of padding are dropped."""
        for place, values in enumerate(logits[: self._count - start], start):
            total, clips = self._sums.get(place, (0.0, 0))
            self._sums[place] = (total + values, clips + 1)

    def release(self, finished: bool = False) -> list[np.ndarray]:
        """The mean logits of the frames, in order, that no later clip can change."""
        ready = self._count if finished else min(self._next_start, self._count - self.length)
        means = []
        while self._released < ready:
            total, clips = self._sums.pop(self._released)
            means.append(total / clips)
            self._released += 1
        return means

    def _clip(self, start: int) -> tuple[int, list[Item]]:
        places = range(start, start + self.length)
        return start, [self._items[min(place, self._count - 1)] for place in places]

    def _forget(self) -> None:
        """Drop items that neither the next clip nor a last, shifted one can need."""
        keep = min(self._next_start, self._count - self.length)
        for place in [p for p in self._items if p < keep]:
            del self._items[place]
