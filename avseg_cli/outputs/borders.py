"""When what one mask found gives way to what the next one found: markers, tracks and the report agree on it."""

from __future__ import annotations

from typing import NamedTuple

from avseg_cli.motion.cuts import left
from avseg_cli.motion.onset import turn
from avseg_cli.outputs.results import MaskResult


class Border(NamedTuple):
    """Where a mask's stretch of time begins, in seconds: of what is heard, and of what is seen to sound; and where what
    the mask before had seen is gone: earlier, where a scene lies between in which the model never looked."""

    heard: float
    seen: float
    gone: float


class Borders:
    """Finds the border before each mask; told the masks in order.

    Where something else is heard, it is where the sound changes within the mask's second; where something else is seen,
    where the sound changes between the two pictures, or at a cut. Where no change is heard, it is the end of the second
    before.
    """

    def __init__(self, start: float) -> None:
        """start: where the video is looked at from, in seconds."""
        self._before: MaskResult | None = None
        self._last = Border(start, start, start)

    def step(self, result: MaskResult) -> Border:
        """The border before ``result``, never before the last one."""
        before, self._before = self._before, result
        heard = seen = self._last.seen if before is None else before.end
        if before is not None and before.called != result.called:
            heard = turn(before, result, (result.sound_end - 1, result.end)) or heard
        if result.cuts:
            seen = result.cuts[-1]
        elif before is not None and _numbers(before) != _numbers(result):
            seen = turn(before, result, (before.moment, result.moment)) or seen
        gone, last = left(result.cuts) if result.cuts else seen, self._last
        self._last = Border(max(heard, last.heard), max(seen, last.seen), max(gone, last.seen))
        return self._last


def _numbers(result: MaskResult) -> set[int]:
    return {source.id for source in result.sketches}
