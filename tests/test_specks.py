"""Marks smaller than two of the image encoder's tokens are dropped, from a model with coarse outlines."""

from __future__ import annotations

import numpy as np

from avseg_cli.outputs.specks import without_specks


def test_pieces_below_two_tokens_go_and_larger_ones_stay_as_they_are() -> None:
    logits = np.full((128, 128), -3, np.float32)
    logits[10:14, 10:17] = 2  # 28 cells; a token has 16
    logits[60:64, 60:68] = 5  # 32
    logits[100, 100] = 0.5  # at the level: not marked at all
    cleaned = without_specks(logits, 0.5, 1024)
    assert (cleaned[10:14, 10:17] == -1).all(), "as far below the level as it was above"
    logits[10:14, 10:17] = -1
    assert np.array_equal(cleaned, logits) and cleaned.dtype == np.float32


def test_nothing_stays_nothing() -> None:
    assert (without_specks(np.full((256, 256), -9, np.float32), 0.0, 1024) == -9).all()
