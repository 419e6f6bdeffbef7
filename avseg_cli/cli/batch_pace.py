"""How far a batch is, and how long the rest of it takes."""

from __future__ import annotations

import time
from collections.abc import Callable


class BatchPace:
    """Counts the videos of a batch. What was there already cost nothing, so it says nothing of the time left."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.count, self.ended, self._passed = count, 0, 0
        self._clock, self._began = clock, clock()
        self._parts: dict[object, float] = {}  # of the videos at work, how much is done: 0 to 1

    def at(self, video: object, part: float) -> None:
        """A video at work is done up to ``part``, 0 to 1."""
        self._parts[video] = min(1.0, part)

    def end(self, video: object, worked: bool) -> None:
        """A video is done with; ``worked``: it took its time."""
        self._parts.pop(video, None)
        self.ended += 1
        if not worked:
            self._passed += 1
        if self._passed == self.ended:
            self._began = self._clock()  # the work has not begun

    @property
    def done(self) -> float:
        """Videos done, with the parts of those at work."""
        return self.ended + sum(self._parts.values())

    @property
    def left(self) -> float | None:
        """Seconds until all are done, at the pace so far; None before there is one."""
        worked = self.done - self._passed
        return (self.count - self.done) * (self._clock() - self._began) / worked if worked > 0 else None
