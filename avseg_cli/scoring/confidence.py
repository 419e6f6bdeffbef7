"""How far a figure of a split may lie from what other clips of the same kind would give: bootstrap over the clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avseg_cli.scoring.scores import ClipScore

RESAMPLES, SEED = 1000, 0
LEVEL = 0.95
TOLD = f"{LEVEL:.0%} of {RESAMPLES} resamples of the clips (seed {SEED})"


def intervals(scores: Sequence[ClipScore]) -> dict[str, tuple[float, float]]:
    """The middle 95 % of each figure over resamples of the clips with replacement: (low, high) by figure."""
    count = len(scores)
    picks = np.random.default_rng(SEED).integers(count, size=(RESAMPLES, count))
    times = np.stack([np.bincount(pick, minlength=count) for pick in picks]).astype(np.float64)  # (R, clips)
    curves = times @ np.stack([score.curve_sum.numpy() for score in scores])  # (R, 255)
    frames = times @ np.array([score.scored_frames for score in scores])
    resampled = {
        name: times @ np.array([getattr(score, field) for score in scores]) / count
        for name, field in (("miou", "iou"), ("f", "f"), ("foreground", "foreground"))
    }
    resampled["f_dataset"] = curves.max(1) / np.maximum(frames, 1)
    outside = 100 * (1 - LEVEL) / 2
    ends = {name: np.percentile(values, (outside, 100 - outside)) for name, values in resampled.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
