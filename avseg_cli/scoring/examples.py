"""The clips a model did best and worst on, kept to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avseg_cli.scoring.scores import ClipScore


@dataclass(frozen=True)
class Example:
    """A scored clip. frames: uint8 (A, 224, 224, 3), truth and prediction: bool (A, 224, 224)."""

    score: ClipScore
    frames: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


class Extremes:
    """Keeps the ``count`` best and ``count`` worst of the examples it is shown, by IoU."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[Example] = []  # by falling IoU

    def show(self, example: Example) -> None:
        """Keep an example if it is one of the best or worst so far; a truth that is empty has nothing to show."""
        if not example.score.scored_frames:
            return
        self._kept.append(example)
        self._kept.sort(key=lambda kept: -kept.score.iou)
        if len(self._kept) > 2 * self.count:
            del self._kept[self.count]  # the one in the middle

    @property
    def best(self) -> list[Example]:
        """The best first."""
        return self._kept[: min(self.count, (len(self._kept) + 1) // 2)]

    @property
    def worst(self) -> list[Example]:
        """The worst first; none that is among the best."""
        return self._kept[len(self.best) :][::-1][: self.count]
