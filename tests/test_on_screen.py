"""Who speaks is in the picture or is not; pauses mark nothing; outlines are fitted to the picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from media_files import Clip, LoudRed
from PIL import Image, ImageDraw
from torch import Tensor

from avseg_cli.base.errors import CheckpointError
from avseg_cli.checkpoints.face_weights import load_faces
from avseg_cli.cli.listener import Announcer
from avseg_cli.model.backbones import preset
from avseg_cli.model.faces import SIDE, views
from avseg_cli.outputs.refine import fine, fitted
from avseg_cli.outputs.unmarked import PAUSE, UNSEEN
from avseg_cli.segment.on_screen import OnScreen, with_next, without_absent
from avseg_cli.segment.outcome import Outcome
from avseg_cli.segment.pauses import pauses
from avseg_cli.segment.render import Rendered, render
from avseg_cli.segment.runner import segment_video

KINDS = ("speech", "dog", "none")


def drawn_face(size: tuple[int, int], middle: tuple[float, float], radius: float) -> np.ndarray:
    """A face as a child draws it with care, uint8 RGB (H, W, 3)."""
    image = Image.new("RGB", size, (60, 90, 60))
    draw = ImageDraw.Draw(image)
    x, y = middle

    def oval(dx: float, dy: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        cx, cy = x + dx * radius, y + dy * radius
        draw.ellipse((cx - rx * radius, cy - ry * radius, cx + rx * radius, cy + ry * radius), fill=colour)

    oval(0, 0, 0.85, 1.1, (60, 40, 30))  # hair
    oval(0, 0.15, 0.72, 0.85, (225, 180, 150))
    for side in (-1, 1):
        oval(side * 0.32, -0.15, 0.14, 0.08, (250, 250, 250))
        oval(side * 0.32, -0.15, 0.07, 0.07, (40, 30, 20))
        oval(side * 0.33, -0.33, 0.18, 0.03, (60, 40, 30))
    oval(0, 0.15, 0.1, 0.14, (205, 155, 125))
    oval(0, 0.52, 0.28, 0.09, (180, 70, 70))
    return np.asarray(image)


def test_scores_are_those_of_the_original() -> None:
    """Of LiteRT with MediaPipe's face_detection_full_range.tflite, by ``python -m tests.make_faces``."""
    pictures = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        scores = load_faces("cpu")(pictures).flatten(1)
    theirs = [[-8.6143, -8.5786, -5.7052, -7.2582, -9.4463], [-8.7755, -10.6660, -5.7865, -7.3403, -10.1014],
              [-8.4645, -9.6447, -5.0480, -7.7847, -8.9934], [-9.1637, -8.5769, -5.4596, -7.3357, -9.7210]]  # fmt: skip
    assert torch.allclose(scores[:, [0, 47, 1000, 1200, 2303]], torch.tensor(theirs), atol=1e-3)
    assert torch.allclose(scores.amax(1), torch.tensor([-3.2568, -2.7548, -2.1704, -2.1273]), atol=1e-3)


@pytest.mark.parametrize("size", [(320, 240), (640, 200), (200, 640)])
@pytest.mark.parametrize("radius", [30, 60, 95])
def test_faces_are_found_large_and_small(size: tuple[int, int], radius: int) -> None:
    probability = load_faces("cpu").probability
    middle = (size[0] * 0.5, size[1] * 0.5)
    assert probability(torch.from_numpy(drawn_face(size, middle, radius).copy())) > 0.75
    assert probability(torch.from_numpy(Clip(size=size).picture(0.0))) < 0.5, "a red square is none"


def test_views_show_all_of_a_picture() -> None:
    wide = views(torch.full((90, 400, 3), 255, dtype=torch.uint8))
    assert wide.shape == (5, 3, SIDE, SIDE), "whole, from afar, three squares"
    shown = (wide > 0).float().mean((1, 2, 3))
    assert torch.allclose(shown, torch.tensor([90 / 400, 90 / 400 / 9, 1.0, 1.0, 1.0]), atol=0.01)
    assert views(torch.zeros(100, 110, 3, dtype=torch.uint8)).shape[0] == 2


@dataclass
class Seen:
    index: int
    time: float
    pixels: Tensor


def asked(faces: list[bool], step: float = 1.0, cut: float | None = None) -> tuple[list[bool], list[int]]:
    """What is said of frames that show faces or do not, and which frames were looked at."""
    looked: list[int] = []
    frames = [Seen(i, i * step, torch.tensor(i)) for i in range(len(faces))]

    def probability(picture: Tensor) -> float:
        looked.append(int(picture))
        return 0.9 if faces[int(picture)] else 0.3

    on_screen = OnScreen(probability, lambda before, after: cut is not None and before < cut <= after)
    return [on_screen.near(frame, following) for frame, following in with_next(frames)], looked


def test_somebody_who_looks_away_for_a_second_is_still_there() -> None:
    near, looked = asked([True, False, False, False, True])
    assert near == [True, True, False, True, True]
    assert looked == [0, 1, 2, 3, 4], "no frame twice"
    assert asked([True] * 9, step=0.25)[1] == [0, 2, 4, 6, 8], "nor all of them while somebody is there"
    assert asked([False] * 3)[0] == [False] * 3
    assert asked([True, False, False, True], cut=1.0)[0] == [True, False, True, True], "faces of another scene are not"
    assert asked([True, False, False, True], step=2.0)[0] == [True, False, False, True], "seconds count, not frames"


def test_only_the_voice_goes() -> None:
    sound = torch.tensor([[0.9, 0.2, 0.0, 7.0], [0.9, 0.6, 0.0, 7.0], [0.0, 0.6, 0.0, 7.0], [0.2, 0.1, 0.0, 7.0]])
    changed, alone = without_absent(sound, KINDS, [lambda: False] * 4)
    assert changed[:, 0].tolist() == [0, 0, 0, 0] and torch.equal(changed[:, 1:], sound[:, 1:])
    assert alone == [True, False, False, False], "a dog that barks too is marked; a faint voice decides nothing"

    def never() -> bool:
        raise AssertionError("nobody speaks: nothing is to be looked for")

    assert without_absent(sound[2:3], KINDS, [never])[1] == [False]
    assert torch.equal(without_absent(sound, KINDS, [lambda: True] * 4)[0], sound)


@dataclass
class Meeting(Clip):
    """A red square all the time, and a face in the first seconds."""

    size: tuple[int, int] = (320, 240)
    until: float = 2.0

    def picture(self, time: float) -> np.ndarray:
        picture = super().picture(time)
        if time < self.until:
            picture = np.where(picture == (220, 30, 30), picture, drawn_face(self.size, (50, 60), 18)).astype(np.uint8)
        return picture


class SpeakingRed(LoudRed):
    """A stand-in that hears speech wherever it is loud."""

    def __init__(self, heard: tuple[float, ...] = (0.9, 0.1, 0.0)) -> None:
        super().__init__()
        self.config = replace(preset("tiny"), kinds=KINDS, audio_dim=len(KINDS))
        self.heard = torch.tensor(heard)

    def embed_sound(self, log_mel: Tensor) -> Tensor:
        return self.heard.expand(len(log_mel), -1)

    def decode(self, embeddings: Tensor, sound: Tensor) -> Tensor:
        return (embeddings[:, :, 0] - 0.3) * 40 * self.scale


def test_a_narrator_marks_nobody(tmp_path: Path) -> None:
    clip = Meeting(seconds=6).write(tmp_path / "clip.mkv")
    with torch.inference_mode():
        told = list(segment_video(clip, SpeakingRed()))
        assert [bool(result.mask.any()) for result in told] == [True, True, True, False, False, False]
        assert all(dict(result.heard)["speech"] > 0.8 for result in told), "what was heard is told all the same"
        assert [result.unmarked for result in told] == [""] * 3 + [UNSEEN] * 3 and told[5].hears() == "speech 0.90"
        assert all(result.mask.any() for result in segment_video(clip, SpeakingRed(), faces=False))
        assert all(result.mask.any() for result in segment_video(clip, SpeakingRed((0.9, 0.8, 0.0)))), "a dog barks"
        fast = list(segment_video(clip, SpeakingRed(), fps=4.0, batch_size=3))
        slow = list(segment_video(clip, SpeakingRed(), fps=4.0, batch_size=1))
    assert [result.mask.any() for result in fast] == [result.mask.any() for result in slow]
    assert all(result.mask.any() for result in fast if result.time < 2.6)
    assert not any(result.mask.any() for result in fast if result.time > 3.1)


def test_models_that_name_no_kinds_look_for_no_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avseg_cli.segment.runner.load_faces", None)
    assert all(result.mask.any() for result in segment_video(Clip().write(tmp_path / "clip.mkv"), LoudRed()))


def test_a_pause_is_quiet_by_itself_and_beside_the_rest() -> None:
    assert pauses([-11, -36, -13, -43, -11]) == [False, False, False, True, False]
    assert pauses([-45, -47, -50, -46, -45]) == [False] * 5, "a quiet recording is no pause"
    assert pauses([-5, -38, -30]) == [False] * 3, "33 dB below a shot can still be heard"


def test_a_pause_marks_nothing(tmp_path: Path) -> None:
    """Also with a model that marks red whatever it hears."""

    def barks(times: np.ndarray) -> np.ndarray:
        return np.where((times >= 2) & (times < 3), 0.003, 0.4)

    clip = Clip(seconds=5, loudness=barks).write(tmp_path / "clip.mkv")
    with torch.inference_mode():
        told = list(segment_video(clip, SpeakingRed((0.0, 0.9, 0.0))))
    assert [result.mask.any() for result in told] == [True, True, False, True, True]
    assert [result.unmarked for result in told] == ["", "", PAUSE, "", ""]
    assert [result.hears() for result in told[1:3]] == ["dog 0.90", "quiet"] and told[2].known == ()


def test_the_end_of_a_sound_is_quiet_though_clips_differ_on_it(tmp_path: Path) -> None:
    """Of clips with a loud second in them some call a quiet one a pause, and one without calls it none."""

    def falls(times: np.ndarray) -> np.ndarray:
        return np.where(times < 4, 0.4, 0.003)

    clip = Clip(seconds=9, loudness=falls).write(tmp_path / "clip.mkv")
    with torch.inference_mode():
        told = list(segment_video(clip, SpeakingRed((0.0, 0.9, 0.0)), stride=1))
    assert [result.called for result in told] == ["dog"] * 4 + ["quiet"] * 4 + ["dog"]
    assert [bool(result.mask.any()) for result in told] == [result.called == "dog" for result in told]


def test_a_second_that_one_of_three_clips_takes_for_a_pause_is_marked(tmp_path: Path) -> None:
    """Only the first clip has the loud second in it; the others are quiet throughout."""

    def falls(times: np.ndarray) -> np.ndarray:
        return np.where(times < 1, 0.4, 0.003)

    clip, model = Clip(seconds=9, loudness=falls).write(tmp_path / "clip.mkv"), SpeakingRed((0.0, 0.9, 0.0))
    model.scale.data *= 0.2  # no surer than real models
    with torch.inference_mode():
        told = list(segment_video(clip, model, stride=2))  # clips from 0, 2 and 4 on
    assert [bool(result.mask.any()) for result in told] == [True, False, False, False, True, True, True, True, True]
    assert [result.unmarked for result in told] == ["" if result.mask.any() else PAUSE for result in told]


def test_what_dies_away_unmarked_is_quiet_before_it_is_a_pause(tmp_path: Path) -> None:
    """23 dB below the sound before it has no name of its own, unless the model marks something."""

    def dies_away(times: np.ndarray) -> np.ndarray:
        return np.where(times < 4, 0.1, 0.007)

    class Last(SpeakingRed):
        def decode(self, embeddings: Tensor, sound: Tensor) -> Tensor:
            logits = super().decode(embeddings, sound)
            logits[:, -1] = -5 if self.empty else 5
            return logits

    model, clip = Last((0.1, 0.9, 0.0)), Clip(seconds=5, loudness=dies_away).write(tmp_path / "clip.mkv")
    with torch.inference_mode():
        for model.empty, told in ((True, "quiet"), (False, "dog")):
            last = list(segment_video(clip, model))[-1]
            assert -47 < last.loudness < -43 and (last.called, last.unmarked) == (told, PAUSE if model.empty else "")


def test_why_nothing_is_marked_is_told_in_every_record(tmp_path: Path) -> None:
    clip = Meeting(seconds=6).write(tmp_path / "clip.mkv")
    outputs = {name: tmp_path / f"clip{suffix}" for name, suffix in (("json", ".json"), ("report", ".html"))}
    with torch.inference_mode():
        done = render(clip, SpeakingRed(), outputs)
    assert done.unmarked == {UNSEEN: 3}
    told = json.loads(outputs["json"].read_text())
    assert [mask["unmarked"] for mask in told["masks"]] == [None] * 3 + [UNSEEN] * 3
    assert told["unmarked"] == {UNSEEN: 3}
    page = outputs["report"].read_text()
    assert "nothing marked in 3 of 6 masks: a voice, no face seen" in page


def test_the_command_line_says_why_an_overlay_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    rendered = Rendered({"overlay": Path("out.mp4")}, masks=3, unmarked={UNSEEN: 2, PAUSE: 1})
    with Announcer(1, quiet=False, as_json=False) as announcer:
        announcer.ended(Outcome(Path("clip.mp4"), "done", rendered.outputs, rendered=rendered))
        rendered.unmarked = {PAUSE: 1}
        announcer.ended(Outcome(Path("other.mp4"), "done", rendered.outputs, rendered=rendered))
    told = capsys.readouterr().err
    words = "nothing marked in 1 of 3 masks: a pause; in 2 of 3 masks: a voice, no face seen"
    assert f"clip.mp4: {words}; --no-faces marks people all the same" in told
    assert "other.mp4" not in told, "pauses need no cure"


def test_coarse_outlines_are_fitted_to_the_picture() -> None:
    """A disc whose coarse mask has corners: it gets round again, and what is far from an edge stays."""
    y, x = np.mgrid[:360, :640]
    disc = (x - 300) ** 2 + (y - 180) ** 2 < 110**2
    picture = np.where(disc[..., None], (200, 60, 50), (60, 80, 120)).astype(np.uint8)
    coarse = cv2.resize(disc.astype(np.float32), (20, 20), interpolation=cv2.INTER_AREA)
    level = 0.4
    logits = cv2.resize((coarse > 0.5) * np.float32(8) - 4, (128, 128), interpolation=cv2.INTER_NEAREST) + level

    def overlap(values: np.ndarray) -> float:
        mask = cv2.resize(values.astype(np.float32), (640, 360), interpolation=cv2.INTER_LINEAR) > level
        return float((mask & disc).sum() / (mask | disc).sum())

    better = fitted(logits.astype(np.float32), fine(picture), level)
    assert better.shape == (144, 256) and overlap(logits) < 0.93 < 0.97 < overlap(better)
    plain = fitted(logits.astype(np.float32), np.full((144, 256, 3), 90, np.uint8), level)
    assert abs(overlap(plain) - overlap(logits)) < 0.03, "no edges, nothing to fit to"


def test_weights_tell_of_the_detector_and_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from avseg_cli.checkpoints import face_weights
    from avseg_cli.cli import app

    run = CliRunner().invoke
    rows = {row["name"]: row for row in json.loads(run(app, ["weights", "verify", "--json"]).stdout)}
    assert rows["faces"]["state"] == rows["avseg-small"]["state"] == "verified"
    assert "faces" in rows["faces"]["purpose"] and "segment" not in rows["faces"]["purpose"]
    broken = tmp_path / "faces.safetensors"
    broken.write_bytes(face_weights.faces_file().read_bytes()[:-9])
    load_faces.cache_clear()
    monkeypatch.setattr(face_weights, "faces_file", lambda: broken)
    with pytest.raises(CheckpointError, match="damaged; install avseg again"):
        load_faces()
