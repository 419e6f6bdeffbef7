"""A disk that is full: said in a sentence that names the output, and nothing is left, whatever is being written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest
from media_files import Clip, LoudRed

from avseg_cli.base.errors import OutputError
from avseg_cli.media.video import probe
from avseg_cli.outputs.formats import FORMATS
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions

resource = pytest.importorskip("resource", reason="a limit on the size of files stands in for a full disk")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(seconds=1, rate=4, size=(64, 48)).write(tmp_path_factory.mktemp("clip") / "clip.mp4")


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can become larger than ``size`` bytes, as if the disk had no more room."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def fails_cleanly(clip: Path, folder: Path, formats: tuple[str, ...], size: int) -> None:
    outputs = {name: folder / f"out{FORMATS[name].suffix}" for name in formats}
    video = probe(clip)
    with room_for(size), pytest.raises(OutputError, match="disk is full") as caught:
        render(video, LoudRed(), outputs, SegmentOptions(), "test")
    assert str(folder / "out.avseg") in str(caught.value), "the output is named, not the input"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize("name", FORMATS.names)
def test_nothing_is_left_of_any_format(clip: Path, tmp_path: Path, name: str, size: int) -> None:
    fails_cleanly(clip, tmp_path, (name,), size)


@pytest.mark.parametrize("pair", list(combinations(FORMATS, 2)), ids="+".join)
def test_nothing_is_left_of_any_two_formats(clip: Path, tmp_path: Path, pair: tuple[str, str]) -> None:
    fails_cleanly(clip, tmp_path, pair, 100)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "overlay"])
def test_nothing_is_left_where_the_disk_fills_half_way(clip: Path, tmp_path: Path, name: str) -> None:
    """The video outgrows the room when what goes with it is written, or about to be."""
    fails_cleanly(clip, tmp_path, ("overlay", name), 18_000)


def test_one_writers_failure_does_not_stop_the_others_from_cleaning_up(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise RuntimeError("will not go")

    monkeypatch.setattr(FORMATS["json"].writer, "abort", refuse)
    outputs = {name: tmp_path / f"out{FORMATS[name].suffix}" for name in ("json", "masks", "overlay")}
    with room_for(100), pytest.raises(OutputError, match="disk is full"):
        render(probe(clip), LoudRed(), outputs, SegmentOptions(), "test")
    assert [path.name for path in tmp_path.iterdir() if "json" not in path.name] == []
