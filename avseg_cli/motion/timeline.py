"""What was found at a few instants, at any time between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np


class Timed(Protocol):
    """What was found at ``time``, in seconds."""

    @property
    def time(self) -> float: ...


Found = TypeVar("Found", bound=Timed)


@dataclass(frozen=True)
class Instant(Generic[Found]):
    """A time between two results, of which ``after`` counts with ``share``; at the ends of a video both are one."""

    before: Found
    after: Found
    share: float

    def between(self, values: Callable[[Found], np.ndarray]) -> np.ndarray:
        """The numbers (..., h, w) of the two results, such as logits, mixed for this time."""
        before, after = values(self.before), values(self.after)
        return before + np.float32(self.share) * (after - before)

    def chosen(self, values: Callable[[Found], np.ndarray]) -> np.ndarray:
        """What cannot be mixed, such as the numbers of sources (h, w): at each place that of the result which counts
        more."""
        return values(self.before if self.share < 0.5 else self.after)


class Timeline(Generic[Found]):
    """The results around any time; asked with times that never run back."""

    def __init__(self, results: Iterator[Found]) -> None:
        self._results = results
        self._before: Found | None = None
        self._after: Found | None = next(results, None)

    def at(self, time: float) -> Instant[Found]:
        """The instant at ``time`` in seconds."""
        while self._after is not None and self._after.time <= time:
            self._before, self._after = self._after, next(self._results, None)
        before, after = self._before or self._after, self._after or self._before
        assert before is not None and after is not None, "a timeline of no results"
        if before is after:
            return Instant(before, after, 0.0)
        return Instant(before, after, (time - before.time) / (after.time - before.time))
