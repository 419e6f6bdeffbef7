"""Which of the overlapping stages set the pace, told right when one of them is slow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from media_files import Clip, LoudRed
from torch import Tensor

from avseg_cli.media import shared_pictures
from avseg_cli.media.movie import Movie
from avseg_cli.media.video import Picture, VideoReader, probe
from avseg_cli.outputs.drawing import Highlighter
from avseg_cli.segment.outcome import Outcome
from avseg_cli.segment.render import Rendered, render
from avseg_cli.segment.segment_options import SegmentOptions

SLOW = 0.15  # seconds an item takes in the slow stage; there are 4 seconds of video, 8 frames


def slowed(function):
    def wrapped(*arguments, **named):
        time.sleep(SLOW)
        return function(*arguments, **named)

    return wrapped


class SlowModel(LoudRed):
    def embed_frames(self, frames: Tensor, sound: Tensor) -> Tensor:
        time.sleep(3 * SLOW * len(frames))
        return super().embed_frames(frames, sound)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(seconds=4, rate=2).write(tmp_path_factory.mktemp("clips") / "clip.mp4")


def rendered(clip: Path, tmp_path: Path, model: LoudRed, name: str = "overlay") -> Rendered:
    suffix = {"overlay": ".mp4", "json": ".json"}[name]
    return render(probe(clip), model, {name: tmp_path / f"out{suffix}"}, SegmentOptions(), "test")


@pytest.mark.alone
@pytest.mark.parametrize("stage", ["read", "model", "decode", "draw", "encode"])
def test_the_slow_stage_is_the_one_named(
    stage: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stage == "read":
        monkeypatch.setattr(Picture, "rgb", slowed(slowed(slowed(slowed(Picture.rgb)))))
    elif stage == "decode":
        monkeypatch.setattr(shared_pictures, "MOST", 0)  # else it is decoded once, for the model
        monkeypatch.setattr(
            VideoReader,
            "_within",
            lambda self, pictures, own=VideoReader._within: (
                slowed(lambda x: x)(picture) for picture in own(self, pictures)
            ),
        )  # both readers: see below
    elif stage == "draw":
        monkeypatch.setattr(Highlighter, "draw", slowed(Highlighter.draw))
    elif stage == "encode":
        monkeypatch.setattr(Movie, "write", slowed(Movie.write))
    pace = rendered(clip, tmp_path, SlowModel() if stage == "model" else LoudRed()).pace
    assert list(pace) == ["read", "model", "decode", "draw", "encode"]
    others = {name: spent for name, spent in pace.items() if name != stage}
    if stage == "decode":
        del others["read"]  # reads the same slow pictures for the model
    assert pace[stage] > 8 * SLOW * 0.9 and pace[stage] > 1.5 * max(others.values()), pace


def test_without_a_video_there_are_two_stages_and_json_names_the_slower(clip: Path, tmp_path: Path) -> None:
    done = rendered(clip, tmp_path, SlowModel(), "json")
    assert list(done.pace) == ["read", "model"]
    said = Outcome(clip, "done", done.outputs, probe(clip), done).to_dict()["pace"]
    assert said["slowest"] == "model"
    assert said["seconds"]["model"] == pytest.approx(done.pace["model"], abs=1e-3)


def test_pictures_for_the_model_are_those_of_the_video(clip: Path) -> None:
    """What the loading thread hands over: upright RGB, in order, with the times of the grid."""
    from avseg_cli.segment.grid import Grid
    from avseg_cli.segment.runner import Runner
    from avseg_cli.segment.sampling import sample

    video = probe(clip)
    loaded = list(Runner(LoudRed(), 4).loaded(sample(VideoReader(video), Grid())))
    assert [item.index for item in loaded] == [0, 1, 2, 3]
    assert [item.end for item in loaded] == [1.0, 2.0, 3.0, 4.0]
    for item, frame in zip(loaded, sample(VideoReader(video), Grid()), strict=True):
        assert torch.equal(item.pixels, torch.from_numpy(frame.picture.rgb()))
