"""What is heard has a name: in the results, and in what is made of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from media_files import Clip, LoudRed
from torch import Tensor

from avseg_cli.checkpoints.checkpoint import read_info, save_checkpoint
from avseg_cli.media.video import probe
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.outputs.heard import FLOOR, KNOWN, called, in_words, listed, loudness
from avseg_cli.outputs.spans import HeardSecond, spans
from avseg_cli.segment.render import Rendered, render, told
from avseg_cli.segment.runner import segment_video
from avseg_cli.segment.segmenter import Segmenter

KINDS = ("dog", "race_car", "music", "none")
LOUD, QUIET = -20.0, -90.0  # dB


class NamingRed(LoudRed):
    """A stand-in that names what it hears: ``heard`` in seconds that are loud, nothing in the others."""

    def __init__(self, heard: tuple[float, ...]) -> None:
        super().__init__()
        self.config = replace(preset("tiny"), kinds=KINDS, audio_dim=len(KINDS))
        self.heard = torch.tensor(heard)

    def embed_sound(self, log_mel: Tensor) -> Tensor:
        loud = log_mel.amax((-1, -2, -3)) > -2.0
        return torch.where(loud[:, None], self.heard, torch.tensor([0.0, 0.0, 0.0, 0.97]))


def loud_until_two(times: np.ndarray) -> np.ndarray:
    return np.where(times < 2, 0.4, 0.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, the first two with sound."""
    return Clip(size=(320, 240), seconds=4, loudness=loud_until_two).write(
        tmp_path_factory.mktemp("heard") / "clip.mkv"
    )


def made(clip: Path, name: str, output: Path, heard: tuple[float, ...] = (0.93, 0.41, 0.01, 0.001)) -> Rendered:
    model = NamingRed(heard)
    model.about = "finds red squares"
    return render(probe(clip), model, {name: output}, checkpoint="test")


def test_kinds_are_listed_by_their_strength_above_a_floor() -> None:
    heard = listed(KINDS, [0.2, 0.9, FLOOR / 2, FLOOR])
    assert heard == (("race_car", 0.9), ("dog", 0.2), ("none", FLOOR))
    assert listed(KINDS, [0.0, 0.001, 0.0, 0.0]) == (("race_car", 0.001),), "the strongest always"
    assert listed((), []) == ()


@pytest.mark.parametrize(
    ("heard", "level", "name", "words"),
    [
        ((("dog", 0.93), ("race_car", 0.4), ("music", 0.1)), LOUD, "dog", "dog 0.93, race car 0.40"),
        ((("dog", KNOWN - 0.01),), LOUD, "unknown sound", "unknown sound"),
        ((("none", KNOWN - 0.01),), LOUD, "unknown sound", "unknown sound"),
        ((("none", 0.8), ("dog", 0.5)), LOUD, "nothing", "nothing"),
        ((("dog", 0.9),), QUIET, "nothing", "nothing"),
        ((("music", 0.9),), LOUD, "music", "music 0.90"),
        ((), LOUD, "", ""),
    ],
)
def test_what_is_heard_is_said_in_words(heard: tuple, level: float, name: str, words: str) -> None:
    assert (called(heard, level), in_words(heard, level, 3)) == (name, words)


def test_loudness_is_in_decibels_of_full_scale() -> None:
    assert loudness(np.ones(100)) == pytest.approx(0, abs=0.01)
    assert loudness(np.full(100, 0.01, np.float32)) == pytest.approx(-40, abs=0.01)
    assert loudness(np.zeros(100)) == -120


def test_stretches_of_one_name_are_joined() -> None:
    seconds = [HeardSecond(0, 1, "dog", 0.9), HeardSecond(1, 2, "dog", 0.7), HeardSecond(2, 3, "nothing", None)]
    assert [(s.since, s.end, s.words) for s in spans(seconds)] == [(0, 2, "dog 0.80"), (2, 3, "nothing")]
    assert spans([HeardSecond(0, 1, "", None)]) == []


def test_results_carry_what_the_small_model_hears(clip: Path) -> None:
    torch.manual_seed(0)
    config = replace(preset("small"), image_size=64, kinds=KINDS, audio_dim=len(KINDS))
    model = AvsegModel(config).eval()
    with torch.no_grad():
        model.vggish.heard.weight.zero_()
        model.vggish.heard.bias.zero_()
        model.vggish.usual.copy_(torch.logit(torch.tensor([0.6, 0.9, 0.3, 0.001])))
    results = list(segment_video(clip, model))
    assert len(results) == 4
    for result in results:
        assert [kind for kind, _ in result.heard] == ["race_car", "dog", "music"]
        assert [sure for _, sure in result.heard] == pytest.approx([0.9, 0.6, 0.3], abs=1e-5)
    assert [result.called for result in results] == ["race car"] * 2 + ["nothing"] * 2, "silence is nothing"


def test_a_model_without_kinds_names_nothing(clip: Path) -> None:
    assert [(result.heard, result.hears()) for result in segment_video(clip, LoudRed())] == [((), "")] * 4


def test_json_has_the_kinds_of_each_mask(clip: Path, tmp_path: Path) -> None:
    done = made(clip, "json", tmp_path / "clip.json")
    masks = json.loads((tmp_path / "clip.json").read_text())["masks"]
    assert [mask["heard"] for mask in masks] == [{"dog": 0.93, "race_car": 0.41}] * 2 + [{"none": 0.97}] * 2
    assert [mask["loudness"] > -60 for mask in masks] == [True, True, False, False]
    assert done.heard == {"dog": 2, "race_car": 2}
    assert done.model == json.loads((tmp_path / "clip.json").read_text())["model"]["told"]


def test_the_sheet_names_what_is_heard_under_each_frame(clip: Path, tmp_path: Path, monkeypatch) -> None:
    from matplotlib.figure import Figure

    written: list[str] = []
    text = Figure.text
    monkeypatch.setattr(Figure, "text", lambda self, x, y, s, **k: written.append(s) or text(self, x, y, s, **k))
    made(clip, "preview", tmp_path / "sheet.png")
    heard = [words for words in written if words.startswith(("dog", "nothing", "unknown"))]
    assert heard == ["dog 0.93", "dog 0.93", "nothing", "nothing"]
    assert written[-1] == "model test (tiny): finds red squares"


def test_the_page_names_what_is_heard(clip: Path, tmp_path: Path) -> None:
    made(clip, "report", tmp_path / "page.html")
    text = unescape((tmp_path / "page.html").read_text())
    assert re.findall(r'title="[^"]+">([^<]+)</b>', text) == ["dog 0.93", "nothing"]
    assert re.findall(r">heard: ([^<]+)</span>", text) == ["dog 0.93, race car 0.41", "nothing"]
    facts = json.loads(re.search(r'id="facts"[^>]*>(.*?)</pre>', text, re.S).group(1))
    assert [mask["heard"] for mask in facts["masks"]] == ["dog 0.93, race car 0.41"] * 2 + ["nothing"] * 2
    assert "dog in 50 %, nothing in 50 % of the masks" in text
    assert "<dt>model</dt><dd>test (tiny): finds red squares</dd>" in text


def test_the_page_says_that_a_sound_is_unknown(clip: Path, tmp_path: Path) -> None:
    made(clip, "report", tmp_path / "page.html", heard=(0.1, 0.2, 0.01, 0.05))
    assert re.findall(r'title="[^"]+">([^<]+)</b>', (tmp_path / "page.html").read_text()) == [
        "unknown sound",
        "nothing",
    ]


@pytest.mark.parametrize(
    ("record", "about"),
    [
        ({"about": "finds\n dogs "}, "finds dogs"),
        ({}, ""),
        ({"about": ["dogs"]}, ""),
        ({"about": "x" * 999}, "x" * 300),
    ],
)
def test_what_a_model_is_for_comes_from_its_training_record(tmp_path: Path, record: dict, about: str) -> None:
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, AvsegModel(preset("tiny", image_size=32, fusion_depth=1)), record)
    assert read_info(path).about == about
    model = Segmenter.load(path, "cpu", "fp32").model
    assert told(model, str(path)) == "own.safetensors (tiny)" + (f": {about}" if about else "")


def test_the_end_of_a_run_says_which_model_was_used(clip: Path, tmp_path: Path, capfd, monkeypatch) -> None:
    from avseg_cli.cli import main

    model = NamingRed((0.93, 0.41, 0.01, 0.001))
    model.about = "finds [red] squares"
    monkeypatch.setattr("avseg_cli.cli.segment._load", lambda *_: model)
    monkeypatch.setattr("sys.argv", ["avseg", "segment", str(clip), "-o", str(tmp_path), "--format", "json", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capfd.readouterr()
    assert not end.value.code and said.err.splitlines()[-1] == "model default (tiny): finds [red] squares"
    assert json.loads(said.out)["model"] == "default (tiny): finds [red] squares"
