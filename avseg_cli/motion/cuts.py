"""When a video changes to another scene: nothing that was found goes on there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from avseg_cli.motion.flow import Flow, differ, small_size


class Moving(Protocol):
    """A picture at ``time`` seconds."""

    @property
    def time(self) -> float: ...

    def grey(self, size: tuple[int, int]) -> np.ndarray: ...


Picture = TypeVar("Picture", bound=Moving)

BLINK = 0.2  # seconds: what is shorter, such as a flash, is no scene of its own


def left(cuts: Sequence[float]) -> float:
    """When what was seen before a row of cuts, in seconds, is gone: with the first one, but not for a blink."""
    return cuts[-1] if cuts[-1] - cuts[0] < BLINK else cuts[0]


class Cuts:
    """The times of a video's cuts, in seconds, noted by one thread and read by another; a few bytes for each."""

    def __init__(self, size: tuple[int, int]) -> None:
        """size: (height, width) of the upright video."""
        self._size = small_size(size)
        self._all: list[float] = []
        self._times: list[float] = []  # without those of a blink after which the scene goes on
        self._row: tuple[float, np.ndarray] | None = None  # when the last cuts began, and the picture before them

    def record(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Pass pictures on, noting the cuts between them: those that a ``Trail`` notes, for less."""
        flow, before = Flow(), None
        for picture in pictures:
            grey = picture.grey(self._size)
            if before is not None:
                cut = differ(before, grey) and flow.step(before, grey, picture.time).cut
                self.note(before, grey, picture.time, cut)
            before = grey
            yield picture

    def note(self, before: np.ndarray, after: np.ndarray, time: float, cut: bool) -> None:
        """Take the next picture, in small and grey, which is shown from ``time`` on; cut: as another scene than the
        one before it."""
        if self._row is not None and time - self._row[0] >= BLINK:
            self._row = None
        if cut:
            self._row = self._row or (time, before)
            self._all.append(time)
            self._times.append(time)
        if self._row is not None and not differ(self._row[1], after):
            del self._times[bisect_left(self._times, self._row[0]) :]
            self._row = None

    def between(self, start: float, end: float) -> tuple[float, ...]:
        """The cuts after ``start`` and up to ``end``, without those of a blink after which the scene goes on; known
        once the pictures ``BLINK`` later are."""
        return _within(self._times, start, end)

    def noted_between(self, start: float, end: float) -> tuple[float, ...]:
        """All cuts after ``start`` and up to ``end``, known at once."""
        return _within(self._all, start, end)


def _within(times: list[float], start: float, end: float) -> tuple[float, ...]:
    return tuple(times[bisect_right(times, start) : bisect_right(times, end)])
