"""When a video changes to another scene: nothing that was found goes on there."""

from __future__ import annotations

from bisect import bisect_right
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
        self._times: list[float] = []

    def record(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Pass pictures on, noting the cuts between them: those that a ``Trail`` notes, for less."""
        flow, before = Flow(), None
        for picture in pictures:
            grey = picture.grey(self._size)
            if before is not None and differ(before, grey) and flow.step(before, grey, picture.time).cut:
                self.note(picture.time)
            before = grey
            yield picture

    def note(self, time: float) -> None:
        """The picture shown from ``time`` on is another scene than the one before."""
        self._times.append(time)

    def between(self, start: float, end: float) -> tuple[float, ...]:
        """The cuts after ``start`` and up to ``end``."""
        return tuple(self._times[bisect_right(self._times, start) : bisect_right(self._times, end)])
