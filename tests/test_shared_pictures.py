"""One decoding for two readers: the same pictures, within a bound of memory, whatever the other one does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from media_files import Clip, LoudRed

from avseg_cli.base.errors import OutputError
from avseg_cli.media import shared_pictures
from avseg_cli.media.movie import Movie
from avseg_cli.media.shared_pictures import SharedPictures
from avseg_cli.media.video import Picture, VideoReader, probe
from avseg_cli.outputs.formats.overlay import OverlayWriter
from avseg_cli.segment import runner
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(seconds=8, rate=5).write(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The file of each time that pictures were decoded."""
    begun, own = [], VideoReader.__iter__
    monkeypatch.setattr(VideoReader, "__iter__", lambda self: begun.append(self.video.path) or own(self))
    return begun


def room(monkeypatch: pytest.MonkeyPatch, enough: int, most: int) -> None:
    """Room for that many frames."""
    monkeypatch.setattr(shared_pictures, "_size", lambda picture: 1)
    monkeypatch.setattr(shared_pictures, "ENOUGH", enough)
    monkeypatch.setattr(shared_pictures, "MOST", most)


def shared_by_two(clip: Path, ahead: float = 1.0, free: int | None = None) -> tuple[SharedPictures, Iterator[Picture]]:
    """What the first iterates over, and the pictures again for the second."""
    shared = SharedPictures(VideoReader(probe(clip)), ahead, free)
    return shared, shared.behind()


def in_thread(pictures: Iterator[Picture]) -> tuple[threading.Thread, list[Picture]]:
    read: list[Picture] = []
    thread = threading.Thread(target=lambda: read.extend(pictures), daemon=True)
    thread.start()
    return thread, read


def drawn(clip: Path, path: Path, **options: float) -> bytes:
    render(probe(clip), LoudRed(), {"overlay": path}, SegmentOptions(**options), "test")
    return path.read_bytes()


def test_both_get_all_pictures_of_one_decoding(clip: Path, decodings: list[Path]) -> None:
    shared = SharedPictures(VideoReader(probe(clip), 1.0, 7.0), 1.0, None)
    again = shared.behind()
    thread, ahead = in_thread(iter(shared))
    behind = list(again)
    thread.join()
    assert [picture.time for picture in behind] == pytest.approx(np.arange(1, 7, 0.2))
    assert all(one is other for one, other in zip(ahead, behind, strict=True)) and len(decodings) == 1


def test_nothing_is_kept_for_nobody(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 1, 1)
    shared = SharedPictures(VideoReader(probe(clip)), 1.0, None)
    assert len(list(shared)) == 40 and not shared._kept


def test_the_one_ahead_waits_unless_it_is_waited_for(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 4, 100)
    shared, again = shared_by_two(clip)
    thread, ahead = in_thread(iter(shared))
    time.sleep(0.5)
    assert len(ahead) == 4, "the fifth is not given before there is room"
    next(again)
    time.sleep(0.5)
    assert len(ahead) == 5
    with shared.awaited():
        thread.join(10)
    assert len(ahead) == 40 and len(list(again)) == 39


def test_closing_wakes_both(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 4, 100)
    shared, again = shared_by_two(clip)
    ahead, _ = in_thread(iter(shared))
    time.sleep(0.3)
    behind, _ = in_thread(again)
    shared.close()
    ahead.join(10)
    behind.join(10)
    assert not ahead.is_alive() and not behind.is_alive()


def test_a_file_that_fails_ends_the_one_behind(clip: Path) -> None:
    class Failing(VideoReader):
        def _within(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
            yield next(pictures)
            raise OSError("the disk is gone")

    shared = SharedPictures(Failing(probe(clip)), 1.0, None)
    again = shared.behind()
    with pytest.raises(OSError, match="gone"):
        list(shared)
    assert len(list(again)) == 1


@pytest.mark.parametrize("fps", [1.0, 5.0])
@pytest.mark.parametrize("late", [False, True], ids=["parted at once", "parted later"])
def test_videos_are_the_same_from_one_decoding_and_from_two(
    fps: float, late: bool, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]
) -> None:
    once = drawn(clip, tmp_path / "once.mp4", fps=fps)
    assert len(decodings) == 1
    room(monkeypatch, 6, 8)  # the model needs five seconds, 25 frames, and some more for the first mask
    if late:
        monkeypatch.setattr(runner, "_lead", lambda *_: 0.0)
    assert drawn(clip, tmp_path / "twice.mp4", fps=fps) == once
    assert len(decodings) == 3


def test_what_will_not_fit_is_not_begun(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 20, 20)
    shared, again = shared_by_two(clip, ahead=5.0)  # 25 frames
    ahead = iter(shared)
    next(ahead)
    assert not shared._kept
    assert len(list(again)) == 40 and len(list(ahead)) == 39


def test_one_that_parts_late_goes_on_where_it_was(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 100, 10)
    shared, again = shared_by_two(clip)
    ahead = iter(shared)
    times = [picture.time for _ in range(9) for picture in (next(ahead), next(again))][1::2]
    list(ahead)
    assert times + [picture.time for picture in again] == pytest.approx(np.arange(0, 8, 0.2))


def test_little_free_memory_is_left_to_others(clip: Path) -> None:
    shared, again = shared_by_two(clip, free=300_000)
    ahead = iter(shared)
    next(ahead)
    assert not shared._kept and len(list(again)) == 40


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stage", ["take", "write"])
def test_a_failing_output_of_a_slide_show_ends_at_once(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few pictures and many masks: whoever waits for a picture then must not wait for ever."""
    slides = Clip(rate=1, times=[0.0, 10.0, 20.0, 30.0], seconds=40, sound_seconds=40).write(tmp_path / "slides.mp4")
    calls = iter(range(100))

    def failing(self: OverlayWriter, *_: object) -> None:
        if next(calls) == (12 if stage == "take" else 1):
            raise OSError("No space left on device")

    monkeypatch.setattr(OverlayWriter, stage, failing)
    with pytest.raises(OutputError):
        drawn(slides, tmp_path / "out.mp4")


def test_time_held_back_is_not_reading(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 30, 1000)
    monkeypatch.setattr(Movie, "write", lambda self, frame, own=Movie.write: (time.sleep(0.1), own(self, frame)))
    done = render(probe(clip), LoudRed(), {"overlay": tmp_path / "out.mp4"}, SegmentOptions(), "test")
    assert 0 <= done.pace["read"] < 2 < done.pace["encode"], done.pace


def test_bytes_are_those_of_the_frame(clip: Path) -> None:
    picture = next(iter(VideoReader(probe(clip))))
    assert 160 * 120 * 1.5 <= shared_pictures._size(picture) < 160 * 120 * 3, "rows are padded"


def test_damage_is_told_once(tmp_path: Path) -> None:
    path = Clip(seconds=6, rate=5, format="mpegts").write(tmp_path / "clip.ts")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    path.write_bytes(data)
    done = render(probe(path), LoudRed(), {"overlay": tmp_path / "out.mp4"}, SegmentOptions(), "test")
    assert done.warnings and len(done.warnings) == len(set(done.warnings)), done.warnings
