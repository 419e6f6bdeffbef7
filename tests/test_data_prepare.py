"""avseg prepare: raw videos to frames and sound by the official rule, and the check of a data root."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from miniature import make
from typer.testing import CliRunner

from avseg_cli.base.errors import DataError, DeviceError
from avseg_cli.cli import app
from avseg_cli.cli.options import said
from avseg_cli.data.clips import read_clips
from avseg_cli.data.files import read_frames, read_log_mel, read_waveform
from avseg_cli.data.prepare import Made, frame_numbers, prepare
from avseg_cli.data.prepare_options import PrepareOptions
from avseg_cli.data.subsets import find_subset

FPS = 10


def write_video(path: Path, frames: int = 50, fps: int = FPS) -> None:
    """Frame k has the brightness 4 k; left 400 Hz, right silent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"crf": "5"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        audio = container.add_stream("aac", rate=44_100, layout="stereo")
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((180, 320, 3), 4 * k, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        time = np.arange(44_100 * frames // fps) / 44_100
        left = (0.5 * np.sin(2 * np.pi * 400 * time)).astype(np.float32)
        samples = np.stack([left, np.zeros_like(left)])
        for start in range(0, samples.shape[1], 1024):
            piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "stereo")
            piece.sample_rate, piece.pts = 44_100, start
            container.mux(audio.encode(piece))
        container.mux(audio.encode(None))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    files = tmp_path / "Multi-sources"
    write_video(files / "ms3_data" / "raw_videos" / "a.mp4")
    with open(files / "ms3_meta_data.csv", "w", newline="") as file:
        csv.writer(file).writerows([["name", "split"], ["a", "test"]])
    return tmp_path


def test_a_process_that_is_killed_is_told(raw: Path) -> None:
    with open(raw / "Multi-sources/ms3_meta_data.csv", "a", newline="") as file:
        csv.writer(file).writerows([f"lost{number}", "test"] for number in range(3000))

    def kill(made: Iterable[Made], count: int) -> Iterator[Made]:
        for one in made:
            for process in multiprocessing.active_children():
                process.kill()
            yield one

    with pytest.raises(DeviceError, match="a process that made frames was killed.*use fewer workers"):
        prepare(PrepareOptions(data=str(raw), subset="ms3", workers=2), kill)


def test_the_official_frame_numbers() -> None:
    assert frame_numbers(10, 5, 50) == [9, 19, 29, 39, 49]
    assert frame_numbers(29.97, 5, 150) == [28, 58, 88, 118, 148]  # 30 fps: 28.125 into each second
    assert frame_numbers(25, 5, 110) == [23, 48, 73, 98, 109]  # a short video gives its last frame


def test_frames_and_sound_of_a_raw_video(raw: Path) -> None:
    result = CliRunner().invoke(
        app, ["prepare", "--data", str(raw), "--log-mel", "--workers", "1"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    clip = read_clips(raw, find_subset("ms3"), "test")[0]
    frames = read_frames(clip)
    assert frames.shape == (5, 224, 224, 3)
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [36, 76, 116, 156, 196], atol=4)
    sound = read_waveform(clip.wav)
    assert len(sound) == pytest.approx(5 * 16_000, abs=2000)
    middle = sound[16_000:64_000]
    assert np.abs(middle).max() == pytest.approx(0.25, abs=0.03)  # the mean of both channels
    from_wav = read_log_mel(clip)
    clip.wav.unlink()
    torch.testing.assert_close(read_log_mel(clip), from_wav)


def test_what_is_there_is_kept_unless_told_otherwise(raw: Path) -> None:
    def outcome(*options: str) -> str:
        result = CliRunner().invoke(app, ["prepare", "--data", str(raw), "--json", "--workers", "1", *options])
        return json.loads(result.stdout)[0]["outcome"]

    assert [outcome(), outcome(), outcome("--overwrite")] == ["made", "kept", "made"]


def test_a_clip_that_fails_is_named_and_the_others_are_made(raw: Path) -> None:
    files = raw / "Multi-sources"
    with open(files / "ms3_meta_data.csv", "a", newline="") as file:
        csv.writer(file).writerows([["broken", "test"], ["absent", "train"]])
    (files / "ms3_data" / "raw_videos" / "broken.mp4").write_bytes(b"no video at all")
    result = CliRunner().invoke(app, ["prepare", "--data", str(raw), "--workers", "2"])
    assert isinstance(result.exception, DataError) and "2 of 3 clips could not be prepared" in str(result.exception)
    assert "broken.mp4" in result.output and "raw video of absent is missing" in result.output
    assert read_frames(read_clips(raw, find_subset("ms3"), "test")[0]).shape[0] == 5
    assert not list((files / "ms3_data").rglob("*.part*"))


def test_the_later_release_has_no_raw_videos(tmp_path: Path) -> None:
    make(tmp_path, "v1m", {"train": 1})
    result = CliRunner().invoke(app, ["prepare", "--data", str(tmp_path), "--subset", "v1m"])
    assert isinstance(result.exception, DataError) and "use --check" in said(result.exception)


def test_check_tells_counts_and_fails_on_what_is_missing(tmp_path: Path) -> None:
    make(tmp_path, "ms3", {"train": 2, "val": 1, "test": 1})
    arguments = ["prepare", "--data", str(tmp_path), "--check"]
    good = CliRunner().invoke(app, arguments)
    assert good.exit_code == 0 and "train: 2 clips; AVSBench's ms3 has 296" in good.output
    read_clips(tmp_path, find_subset("ms3"), "val")[0].wav.unlink()
    bad = CliRunner().invoke(app, arguments)
    assert isinstance(bad.exception, DataError)
    assert "1 place with missing files and 0 malformed files" in str(bad.exception)
    assert "sound of val0" in bad.output
