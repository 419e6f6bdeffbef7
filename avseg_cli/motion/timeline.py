"""What was found at a few instants, at any time between them: it follows the picture, and switches with the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.motion.cuts import left
from avseg_cli.motion.elsewhere import elsewhere
from avseg_cli.motion.flow import carried, ends, taken
from avseg_cli.motion.trail import Trail, Ways

FADE = 0.12  # seconds that a switch from one source to another takes
DOUBT = np.float32(1e-3)  # trust in what got lost on its way: it counts where the other result knows no better
SILENT = np.float32(20)  # below the level: what a scene has of which nothing was found


class Timed(Protocol):
    """What was found at ``time``, in seconds."""

    @property
    def time(self) -> float: ...


Found = TypeVar("Found", bound=Timed)


Values = Callable[[Found], np.ndarray]


class Pair(Generic[Found]):
    """Two results that follow each other, and where they show different things; at the ends of a video both are one.

    ways: between the pictures from the one to the other; None: things stay in their places. onset: when between them
    the sound changes, in seconds; None: nothing switches. level: the value above which something sounds. cuts: when
    the scene changes, in seconds.
    """

    def __init__(
        self, before: Found, after: Found, ways: Ways | None = None, onset: float | None = None, level: float = 0.0,
        cuts: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        self.before, self.after, self.ways, self.onset, self.level = before, after, ways, onset, level
        self.cuts = cuts
        self._elsewhere: dict[Values, tuple[np.ndarray, np.ndarray]] = {}

    def elsewhere(self, values: Values, whole: bool) -> tuple[np.ndarray, np.ndarray]:
        """The places (h, w), 0 or 1 in float32, of things that only one of them shows: in the picture of the first and
        in that of the second. Found once, so that they do not come and go from frame to frame."""
        if values not in self._elsewhere:
            first, second = values(self.before), values(self.after)
            there, here = first, second
            if self.ways is not None:
                there = carried(second, self.ways.to_last(self.before.time), whole)
                here = carried(first, self.ways.to_first(self.after.time), whole)
            self._elsewhere[values] = self._places(first, there, whole), self._places(here, second, whole)
        return self._elsewhere[values]

    def _places(self, one: np.ndarray, other: np.ndarray, whole: bool) -> np.ndarray:
        shown, besides = (one, other) if whole else (one > self.level, other > self.level)
        alike = shown == besides
        return elsewhere(~alike, alike & (one > (0 if whole else self.level))).astype(np.float32)


@dataclass(frozen=True)
class Instant(Generic[Found]):
    """A time between the two results of a pair, of which the one after counts with ``share``.

    ways lead from the picture shown now to those of the two results, None: things stay in their places. switched is
    the share of the one after where other things sound than before. unseen: between two cuts, so of neither result's
    scene: nothing is known to sound.
    """

    pair: Pair[Found]
    share: float
    ways: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    switched: float = 0.0
    unseen: bool = False
    _known: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray] | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def before(self) -> Found:
        return self.pair.before

    @property
    def after(self) -> Found:
        return self.pair.after

    def between(self, values: Values) -> np.ndarray:
        """The numbers (h, w) float32 of the two results, such as logits, carried to this time and mixed.

        Ask with one and the same ``values`` at all times: what is found of a pair is kept by it.
        """
        if self.unseen:
            return np.full_like(values(self.before), self.pair.level - SILENT)
        before, after = self._carried(values, whole=False)
        return before if before is after else before + self._shares(values, before.shape, False) * (after - before)

    def chosen(self, values: Values) -> np.ndarray:
        """What cannot be mixed, such as the numbers of sources (h, w), 0 for none: carried to this time, at each place
        that of the result which counts more."""
        if self.unseen:
            return np.zeros_like(values(self.before))
        if _of_one(values(self.before), values(self.after)):
            return values(self.before)
        before, after = self._carried(values, whole=True)
        return before if before is after else np.where(self._shares(values, before.shape, True) < 0.5, before, after)

    def _carried(self, values: Values, whole: bool) -> tuple[np.ndarray, np.ndarray]:
        """The two results' values drawn where things are now; one and the same array at the ends of a video."""
        before, after = self._drawn((values(self.before), values(self.after)), whole)
        if self.before is not self.after:
            return before, after
        return (before, before) if self.ways[1] is None else (after, after)

    def _drawn(self, both: tuple[np.ndarray, np.ndarray], whole: bool) -> list[np.ndarray]:
        return [
            values if there is None else taken(values, there, whole)
            for values, there in zip(both, self._ends(both[0].shape), strict=True)
        ]

    def _ends(self, size: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """The ends of the two ways on a grid of this size; kept, since several things are carried along them."""
        if size not in self._known:
            self._known[size] = [None if way is None else ends(way, size) for way in self.ways]
        return self._known[size]

    def _shares(self, values: Values, size: tuple[int, ...], whole: bool) -> np.ndarray | np.float32:
        """How much the result after counts, (h, w): where other things sound as much as has switched; elsewhere each
        counts the less, the less its way here can be trusted."""
        share = np.float32(self.share) if self._trusted is None else resized(self._trusted, size)
        if self.pair.onset is None:
            return share
        one, other = self._drawn(self.pair.elsewhere(values, whole), whole=False)
        return np.where(np.maximum(one, other) > 0.5, np.float32(self.switched), share)

    @cached_property
    def _trusted(self) -> np.ndarray | None:
        to_before, to_after = self.ways
        if to_before is None or to_after is None:
            return None
        one = np.float32(1 - self.share) * (to_before[..., 2] + DOUBT)
        other = np.float32(self.share) * (to_after[..., 2] + DOUBT)
        return other / (one + other)


def _of_one(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have one and the same value everywhere."""
    return one.shape == other.shape and bool(one.min() == one.max() == other.min() == other.max())


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
        self._pair = self._paired(float("-inf"))

    def at(self, time: float) -> Instant[Found]:
        """The instant at ``time`` in seconds."""
        while self._after is not None and self._after.time <= time:
            self._before, self._after = self._after, next(self._results, None)
            self._pair = self._paired(self._before.time)
        pair = self._pair
        assert pair is not None, "a timeline of no results"
        ways = (
            pair.ways.to_first(time) if pair.ways and self._before else None,
            pair.ways.to_last(time) if pair.ways and self._after else None,
        )
        share = self._share(pair, time)
        switched = 0.0 if pair.onset is None else min(1.0, max(0.0, (time - pair.onset) / FADE + 0.5))
        return Instant(pair, share or 0.0, ways, switched, unseen=share is None)

    def _share(self, pair: Pair[Found], time: float) -> float | None:
        """How much the result after counts: nothing before a cut, all from it on; None in a scene without a result."""
        if pair.cuts:
            if self._after is not None and time >= pair.cuts[-1]:
                return 1.0
            gone = pair.cuts[0] if self._after is None else left(pair.cuts)
            return 0.0 if self._before is not None and time < gone else None
        if pair.before is pair.after:
            return 0.0
        return (time - pair.before.time) / (pair.after.time - pair.before.time)

    def _paired(self, start: float) -> Pair[Found] | None:
        """What happens from ``start`` to the next result."""
        before, after = self._before or self._after, self._after or self._before
        if before is None or after is None:
            return None
        ways, onset, cuts = None, None, ()
        if self._trail is not None:
            self._trail.forget(start)
            end = self._after.time if self._after else float("inf")
            ways, cuts = self._trail.ways(start, end), self._trail.cuts.between(start, end)
        if self._onset is not None and before is not after and not cuts:
            onset = self._onset(before, after)
        return Pair(before, after, ways, onset, self._level, cuts)
