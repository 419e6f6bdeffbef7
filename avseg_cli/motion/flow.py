"""How the picture moves from one frame to the next, and where each place of one frame lies in another.

Optical flow is OpenCV's DIS on small grey pictures, half a millisecond each way. A *way* says for each cell of these
where it lies in another frame: float32 (h, w, 3), x and y in cells and the trust in them, 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from avseg_cli.base.grids import resized

SIDE = 128  # pixels of the longer side of the small pictures: the cells of a way
PATCH, STRIDE = 6, 4  # pixels: patches this small follow thin things
ROUNDS = 6  # in which a patch finds its place
SLIP = 1.0  # cells by which there and back may miss each other before the trust falls
SLACK = 0.05  # and more by this share of the distance
CUT = 0.35  # share of cells that are trusted, below which two neighbours show different scenes
FLAT = 4.0  # contrast, as standard deviation, below which there is nothing to follow: black, or a flash
GLANCE = 0.4  # mean difference of two pictures in contrasts of theirs: of one scene below 0.35, of two from 0.85 on


def small_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the small picture for one of ``size``."""
    height, width = (max(16, round(side * SIDE / max(size))) for side in size)
    return height, width


@dataclass(frozen=True)
class Step:
    """From one picture to the next, at ``time`` seconds: float16 (h, w, 2), x and y in cells.

    back: for each cell of the next how far away it was before; forth: for each cell of the one before how far it went.
    cut: the two show different scenes.
    """

    time: float
    back: np.ndarray
    forth: np.ndarray
    cut: bool = False

    def ways(self) -> tuple[np.ndarray, np.ndarray]:
        """The way from the next picture to the one before, and that from the one before to the next."""
        return _way(self.back, not self.cut), _way(self.forth, not self.cut)


class Flow:
    """Finds the step between small grey pictures, uint8 (H, W)."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)  # our threads share the cores, so OpenCV takes one for each
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(0)
        self._dis.setGradientDescentIterations(ROUNDS)
        self._dis.setPatchSize(PATCH)
        self._dis.setPatchStride(STRIDE)

    def step(self, before: np.ndarray, after: np.ndarray, time: float) -> Step:
        """How ``before`` became ``after``; over a cut nothing moves."""
        still = np.zeros((*before.shape, 2), np.float16)
        if np.array_equal(before, after):
            return Step(time, still, still)
        if _becomes_flat(before, after):
            return Step(time, still, still, cut=True)
        back, forth = self._dis.calc(after, before, None), self._dis.calc(before, after, None)
        if differ(before, after) and _share_that_returns(_way(back, True), _way(forth, True)) < CUT:
            return Step(time, still, still, cut=True)
        return Step(time, back.astype(np.float16), forth.astype(np.float16))


def _share_that_returns(back: np.ndarray, forth: np.ndarray) -> float:
    """How much of two pictures, at least, is trusted to be found in the other."""
    return min(float(trusted(way, other)[..., 2].mean()) for way, other in ((back, forth), (forth, back)))


def differ(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether grey pictures (H, W) differ so much that a cut may lie between them."""
    contrast = max(1.0, min(_contrast(before), _contrast(after)))
    return float(cv2.absdiff(before, after).mean()) > GLANCE * contrast


def _becomes_flat(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a picture gives way to black or to a flash, or the other way round."""
    return (_contrast(before) < FLAT) != (_contrast(after) < FLAT) and differ(before, after)


def _contrast(grey: np.ndarray) -> float:
    return float(cv2.meanStdDev(grey)[1][0, 0])


def trusted(way: np.ndarray, returning: np.ndarray) -> np.ndarray:
    """The way trusted where who goes there and comes back by ``returning`` arrives at home."""
    home = unmoved(*way.shape[:2])
    miss, far = _squared(_sampled(returning, way), home), _squared(way, home)
    sure = way.copy()
    sure[..., 2] *= np.exp(-miss / (SLIP**2 + SLACK**2 * far))
    return sure


def _squared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The square of the distance between places, (h, w). By x and y: numpy sums over an axis of two slowly."""
    x, y = (one[..., axis] - other[..., axis] for axis in (0, 1))
    return x * x + y * y


def _sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values at the places, x and y in cells (h, w, 2 or more)."""
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@cache
def unmoved(height: int, width: int) -> np.ndarray:
    """The way from a picture to itself."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.dstack([x, y, np.ones_like(x)])


def _way(flow: np.ndarray, trusted: bool) -> np.ndarray:
    way = unmoved(*flow.shape[:2]).copy()
    way[..., :2] += flow
    way[..., 2] = trusted
    return way


def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The way that goes the first one and from its end the second one."""
    way = _sampled(second, first)
    way[..., 2] *= first[..., 2]
    return way


def ends(way: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where each cell of a grid of another size, (height, width), lies at the end of a way: x and y in its cells."""
    x, y = cv2.split(resized(way[..., :2], size))
    for places, cells, wide in ((x, size[1], way.shape[1]), (y, size[0], way.shape[0])):
        places += 0.5
        places *= cells / wide
        places -= 0.5
    return x, y


def moved(way: np.ndarray) -> np.ndarray:
    """The square of the distance, in cells, that each place goes: (h, w)."""
    return _squared(way, unmoved(*way.shape[:2]))


def carried(values: np.ndarray, way: np.ndarray, whole: bool = False) -> np.ndarray:
    """What lies at the end of a way: the values (h, w) of one picture, drawn where its things are in another.

    whole: values are names, not amounts: none in between is made.
    """
    return taken(values, ends(way, values.shape), whole)


def taken(values: np.ndarray, there: tuple[np.ndarray, np.ndarray], whole: bool = False) -> np.ndarray:
    """``carried``, where the ends of the way, ``there``, are known."""
    between = cv2.INTER_NEAREST if whole else cv2.INTER_LINEAR
    found = cv2.remap(values.astype(np.float32, copy=False), *there, between, borderMode=cv2.BORDER_REPLICATE)
    return found.astype(values.dtype, copy=False)
