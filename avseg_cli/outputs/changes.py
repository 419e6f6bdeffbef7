"""The instants at which what sounds becomes something else."""

from __future__ import annotations

import numpy as np

from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.results import MaskResult

SILENT = 0.001  # share of the picture below which nothing counts as sounding
SAME = 0.5  # intersection over union with the mask before, from which it is the same source


class Changes:
    """Names the change from each mask to the next, if there is one; told the masks in order."""

    def __init__(self, threshold: float) -> None:
        self._level = logit(threshold)
        self._before: np.ndarray | None = None

    def step(self, result: MaskResult) -> tuple[str, float] | None:
        """(what happens, how much from 0 to 1) at ``result``, or None where the same goes on."""
        mask, before = result.cleaned > self._level, self._before
        self._before = mask
        was_silent = before is None or before.mean() < SILENT
        if mask.mean() < SILENT:
            return None if was_silent else ("falls silent", 1.0)
        if was_silent or before is None:
            return "starts", 1.0
        overlap = float((mask & before).sum() / (mask | before).sum())
        return ("changes", 1 - overlap) if overlap < SAME else None
