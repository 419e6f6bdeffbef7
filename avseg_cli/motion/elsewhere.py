"""Where two masks of one moment show different things, rather than one thing's outline a little differently."""

from __future__ import annotations

import cv2
import numpy as np

RIM = 1 / 48  # of the mask's side: what is narrower, and lies along what both show, is an outline
FRINGE = 1  # cells around, whose values belong to the edge of what is there


def elsewhere(differs: np.ndarray, common: np.ndarray) -> np.ndarray:
    """The pieces of ``differs`` that are things of their own: bool (h, w), as both arguments.

    differs: inside one mask only. common: inside both. A piece is a thing where it is thicker than an outline's
    shift, or touches nothing that both show.
    """
    if not differs.any():
        return differs
    count, pieces = cv2.connectedComponents(differs.astype(np.uint8), connectivity=8)
    thick = 2 * max(1, round(RIM * max(differs.shape))) + 1
    own = np.ones(count, bool)
    own[pieces[cv2.dilate(common.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0]] = False
    core = cv2.erode(differs.astype(np.uint8), np.ones((thick, thick), np.uint8), borderValue=1)
    own[pieces[core > 0]] = True
    own[0] = False
    around = np.ones((2 * FRINGE + 1, 2 * FRINGE + 1), np.uint8)
    return cv2.dilate(own[pieces].astype(np.uint8), around) > 0
