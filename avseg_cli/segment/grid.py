"""The instants of a video at which the model looks."""

from __future__ import annotations

from dataclasses import dataclass

from avseg_cli.base.errors import InputError, named

BEFORE_THE_END = 1 / 16  # seconds from a grid frame to the end of its second: AVSBench takes frame l + 15/16
MAX_FPS = 120.0


@dataclass(frozen=True)
class Grid:
    """The instants at which masks are predicted.

    fps: masks a second. By default a clip holds frames one second apart, as in training, so that ``fps`` such
    sequences interleave (``fps`` must be whole); ``consecutive`` clips hold neighbouring grid frames instead
    (paper, Fig. 7.2). Raises ``InputError`` for values that make no grid.
    """

    fps: float = 1.0
    consecutive: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fps <= MAX_FPS:
            raise InputError(f"{named('fps')} {self.fps:g} is out of range; give more than 0 and at most {MAX_FPS:g}")
        if not self.consecutive and self.fps != int(self.fps):
            raise InputError(f"{named('fps')} {self.fps:g} is not whole; round it, or add {named('consecutive')}")

    @property
    def step(self) -> float:
        """Seconds between masks."""
        return 1.0 / self.fps

    @property
    def phases(self) -> int:
        """How many interleaved sequences of frames there are."""
        return 1 if self.consecutive else int(self.fps)

    @property
    def ahead(self) -> float:
        """Seconds by which the second of sound ends after a shorter step, so that a whole step lies in its middle."""
        return max(0.0, (1 - self.step) / 2)

    def heard_until(self, end: float, start: float, over: float | None) -> float:
        """When the second of sound of a step that ends at ``end`` is over; a video is heard from ``start`` seconds on
        and is over at ``over``, where that is known.

        The first steps of several a second hear its first second, and the last ones its last: of others a part would
        be missing.
        """
        if self.step >= 1:
            return end
        latest = end + self.ahead if over is None else max(end, min(end + self.ahead, over))
        return max(latest, start + 1)

    @property
    def lead(self) -> float:
        """Seconds from a grid frame to the end of its step."""
        return min(BEFORE_THE_END, self.step / 2)
