"""What was found at a few instants, at any time between them: it follows the picture, and switches with the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np

from avseg_cli.motion.elsewhere import elsewhere
from avseg_cli.motion.flow import carried, resized
from avseg_cli.motion.trail import Trail, Ways

FADE = 0.12  # seconds that a switch from one source to another takes
DOUBT = np.float32(1e-3)  # trust in what got lost on its way: it counts where the other result knows no better


class Timed(Protocol):
    """What was found at ``time``, in seconds."""

    @property
    def time(self) -> float: ...


Found = TypeVar("Found", bound=Timed)


@dataclass(frozen=True)
class Instant(Generic[Found]):
    """A time between two results, of which ``after`` counts with ``share``; at the ends of a video both are one.

    ways lead from the picture shown now to those of the two results; None: things stay in their places. switched is
    the share of ``after`` where other things sound than before; None: the same as elsewhere. level is the value above
    which something sounds.
    """

    before: Found
    after: Found
    share: float
    ways: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    switched: float | None = None
    level: float = 0.0

    def between(self, values: Callable[[Found], np.ndarray]) -> np.ndarray:
        """The numbers (h, w) float32 of the two results, such as logits, carried to this time and mixed."""
        before, after = self._carried(values, whole=False)
        if before is after:
            return before
        share = self._shares(before.shape)
        if self.switched is not None:
            one, other = before > self.level, after > self.level
            share = np.where(elsewhere(one != other, one & other), np.float32(self.switched), share)
        return before + share * (after - before)

    def chosen(self, values: Callable[[Found], np.ndarray]) -> np.ndarray:
        """What cannot be mixed, such as the numbers of sources (h, w), 0 for none: carried to this time, at each place
        that of the result which counts more."""
        before, after = self._carried(values, whole=True)
        if before is after:
            return before
        share = self._shares(before.shape)
        if self.switched is not None:
            alike = before == after
            share = np.where(elsewhere(~alike, alike & (before > 0)), np.float32(self.switched), share)
        return np.where(share < 0.5, before, after)

    def _carried(self, values: Callable[[Found], np.ndarray], whole: bool) -> tuple[np.ndarray, np.ndarray]:
        """The two results' values drawn where things are now; one and the same array at the ends of a video."""
        before, after = (
            values(found) if way is None else carried(values(found), way, whole)
            for found, way in zip((self.before, self.after), self.ways, strict=True)
        )
        if self.before is not self.after:
            return before, after
        return (before, before) if self.ways[1] is None else (after, after)

    def _shares(self, size: tuple[int, ...]) -> np.ndarray | np.float32:
        """How much ``after`` counts, (h, w): the less a result's way here can be trusted, the less it counts."""
        if self._trusted is None:
            return np.float32(self.share)
        return resized(self._trusted, size)

    @cached_property
    def _trusted(self) -> np.ndarray | None:
        to_before, to_after = self.ways
        if to_before is None or to_after is None:
            return None
        one = np.float32(1 - self.share) * (to_before[..., 2] + DOUBT)
        other = np.float32(self.share) * (to_after[..., 2] + DOUBT)
        return other / (one + other)


class Timeline(Generic[Found]):
    """The results around any time; asked with times that never run back.

    trail: how the video moved, recorded ahead of the results; what has passed is forgotten. onset: when between two
    results the sound changes, in seconds. Without these, things stay where they are and one result fades into the next.
    """

    def __init__(
        self,
        results: Iterator[Found],
        trail: Trail | None = None,
        onset: Callable[[Found, Found], float] | None = None,
        level: float = 0.0,
    ) -> None:
        self._results, self._trail, self._onset, self._level = results, trail, onset, level
        self._before: Found | None = None
        self._after: Found | None = next(results, None)
        self._between(float("-inf"))

    def at(self, time: float) -> Instant[Found]:
        """The instant at ``time`` in seconds."""
        while self._after is not None and self._after.time <= time:
            self._before, self._after = self._after, next(self._results, None)
            self._between(self._before.time)
        before, after = self._before or self._after, self._after or self._before
        assert before is not None and after is not None, "a timeline of no results"
        ways = self._ways
        to_before = ways.to_first(time) if ways and self._before else None
        to_after = ways.to_last(time) if ways and self._after else None
        if before is after:
            return Instant(before, after, 0.0, (to_before, to_after))
        share = (time - before.time) / (after.time - before.time)
        switched = None if self._switch is None else min(1.0, max(0.0, (time - self._switch) / FADE + 0.5))
        return Instant(before, after, share, (to_before, to_after), switched, self._level)

    def _between(self, start: float) -> None:
        """Learn what happens from ``start`` to the next result."""
        self._ways: Ways | None = None
        self._switch: float | None = None
        if self._trail is not None:
            self._trail.forget(start)
            self._ways = self._trail.ways(start, self._after.time if self._after else float("inf"))
        if self._onset is not None and self._before and self._after:
            self._switch = self._onset(self._before, self._after)
