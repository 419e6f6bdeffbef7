"""``--preview`` and ``--side-by-side``: pictures and videos to compare, asserted on their pixels."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_files import Clip, LoudRed, frames_of, is_red, rgb_of, sound_payload
from PIL import Image

from avseg_cli.base.text import clock
from avseg_cli.media.video import probe
from avseg_cli.outputs.formats.preview import CELL, FRAMES, contact_sheet
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.snapshots import Snapshot, Snapshots, fitted
from avseg_cli.outputs.sound_picture import SoundPicture, sound_picture
from avseg_cli.outputs.unmarked import UNSEEN
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions


def silent_after_two(times: np.ndarray) -> np.ndarray:
    return np.where(times < 2, 0.4, 0.0)


def segment(path: Path, name: str, output: Path, **settings: object):
    return render(probe(path), LoudRed(), {name: output}, SegmentOptions(**settings), "test")


def is_pink(image: np.ndarray) -> np.ndarray:
    """Where the highlight's contour is: more blue than the red square has."""
    return (image[..., 0].astype(int) > 180) & (image[..., 2].astype(int) - image[..., 1] > 20)


@pytest.mark.parametrize("rotation", [0, 90])
def test_left_is_the_original_and_right_the_overlay(tmp_path: Path, rotation: int) -> None:
    clip = Clip(seconds=2, rotation=rotation, place=lambda time: (0.3, 0.5)).write(tmp_path / "clip.mp4")
    done = segment(clip, "side-by-side", tmp_path / "both.mp4")
    segment(clip, "overlay", tmp_path / "overlay.mp4")
    assert done.sound == "copied" and sound_payload(tmp_path / "both.mp4") == sound_payload(clip)
    both, overlay = rgb_of(tmp_path / "both.mp4"), rgb_of(tmp_path / "overlay.mp4")
    originals = [np.rot90(image, rotation // 90) for image in rgb_of(clip)]
    assert [frame.time for frame in frames_of(tmp_path / "both.mp4")] == [frame.time for frame in frames_of(clip)]
    for index in (0, 10, 19):
        left, right = np.split(both[index], 2, axis=1)
        assert left.shape == originals[index].shape
        assert np.abs(left.astype(int) - originals[index]).mean() < 4
        assert np.abs(right.astype(int) - overlay[index]).mean() < 4
    assert is_pink(right).any() and not is_pink(left).any()


def test_what_is_too_wide_for_players_is_scaled_down_in_square_pixels(tmp_path: Path) -> None:
    video = probe(Clip(seconds=1).write(tmp_path / "clip.mp4"))
    wide = fitted(replace_size(video, 3840, 2160), 1920, 2160)
    assert wide.size == (1080, 1920) and wide.guessed_matrix == 1
    assert fitted(replace_size(video, 720, 576, Fraction(16, 11)), 400, 300).size == (220, 400)
    assert fitted(replace_size(video, 161, 121), 400, 300).size == (120, 160), "never up, and even"


def replace_size(video, width: int, height: int, aspect: Fraction = Fraction(1)):
    return replace(video, width=width, height=height, aspect=aspect)


def test_a_contact_sheet_shows_each_second_and_where_sound_ends(tmp_path: Path) -> None:
    clip = Clip(size=(320, 240), seconds=4, loudness=silent_after_two).write(tmp_path / "clip.mkv")
    segment(clip, "preview", tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    cells = [sheet[8 : 8 + 240, 8 + 328 * k : 8 + 328 * k + 320] for k in range(4)]
    assert [bool(is_pink(cell).any()) for cell in cells] == [True, True, False, False]
    assert all(is_red(cell).mean() > 0.05 for cell in cells)
    area = sheet[-60:-24, 16:-16]  # bars under the sound: full in the first half, none in the second
    pink = (area[..., 0] > 200) & (area[..., 1] < 120)
    first, second = np.split(pink[:, : pink.shape[1] // 2 * 2], 2, axis=1)
    assert first.mean() > 0.6 and second.mean() < 0.02


def test_a_contact_sheet_says_why_a_frame_has_no_colours() -> None:
    """In the room that the names of sources take."""
    result = MaskResult(0, 0.9, 1.0, np.full((64, 64), -5, np.float32), (225, 400), 64, ruled_out=UNSEEN)
    sound = SoundPicture(0.0, 1.0, np.ones(9, np.float32), np.zeros((9, 64), np.float32))
    for width, told in ((400, UNSEEN), (200, "\u2026")):
        snapshot = Snapshot(result, 0.0, np.zeros((225, width, 3), np.uint8))
        sheet = contact_sheet([snapshot], sound, [(0.9, 1.0, 0.0)], "model test")
        assert told in [text.get_text() for text in sheet.texts]


def test_a_long_video_is_thinned_out_evenly(tmp_path: Path) -> None:
    clip = Clip(seconds=40, rate=2, size=(64, 48)).write(tmp_path / "clip.mkv")
    done = segment(clip, "preview", tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert done.masks == 40
    red = is_red(sheet[8 : 8 + 48])
    starts = np.flatnonzero(np.diff(red.any(0).astype(int)) == 1)
    assert len(starts) == FRAMES and set(np.diff(starts)) == {72}, "twelve in one row, 64 pixels and a gap of 8"


def test_a_snapshot_shows_the_picture_of_its_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where masks are denser than pictures, so that several belong to one."""
    clip = Clip(seconds=3, place=lambda time: (0.15 + time / 4, 0.5))
    taken: list[Snapshot] = []
    look = Snapshots.look
    monkeypatch.setattr(Snapshots, "look", lambda self, picture: taken.append(look(self, picture)) or taken[-1])
    segment(clip.write(tmp_path / "clip.mp4"), "preview", tmp_path / "sheet.png", fps=20.0)
    snapshots = [shot for shots in taken for shot in shots]
    for shot in snapshots:
        across = np.flatnonzero(shot.result.mask.any(0))
        assert abs(across.mean() / 160 - clip.place(shot.result.time)[0]) < 0.03, "the mask is that of its time"
        seen = np.flatnonzero(is_red(shot.pixels).any(0))
        assert abs(seen.mean() / shot.pixels.shape[1] - clip.place(shot.result.time)[0]) < 0.03
    assert len({shot.result.time for shot in snapshots}) < len(snapshots)


def test_a_portrait_fits_its_cell(tmp_path: Path) -> None:
    clip = Clip(size=(640, 360), seconds=1, rotation=90).write(tmp_path / "clip.mp4")
    segment(clip, "preview", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width < CELL[1] and sheet.height > CELL[1]


def test_sound_is_pictured_where_it_is(tmp_path: Path) -> None:
    clip = Clip(seconds=4, loudness=silent_after_two, sound_rate=16000).write(tmp_path / "clip.mkv")
    for most in (4000, 60, 3):
        picture = sound_picture(probe(clip).sound, 0.0, 4.0, most)
        half = round(len(picture.peaks) / 2)
        assert picture.peaks[: half - 1].min() > 0.3
        assert len(picture.peaks) < 5 or picture.peaks[half + 1 :].max() < 0.02
        assert len(picture.peaks) <= max(most, 5)
    picture = sound_picture(probe(clip).sound, 1.0, 3.0)
    half = round(len(picture.peaks) / 2)
    assert picture.peaks[: half - 2].min() > 0.3 and picture.peaks[half + 2 :].max() < 0.02
    loudest_band = int(picture.brightness[:, 5].argmax())
    assert 35 < loudest_band < 58, "440 Hz lies in the lower third of the picture"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (3.94, "0:03.9"), (59.96, "1:00"), (3723, "1:02:03")])
def test_times_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


SHOW = """
import sys
import textual_image._terminal as asking
read = asking.read
asking.read = lambda stream, size, timeout: read(stream, size, float(sys.argv[2]))
from pathlib import Path
from rich.console import Console
from avseg_cli.cli.picture import show_picture
show_picture(Path(sys.argv[1]), Console(stderr=True, force_terminal=None))
"""
PATIENCE = {"kitty": 30.0}  # seconds for an answer, of which the library gives 0.1; a busy machine answers late
ANSWERS = {"sixel": (b"\x1b[?62;4c", b"\x1bP"), "kitty": (b"\x1b[?62c", b"\x1b_G"), "plain": (b"\x1b[?62c", b"")}


def shown_by(terminal: str, picture: Path, size: tuple[int, int, int, int] = (24, 80, 800, 480)) -> bytes:
    """What ``show_picture`` sends to a terminal that answers as the named one does. size: rows, columns, pixels."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("4H", *size))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[1])}
    running = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(picture), str(PATIENCE.get(terminal, 3.0))],
        stdin=side, stdout=side, stderr=side, env=environment,
    )  # fmt: skip
    os.close(side)
    asked = {"device": b"\x1b[c"} | ({"graphics": b"a=q"} if terminal == "kitty" else {})
    sent, answered = b"", set()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 0.05)[0]:
            continue
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        sent += piece
        open_questions = [name for name in asked if asked[name] in sent and name not in answered]
        for name in sorted(open_questions, key=lambda name: sent.index(asked[name])):  # as terminals do
            answered.add(name)
            if name == "device":
                os.write(main, ANSWERS[terminal][0])
            else:
                number = sent.split(b"i=")[1].split(b",")[0].split(b";")[0].decode()
                os.write(main, f"\x1b_Gi={number};OK\x1b\\".encode())
    assert running.wait(10) == 0, sent
    os.close(main)
    return sent


@pytest.mark.parametrize("terminal", ANSWERS)
def test_terminals_that_say_they_can_get_the_picture(terminal: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "red.png")
    sent = shown_by(terminal, tmp_path / "red.png")
    graphics = ANSWERS[terminal][1]
    questions = sent.count(b"a=q")
    assert (
        (graphics in sent and sent.count(b"\x1b_G") > questions)
        if terminal == "kitty"
        else ((b"\x1bP" in sent) == (terminal == "sixel"))
    )
    if terminal == "plain":
        assert "▀".encode() not in sent and "█".encode() not in sent, "no picture of blocks"


def test_a_terminal_without_a_size_is_left_alone(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "red.png")
    assert shown_by("sixel", tmp_path / "red.png", (0, 0, 0, 0)) == b""


def test_pipes_get_no_picture_and_no_question(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "red.png")
    ran = subprocess.run(
        [sys.executable, "-c", SHOW, str(tmp_path / "red.png")],
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
