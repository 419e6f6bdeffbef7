"""How a video moved, step by step, from the reader that is ahead to those who follow."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator

import numpy as np

from avseg_cli.motion.cuts import Cuts, Picture
from avseg_cli.motion.flow import Flow, Step, joined, small_size, trusted, unmoved

CLOSEST = 1 / 125  # seconds: pictures nearer than that to the one before make no step of their own
LONGEST = 250  # pictures over which something is carried; over more it would be lost, and the ways take memory


class Ways:
    """The ways from each of a row of pictures to the first and to the last of them."""

    def __init__(self, times: list[float], steps: list[Step], size: tuple[int, int]) -> None:
        """times: of the pictures, in seconds; size: (height, width) of a way."""
        self._times = times
        here, each = unmoved(*size), [step.ways() for step in steps]
        self._to_last = _chained([ways[::-1] for ways in reversed(each)], here)
        self._to_last.reverse()
        self._to_first = _chained(each, here)

    def to_first(self, time: float) -> np.ndarray:
        """From the picture shown at ``time`` to the first."""
        return self._to_first[self._index(time)]

    def to_last(self, time: float) -> np.ndarray:
        """From the picture shown at ``time`` to the last."""
        return self._to_last[self._index(time)]

    def _index(self, time: float) -> int:
        return max(0, bisect_right(self._times, time + CLOSEST / 2) - 1)


def _chained(steps: list[tuple[np.ndarray, np.ndarray]], here: np.ndarray) -> list[np.ndarray]:
    """The ways to a picture from itself, from its neighbour, from the neighbour's, …, each trusted where what it leads
    to comes back the same way; steps: for each neighbour the ways nearer and back again."""
    ways, nearer, further = [here], here, here
    for near, far in steps:
        nearer, further = joined(near, nearer), joined(further, far)
        ways.append(trusted(nearer, further))
    return ways


class Trail:
    """The steps between a video's pictures, recorded by one thread and read by another.

    Holds those that nobody has said to ``forget``: 75 kB each, of the seconds by which the recorder is ahead. ``cuts``
    says when the scene changed.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """size: (height, width) of the upright video."""
        self.cuts = Cuts(size)
        self._size = small_size(size)
        self._lock = threading.Lock()
        self._times: list[float] = []  # of the pictures recorded
        self._steps: list[Step] = []  # one fewer

    def record(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Pass pictures on, noting how each differs from the one before."""
        flow, before, last = Flow(), None, float("-inf")
        for picture in pictures:
            if picture.time - last >= CLOSEST:
                grey, last = picture.grey(self._size), picture.time
                step = None if before is None else flow.step(before, grey, last)
                if before is not None and step is not None:
                    self.cuts.note(before, grey, last, step.cut)
                with self._lock:
                    self._times.append(last)
                    self._steps += [] if step is None else [step]
                before = grey
            yield picture

    def forget(self, before: float) -> None:
        """Let go of what lies before the picture shown at ``before`` seconds."""
        with self._lock:
            gone = max(0, bisect_right(self._times, before + CLOSEST / 2) - 1)
            del self._times[:gone], self._steps[:gone]

    def ways(self, start: float, end: float) -> Ways | None:
        """The ways between the pictures shown at ``start`` and ``end`` seconds and those between them; None where
        there are more than anything is carried over."""
        with self._lock:
            first, last = (max(0, bisect_right(self._times, time + CLOSEST / 2) - 1) for time in (start, end))
            if last - first > LONGEST:
                return None
            return Ways(self._times[first : last + 1], self._steps[first:last], self._size)
