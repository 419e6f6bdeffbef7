"""The model that comes with the package on a real film: a man speaks into a webcam, types, and is silent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from avseg_cli import MaskResult, Segmenter, segment_video

FILM = Path(__file__).parents[1] / "examples/speaks.mp4"
MAN = (  # drawn by hand on the second that begins at 1 s, in parts of the picture
    (0.0, 1.0), (0.02, 0.92), (0.1, 0.85), (0.24, 0.78), (0.335, 0.75), (0.345, 0.55), (0.29, 0.5), (0.28, 0.38),
    (0.315, 0.3), (0.34, 0.2), (0.4, 0.165), (0.47, 0.165), (0.53, 0.2), (0.555, 0.28), (0.555, 0.33), (0.595, 0.4),
    (0.59, 0.52), (0.555, 0.56), (0.53, 0.62), (0.52, 0.74), (0.6, 0.79), (0.72, 0.85), (0.8, 0.95), (0.82, 1.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def seconds() -> list[MaskResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AVSEG_DEFAULT_CHECKPOINT")
        return list(segment_video(FILM, Segmenter.load(device="cpu", precision="fp32")))


def test_who_speaks_is_marked_to_the_outline(seconds: list[MaskResult]) -> None:
    height, width = seconds[1].size
    picture = Image.new("1", (width, height))
    ImageDraw.Draw(picture).polygon([(x * width, y * height) for x, y in MAN], fill=1)
    man, mask = np.asarray(picture), seconds[1].mask
    assert (man & mask).sum() / (man | mask).sum() > 0.8
    shares = [result.mask.mean() for result in seconds[:3]]
    assert all(0.25 < share < 0.4 for share in shares), shares


def test_who_types_out_of_the_picture_and_who_is_silent_is_not(seconds: list[MaskResult]) -> None:
    assert [k for k, result in enumerate(seconds) if result.mask.any()] == [0, 1, 2, 6]
    strongest = [result.heard[0][0] for result in seconds]
    assert strongest[1:5] == ["speech", "speech", "typing", "typing"] and strongest[7:] == ["none", "none"]


def test_no_mark_is_smaller_than_two_tokens(seconds: list[MaskResult]) -> None:
    for result in seconds:
        pieces = cv2.connectedComponentsWithStats((result.logits > 0).view(np.uint8), connectivity=8)[2][1:]
        assert all(piece[cv2.CC_STAT_AREA] >= 2 / 1024 * result.logits.size for piece in pieces)
