"""Masks as COCO's compressed run lengths: the form pycocotools and annotation tools read."""

from __future__ import annotations

import numpy as np


def encode_rle(mask: np.ndarray) -> dict[str, object]:
    """A bool mask (H, W) -> {"size": [H, W], "counts": str}, runs down the columns, zeros first."""
    columns = np.flatnonzero(mask.any(0))
    first, last = (columns[0], columns[-1] + 1) if columns.size else (0, 0)  # the rest of a small mask costs nothing
    pixels = np.zeros((last - first) * mask.shape[0] + 2, bool)
    pixels[1:-1] = mask[:, first:last].T.reshape(-1)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + first * mask.shape[0]
    ends = changes if changes.size and changes[-1] == mask.size else np.append(changes, mask.size)
    runs = np.diff(ends, prepend=0)
    return {"size": list(mask.shape), "counts": _compress(runs.tolist())}


def _compress(runs: list[int]) -> str:
    """Runs, from the fourth on less the run two before, in 5-bit groups with a continuation bit, from '0' up."""
    text = bytearray()
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            group = value & 31
            value >>= 5  # keeps the sign
            more = value != (-1 if group & 16 else 0)
            text.append(48 + (group | 32 if more else group))
    return text.decode("ascii")
