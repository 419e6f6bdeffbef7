"""What masks of real clips score, frame by frame: nothing is resized, and no threshold is looked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from scipy import ndimage

from avseg_cli.scoring.metrics import BETA2

DEFINITIONS = {
    "miou": "mean IoU of the frames in which something visible sounds (their truth is not empty)",
    "f": "mean F-measure of those frames, beta^2 0.3",
    "point": "of those frames, the share in which the middle of the largest marked region lies in the truth",
    "empty": "of the frames whose truth is empty, the share left empty",
    "miou_all": "mean IoU of all frames; one with an empty truth counts 1 where it is left empty, else 0",
    "avsb": "mean IoU of all frames as AVSBench counts: an empty truth scores the share of pixels left empty",
    "foreground": "share of pixels marked",
    "truth": "share of pixels that sound in truth",
}


@dataclass(frozen=True)
class FrameScore:
    """One frame, or the means of many; shares from 0 to 1, None where there is no such frame. See ``DEFINITIONS``."""

    miou: float | None
    f: float | None
    point: float | None
    empty: float | None
    miou_all: float
    avsb: float
    foreground: float
    truth: float


def score_frame(predicted: np.ndarray, truth: np.ndarray) -> FrameScore:
    """Two masks of one size, bool (H, W)."""
    marked, true = float(predicted.mean()), float(truth.mean())
    if not truth.any():
        left_empty = float(not predicted.any())
        return FrameScore(None, None, None, left_empty, left_empty, 1 - marked, marked, true)
    both = int(np.count_nonzero(predicted & truth))
    iou = both / int(np.count_nonzero(predicted | truth))
    return FrameScore(iou, _f(both, predicted, truth), _points_at(predicted, truth), None, iou, iou, marked, true)


def _f(both: int, predicted: np.ndarray, truth: np.ndarray) -> float:
    if not both:
        return 0.0
    precision, recall = both / int(np.count_nonzero(predicted)), both / int(np.count_nonzero(truth))
    return (1 + BETA2) * precision * recall / (BETA2 * precision + recall)


def _points_at(predicted: np.ndarray, truth: np.ndarray) -> float:
    """1 where the centroid of the largest 8-connected region lies in the truth."""
    labels, count = cast("tuple[np.ndarray, int]", ndimage.label(predicted, structure=np.ones((3, 3))))
    if not count:
        return 0.0
    largest = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    y, x = ndimage.center_of_mass(labels == largest)
    return float(truth[round(y), round(x)])


def mean_score(scores: Iterable[FrameScore]) -> FrameScore:
    """Each figure's mean over the frames that have it; every frame weighs the same. At least one frame."""
    scores = list(scores)
    columns = {field.name: [getattr(score, field.name) for score in scores] for field in fields(FrameScore)}
    known = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return FrameScore(**{name: float(np.mean(values)) if values else None for name, values in known.items()})


def everything(size: tuple[int, int]) -> np.ndarray:
    """The mask that marks all pixels of a frame of (height, width)."""
    return np.ones(size, bool)


def centre_box(size: tuple[int, int]) -> np.ndarray:
    """The mask of the middle half of each side."""
    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


BASELINES = {"everything": everything, "centre box": centre_box}  # what needs no model
