"""Clean-up of masks, as the options in ``cleanup`` say: one stage between the model and all that is written."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.media.video import Picture
from avseg_cli.outputs.cleanup import Cleanup
from avseg_cli.outputs.logits import EDGE
from avseg_cli.outputs.refine import fine, refined
from avseg_cli.outputs.shapes import LONGEST, signed_distance, square_grid
from avseg_cli.outputs.specks import small_pieces

CERTAIN = np.float32(1.0)  # logits from the threshold at which a soft edge has long ended
SHARPEST = 1.0  # pixels of an edge, which is still anti-aliased


def tidied(
    logits: np.ndarray, level: float, size: tuple[int, int], cleanup: Cleanup, guide: np.ndarray | None = None
) -> np.ndarray:
    """Logits (h, w) cleaned, for a video of ``size`` (height, width) whose pixels sound above ``level``.

    guide: the picture as ``guide_of`` gives it, where outlines are to be fitted to it.
    The same array where there is nothing to do; else float32 logits on a grid of square cells.
    """
    if cleanup.idle:
        return logits
    margin = resized(logits - np.float32(level), square_grid(size))
    pixels = size[1] / margin.shape[1]  # of a cell
    if cleanup.refine and guide is not None:
        margin = refined(margin, guide)
    if least := cleanup.amount("min_area").of(size[0] * size[1]):
        margin = without_crumbs(margin, least / pixels**2)
    if cleanup.fill_holes:
        margin = without_holes(margin)
    further = cleanup.amount("grow").of(size[0])
    if further or cleanup.feather is not None:
        soft = pixels if cleanup.feather is None else cleanup.amount("feather").of(size[0])
        distance = signed_distance(margin) * np.float32(pixels) + np.float32(further)
        margin = distance / np.float32(EDGE * max(soft, SHARPEST))
    return margin + np.float32(level)


def guide_of(picture: Picture, cleanup: Cleanup) -> np.ndarray | None:
    """The picture as ``tidied`` takes it, uint8 RGB, small; None where it is not needed."""
    if not cleanup.refine:
        return None
    height, width = square_grid(picture.video.size)
    return replace(picture, video=replace(picture.video, width=width, height=height)).rgb()


def guide_from(pixels: np.ndarray, cleanup: Cleanup) -> np.ndarray | None:
    """As ``guide_of``, for pixels uint8 RGB (H, W, 3)."""
    return fine(pixels, LONGEST) if cleanup.refine else None


def without_crumbs(margin: np.ndarray, least: float) -> np.ndarray:
    """``margin`` (h, w) without pieces of fewer than ``least`` cells above 0, and without what of them is faint."""
    inside = margin > 0
    crumbs = small_pieces(inside, least, connectivity=4)
    kept = inside & ~crumbs
    _, shown = cv2.connectedComponents((margin > -0.5 / EDGE).view(np.uint8), connectivity=4)
    faint = np.ones(int(shown.max()) + 1, bool)  # pieces with their soft edge that hold nothing of what is kept
    faint[shown[kept]] = False
    gone = faint[shown] | (_widened(crumbs, 2) & ~_widened(kept, 1))
    return np.where(gone, np.minimum(margin, -CERTAIN), margin)


def without_holes(margin: np.ndarray) -> np.ndarray:
    """``margin`` (h, w) with what lies below 0 filled where it does not reach the border."""
    outside = margin <= 0
    _, pieces = cv2.connectedComponents(outside.view(np.uint8), connectivity=8)
    open_ = np.zeros(int(pieces.max()) + 1, bool)
    for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        open_[side] = True
    holes = outside & ~open_[pieces]
    filled = holes | ~outside
    inner = _widened(holes, 2) & ~_widened(~filled, 1)
    return np.where(inner | holes, np.maximum(margin, CERTAIN), margin)


def _widened(cells: np.ndarray, by: int) -> np.ndarray:
    return cv2.dilate(cells.view(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0
