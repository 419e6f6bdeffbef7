"""The time of each frame, growing strictly: what encoders demand and old files do not always have."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

from avseg_cli.media.container import Damage

SET_BACK = 1.0  # seconds backwards that mean the file's clock was reset
REACH = 8  # frames over which times may be out of order: B-frames that refer to each other
WATCHED = 32  # frames at the beginning, where a file with times out of order shows it
HELD_AT_FIRST, HELD = 4, 1  # frames held back, for a time out of order to be seen before they are given


class FrameTimes:
    """Gives frames, in the order the decoder shows them, with their times in ticks since the clock's zero.

    Old AVI files tell when a frame was stored rather than when it is shown, so that B-frames bring times out of
    order: then the frames keep their order and the times are sorted. A clock that is set back goes on where it was.
    A time that repeats cannot be kept; its frame is left out and counted.
    """

    def __init__(self, zero: Fraction, step: int, time_base: Fraction, damage: Damage) -> None:
        """zero: in ticks; step: ticks between frames, where one has no time of its own."""
        self._zero, self._step, self._damage = zero, step, damage
        self._reset = max(round(SET_BACK / time_base), REACH * step)
        self._frames: deque[VideoFrame] = deque()
        self._times: list[int] = []  # a heap: those of the frames that wait
        self._newest: int | None = None  # the latest time read
        self._given: int | None = None
        self._jump = 0  # ticks added after the file's own clock was set back

    def of(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[VideoFrame, int]]:
        """(frame, ticks) of each, in order of showing."""
        held = HELD_AT_FIRST
        for number, frame in enumerate(frames):
            if number == WATCHED and held == HELD_AT_FIRST:
                held = HELD
            time = self._time(frame)
            if self._newest is not None and self._newest - time > self._reset:
                yield from self._release(0)
                self._damage.resets += 1
                self._jump += self._newest + self._step - time
                time = self._newest + self._step
            elif self._newest is not None and time < self._newest:
                held = REACH
                self._damage.out_of_order += 1
            self._newest = time if self._newest is None else max(self._newest, time)
            self._frames.append(frame)
            heapq.heappush(self._times, time)
            yield from self._release(held)
        yield from self._release(0)

    def _time(self, frame: VideoFrame) -> int:
        if frame.pts is not None:
            return round(frame.pts - self._zero) + self._jump
        return 0 if self._newest is None else self._newest + self._step

    def _release(self, held: int) -> Iterator[tuple[VideoFrame, int]]:
        while len(self._frames) > held:
            frame, time = self._frames.popleft(), heapq.heappop(self._times)
            if self._given is not None and time <= self._given:
                self._damage.timestamps += 1
                continue
            self._given = time
            yield frame, time
