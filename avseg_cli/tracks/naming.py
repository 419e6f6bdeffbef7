"""What a source is called: the kind of thing that is both heard in its seconds and seen under its pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from torch import Tensor

Placed = Mapping[str, np.ndarray]  # kind of thing -> how probably it is seen at each place (g, g) and heard
Scores = dict[str, float]

UNLIKELY = 0.05  # highest probability in a picture below which a kind of thing is not there
NAMED = 0.15  # mean probability under a source from which it is called so
UNSURE = 0.7  # likeness of what has no name to anything


def placed(kinds: Sequence[str], maps: Tensor | None, count: int) -> list[Placed]:
    """For each of so many pictures the few kinds that are likely there, of maps (N, S, g, g); none without maps.

    Only these few leave the device.
    """
    if maps is None:
        return [{}] * count
    likely = (maps.amax((2, 3)) >= UNLIKELY).cpu()
    return [
        {kinds[int(k)]: own[k].float().cpu().numpy() for k in there.nonzero().flatten().tolist()}
        for own, there in zip(maps, likely, strict=True)
    ]


def scores(piece: np.ndarray, there: Placed) -> Scores:
    """The mean probability of each kind under a piece, bool (h, w)."""
    if not there:
        return {}
    side = next(iter(there.values())).shape
    weight = cv2.resize(piece.astype(np.float32), side[::-1], interpolation=cv2.INTER_AREA)
    weight /= max(float(weight.sum()), 1e-6)
    return {kind: float((weight * probability).sum()) for kind, probability in there.items()}


def named(totals: Scores, masks: int) -> tuple[str, float]:
    """The name of a source and how sure it is, by the sums of its scores over so many masks; "" where none is known."""
    kind, total = max(totals.items(), key=lambda pair: pair[1], default=("", 0.0))
    sure = total / max(1, masks)
    return (kind, sure) if sure >= NAMED else ("", 0.0)


def alike(one: Scores, other: Scores) -> float:
    """How well two sets of scores agree, 0 to 1; ``UNSURE`` where one of them says next to nothing."""
    lengths = [float(np.sqrt(sum(value**2 for value in own.values()))) for own in (one, other)]
    if min(lengths) < NAMED / 2:
        return UNSURE
    return sum(value * other.get(kind, 0.0) for kind, value in one.items()) / (lengths[0] * lengths[1])
