"""Clean-up of masks: small pieces, holes, the outline moved and softened, alike in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_files import Clip, LoudRed, frames_of, is_red
from PIL import Image
from plain_forms import decode_rle

from avseg_cli.base.errors import InputError
from avseg_cli.outputs.cleanup import Cleanup
from avseg_cli.outputs.refine import refined
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.shapes import signed_distance
from avseg_cli.outputs.tidy import tidied
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions

SIZE = (1080, 1920)


def blob(*ellipses: tuple[float, float, float, float, float]) -> np.ndarray:
    """Logits (128, 128): the greatest of soft ellipses (row, column, half height, half width, sign)."""
    rows, columns = np.mgrid[:128, :128].astype(np.float32) + 0.5
    logits = np.full((128, 128), -8.0, np.float32)
    for row, column, high, wide, sign in ellipses:
        inside = 6 * (1 - np.hypot((rows - row) / high, (columns - column) / wide))
        logits = np.maximum(logits, inside) if sign > 0 else np.minimum(logits, -inside)
    return logits


def mask_of(logits: np.ndarray, **cleanup: object) -> np.ndarray:
    return MaskResult(0, 0.0, 1.0, logits, SIZE, 512, cleanup=Cleanup(**cleanup)).mask  # type: ignore[arg-type]


def test_nothing_is_touched_unless_asked() -> None:
    logits = blob((64, 64, 30, 20, 1))
    assert tidied(logits, 0.0, SIZE, Cleanup()) is logits
    assert tidied(logits, 0.0, SIZE, Cleanup(min_area="0", grow="0%")) is logits


@pytest.mark.parametrize(("least", "left"), [("100", 3), ("9000", 2), ("1%", 1), ("90%", 0)])
def test_small_pieces_go_and_large_ones_stay_as_they_were(least: str, left: int) -> None:
    logits = blob((40, 40, 25, 15, 1), (100, 100, 6, 6, 1), (100, 20, 3, 3, 1))  # 141372, 14314 and 3578 pixels
    whole, cleaned = mask_of(logits), mask_of(logits, min_area=least)
    pieces, labels = cv2.connectedComponents(cleaned.astype(np.uint8))
    assert pieces - 1 == left
    changed = (whole != cleaned) & (labels > 0)
    assert changed.mean() < 1e-4, "the outline of what stays does not move"
    assert not left or np.abs((whole & (labels == labels[340, 600])).sum() - (labels == labels[340, 600]).sum()) < 200


def test_what_is_left_out_leaves_no_faint_trace() -> None:
    rows, columns = np.mgrid[:128, :128].astype(np.float32)
    logits = 0.3 - np.hypot(rows - 64, columns - 64) / 40  # a faint hill
    cleaned = tidied(logits, 0.0, SIZE, Cleanup(min_area="50%"))
    assert (logits > 0).any() and cleaned.max() <= -0.25, "nor a soft edge where a piece was"


def test_holes_are_filled_but_not_what_opens_to_the_border() -> None:
    logits = blob((64, 64, 40, 40, 1), (64, 64, 8, 8, -1))
    assert not mask_of(logits)[540, 960] and mask_of(logits, fill_holes=True)[540, 960]
    ring, filled = mask_of(logits), mask_of(logits, fill_holes=True)
    outside = ~cv2.dilate(filled.astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert not (ring & outside).any() and (ring & ~filled).sum() < 200
    frame = np.full((128, 128), -5.0, np.float32)
    frame[:, 40:60] = 5
    assert np.abs(mask_of(frame, fill_holes=True).mean() - mask_of(frame).mean()) < 1e-3


@pytest.mark.parametrize("pixels", [-40, -9, -2, 2, 7, 31])
def test_the_outline_moves_by_as_many_pixels(pixels: int) -> None:
    logits = blob((64, 64, 40, 22.5, 1))  # a circle of 337 pixels on the screen
    for amount in (str(pixels), f"{pixels / 10.8:.3f}%"):
        cleaned = mask_of(logits, grow=amount)
        radius = np.sqrt(cleaned.sum() / np.pi)
        assert radius == pytest.approx(337.5 + pixels, abs=1.2)
        edge = cv2.findContours(cleaned.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        assert len(edge) == 1
        away = np.hypot(*(edge[0][:, 0] + 0.5 - (960, 540)).T)
        assert np.abs(away - 337 - pixels).max() < 4, "alike to every side"


@pytest.mark.parametrize("width", [0, 12, 60])
def test_a_feather_is_as_wide_as_said_and_keeps_the_outline(width: int) -> None:
    logits = blob((64, 64, 40, 22.5, 1))
    cleaned = tidied(logits, 0.0, SIZE, Cleanup(feather=str(width)))
    from avseg_cli.outputs.drawing import Upsampler, opacity

    soft = opacity(Upsampler(128, 512, SIZE).full(cleaned), 255)[540, 960:]
    assert (soft[:200] == 255).all() and (soft[500:] == 0).all()
    between = np.count_nonzero((soft > 0) & (soft < 255))
    assert between == pytest.approx(max(width, 1), abs=max(4, 0.15 * width))
    assert np.flatnonzero(soft < 128)[0] == pytest.approx(337, abs=2)
    assert np.abs(mask_of(logits, feather=str(width)).sum() / mask_of(logits).sum() - 1) < 0.003


def test_refined_outlines_follow_the_edges_of_the_picture(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:288, :512]
    truth = np.hypot(rows - 150, columns - 230) < 70
    noise = np.random.default_rng(0).normal(size=(288, 512, 3))
    guide = np.clip(np.where(truth[..., None], (200, 120, 60), (90, 110, 130)) + 6 * noise, 0, 255).astype(np.uint8)
    coarse = cv2.GaussianBlur(np.where(truth, 6.0, -6.0).astype(np.float32), (0, 0), 4)
    coarse += cv2.GaussianBlur(np.random.default_rng(1).normal(size=(288, 512)).astype(np.float32), (0, 0), 6) * 60
    found = refined(coarse, guide) > 0

    def iou(mask: np.ndarray) -> float:
        return (mask & truth).sum() / (mask | truth).sum()

    assert iou(coarse > 0) < 0.92 and iou(found) > 0.97
    still = refined(np.full((288, 512), -5, np.float32), guide)
    assert (still < 0).all(), "nothing comes from nothing"


def test_masks_and_pictures_are_refined_alike(tmp_path: Path) -> None:
    clip = Clip(seconds=1, tags=(1, 1, 1, 1), size=(320, 240), rotation=90)
    path = clip.write(tmp_path / "clip.mp4")
    outputs = {"masks": tmp_path / "m", "cutout": tmp_path / "c.mov"}
    render(path, LoudRed(), outputs, SegmentOptions(cleanup=Cleanup(refine=True)), "test")
    square = is_red(np.rot90(clip.picture(0)))
    mask = np.asarray(Image.open(next(outputs["masks"].glob("*.png")))) > 0
    cutout = frames_of(outputs["cutout"])[9].reformat(format="rgba").to_ndarray()[..., 3] > 127
    for found in (mask, cutout):
        assert (found & square).sum() / (found | square).sum() > 0.95


def test_distances_are_exact_beside_an_outline_and_close_to_it_elsewhere() -> None:
    rows, columns = np.mgrid[:288, :512].astype(np.float32)
    true = 60.7 - np.hypot(rows - 140.3, columns - 250.6)
    found = signed_distance(np.tanh(true / 20) * 5)
    assert np.abs(found - true)[np.abs(true) < 1].max() < 0.1
    assert np.abs(found - true)[np.abs(true) < 30].max() < 0.7
    assert (signed_distance(np.full((4, 4), 1, np.float32)) > 1000).all()
    assert (signed_distance(np.full((4, 4), -1, np.float32)) < -1000).all()


@pytest.mark.parametrize(("field", "said", "words"), [
    ("min_area", "-3", "min_area -3 is out of range; give 0 or more"),
    ("grow", "wide", "grow 'wide' is no amount; give pixels as in 12, or percent as in 1.5%"),
    ("feather", "101%", "feather 101% is out of range; give at most 100%"),
    ("grow", "1e400", "no amount"), ("feather", "", "no amount"),
])  # fmt: skip
def test_amounts_that_cannot_be_are_refused(field: str, said: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Cleanup(**{field: said})  # type: ignore[arg-type]


def test_all_formats_have_the_same_clean_masks(tmp_path: Path) -> None:
    clip = Clip(seconds=2, tags=(1, 1, 1, 1), size=(320, 240), loudness=lambda t: 0.4 + 0 * t)
    path = clip.write(tmp_path / "clip.mp4")
    names = {
        "overlay": "o.mp4",
        "masks": "m",
        "json": "j.json",
        "cutout": "c.mov",
        "preview": "p.png",
        "report": "r.html",
    }
    outputs = {name: tmp_path / file for name, file in names.items()}
    render(path, LoudRed(), outputs, SegmentOptions(cleanup=Cleanup(grow="-10")), "test")
    square = is_red(clip.picture(0))
    wanted = cv2.erode(square.astype(np.uint8), np.ones((21, 21), np.uint8)) > 0
    document = json.loads(outputs["json"].read_text())
    assert document["settings"]["cleanup"]["grow"] == "-10"
    found = {
        "masks": np.asarray(Image.open(sorted(outputs["masks"].glob("*.png"))[0])) > 0,
        "json": decode_rle(document["masks"][0]["rle"]),
        "cutout": frames_of(outputs["cutout"])[12].reformat(format="rgba").to_ndarray()[..., 3] > 127,
    }
    for name, mask in found.items():
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.9, name
        assert mask.sum() == pytest.approx(document["masks"][0]["area"], rel=0.02), name
    told = re.search(r"&#34;fraction&#34;: ([0-9.]+)", outputs["report"].read_text())
    assert told and float(told[1]) == pytest.approx(document["masks"][0]["fraction"], abs=1e-4)
    assert document["masks"][0]["sources"][0]["area"] == document["masks"][0]["area"]


def test_tracks_and_markers_know_only_what_clean_up_leaves(tmp_path: Path) -> None:
    clip = Clip(seconds=2, tags=(1, 1, 1, 1), size=(320, 240), loudness=lambda t: 0.4 + 0 * t)
    path = clip.write(tmp_path / "clip.mp4")
    for cleanup in (Cleanup(grow="10"), Cleanup(min_area="90%")):
        outputs = {"json": tmp_path / f"{cleanup.grow}.json", "markers": tmp_path / f"{cleanup.grow}.csv"}
        render(path, LoudRed(), outputs, SegmentOptions(cleanup=cleanup), "test")
        document = json.loads(outputs["json"].read_text())
        areas = [source["area"] for mask in document["masks"] for source in mask["sources"]]
        assert [track["area"] for track in document["tracks"]] == ([np.mean(areas)] if areas else [])
        assert outputs["markers"].read_text().count("seen") == len(document["tracks"]) == (cleanup.grow == "10")
