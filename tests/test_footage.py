"""avseg evaluate --subset clips: a folder of real clips with drawn masks, as a person would make one."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from media_files import Clip, LoudRed, is_red, rgb_of
from PIL import Image
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError, DataError, InputError
from avseg_cli.cli import app
from avseg_cli.scoring import footage as footage_job
from avseg_cli.scoring.footage import FootageOptions, evaluate_footage, plan
from avseg_cli.scoring.footage_files import read_footage
from avseg_cli.scoring.footage_scores import centre_box, mean_score, score_frame


def first_second(times: np.ndarray) -> np.ndarray:
    return np.where(times < 1, 0.4, 0.0)


def draw(folder: Path, mask: np.ndarray, second: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{second}.png")


def draw_truth(root: Path, clip: Path, sounding: tuple[bool, ...]) -> None:
    """The red square in the last frame of each second that sounds."""
    pictures = rgb_of(clip)
    for second, sounds in enumerate(sounding):
        draw(root / "masks" / clip.stem, is_red(pictures[10 * second + 9]) & sounds, second)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of two seconds: one sounds throughout, the other in its first second only."""
    root = tmp_path_factory.mktemp("footage")
    (root / "clips").mkdir()
    always = Clip(seconds=2, place=lambda time: (0.3, 0.5)).write(root / "clips/always.mp4")
    once = Clip(seconds=2, loudness=first_second).write(root / "clips/once.mkv")
    draw_truth(root, always, (True, True))
    draw_truth(root, once, (True, False))
    return root


@pytest.fixture
def footage(made: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "footage"))


@pytest.fixture(autouse=True)
def known_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage_job, "_load", lambda _: LoudRed())


def test_figures_of_a_frame() -> None:
    truth = np.zeros((8, 8), bool)
    truth[:4] = True
    half = truth.copy()
    half[:2] = False
    score = score_frame(half, truth)
    assert (score.miou, score.miou_all, score.avsb, score.empty) == (0.5, 0.5, 0.5, None)
    assert score.f == pytest.approx(1.3 * 0.5 / (0.3 + 0.5)) and score.point == 1
    assert (score.foreground, score.truth) == (0.25, 0.5)
    missed = score_frame(~truth, truth)
    assert (missed.miou, missed.f, missed.point) == (0, 0, 0)
    assert score_frame(np.zeros_like(truth), truth).point == 0, "nothing marked points nowhere"
    silent = score_frame(half, np.zeros_like(truth))
    assert (silent.miou, silent.f, silent.point, silent.empty, silent.miou_all, silent.avsb) == (
        None, None, None, 0, 0, 0.75
    )  # fmt: skip
    mean = mean_score([score, silent])
    assert (mean.miou, mean.empty, mean.miou_all, mean.avsb) == (0.5, 0, 0.25, 0.625)


def test_pointing_goes_by_the_largest_region_corners_joined() -> None:
    truth, predicted = np.zeros((2, 9, 9), bool)
    truth[0, 0] = predicted[0, 0] = True
    predicted[5:8, 5] = True
    assert score_frame(predicted, truth).point == 0
    truth[:] = False
    truth[4, 4] = True
    predicted[:] = np.eye(9, dtype=bool)
    predicted[0, 6:] = True  # larger than any single pixel of the diagonal
    assert score_frame(predicted, truth).point == 1


def test_a_model_is_scored_on_the_frames_that_were_drawn(footage: Path) -> None:
    result = evaluate_footage(FootageOptions(data=str(footage), swap_sound=True))
    total = result.total
    assert total.miou > 0.85 and total.point == 1 and total.empty == 1
    assert [clip.name for clip in result.clips] == ["always", "once"]
    assert result.clips[1].score.empty == 1 and result.clips[0].score.empty is None
    frames = [second for clip in result.clips for second in clip.seconds]
    assert total.miou == pytest.approx(np.mean([s.miou for s in frames if s.miou is not None])), "frames weigh the same"
    assert result.baselines["everything"].miou == pytest.approx(result.baselines["everything"].truth * 4 / 3, rel=0.05)
    box = centre_box((120, 160))
    drawn = np.asarray(Image.open(footage / "masks/once/0.png")) > 0
    assert score_frame(box, drawn).miou == pytest.approx((box & drawn).sum() / (box | drawn).sum())
    # `always` hears silence in its second second, `once` a tone where its truth is empty
    assert result.swapped.miou == pytest.approx(total.miou * 2 / 3, rel=0.05) and result.swapped.empty == 0
    assert result.fall == pytest.approx(1 / 3, abs=0.05)


def test_written_masks_score_the_same_when_read(footage: Path, tmp_path: Path) -> None:
    own = evaluate_footage(FootageOptions(data=str(footage), masks=str(tmp_path / "masks")))
    read = evaluate_footage(FootageOptions(data=str(footage), predictions=str(tmp_path / "masks")))
    assert [clip.seconds for clip in read.clips] == [clip.seconds for clip in own.clips]


def run(*arguments: object) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["evaluate", "--subset", "clips", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_the_command_says_and_writes_every_figure(footage: Path, tmp_path: Path) -> None:
    options = ("--swap-sound", "--json", "--csv", tmp_path / "a.csv", "--report", tmp_path / "a.html")
    out, said = run("--data", footage, *options)
    figures = json.loads(out)
    assert figures["made_by"]["checkpoint"] == "default" and len(figures["made_by"]["sha256"]) == 64
    assert figures["empty"] == 1 and figures["clips"]["always"]["empty"] is None
    assert len(figures["clips"]["once"]["seconds"]) == 2 and 0.2 < figures["swapped"]["fall"] < 0.5
    assert set(figures["baselines"]) == {"everything", "centre box"}
    words = " ".join(said.split())
    for expected in ("always", "once", "baseline: centre box", "with the next clip's sound mIoU is", "it falls by 3"):
        assert expected in words
    with open(tmp_path / "a.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["empty"], row["frames"]) for row in rows] == [
        ("always", "", "2"), ("once", "1.000000", "2")
    ]  # fmt: skip
    page = (tmp_path / "a.html").read_text()
    worst, best = sorted(("always", "once"), key=lambda name: figures["clips"][name]["miou_all"])
    assert 0 < page.index(f"<b>{worst}</b>") < page.index(f"<b>{best}</b>")
    assert page.count("data:image/jpeg") == 6 and "Distribution" not in page


def test_the_page_shows_the_frame_that_was_scored(footage: Path) -> None:
    shown = evaluate_footage(FootageOptions(data=str(footage), pictures=2)).clips[0].shown
    for frame, truth, prediction in zip(shown.frames, shown.truth, shown.prediction, strict=True):
        red = is_red(frame)
        assert (red & truth).sum() > 0.9 * red.sum() and (red & prediction).sum() > 0.85 * red.sum()
    only = evaluate_footage(FootageOptions(data=str(footage), pictures=1)).clips
    assert [clip.shown is None for clip in only].count(True) == 1, "the worst keeps its pictures"


def spoil_size(root: Path) -> None:
    draw(root / "masks/always", np.ones((60, 80), bool), 1)


def spoil_sound(root: Path) -> None:
    Clip(seconds=1, sound=None).write(root / "clips/mute.mp4")
    draw(root / "masks/mute", np.ones((120, 160), bool), 0)


SPOILT = {
    "no clips": (lambda root: shutil.rmtree(root / "clips"), "no folder of clips with drawn masks; expected clips"),
    "no video": (lambda root: [path.unlink() for path in (root / "clips").iterdir()], "clips: holds no video"),
    "no masks": (lambda root: shutil.rmtree(root / "masks/once"), "masks/once: no masks of once.mkv there"),
    "a gap": (lambda root: (root / "masks/always/0.png").unlink(), "always/0.png: missing, though 1.png is there"),
    "size": (spoil_size, "always/1.png: is 80 x 60 pixels, its clip 160 x 120; make it of the clip's size"),
    "dim": (lambda root: Image.new("L", (160, 120), 1).save(root / "masks/always/0.png"), "brighter than 1 of 255"),
    "too many": (lambda root: draw(root / "masks/once", np.ones((120, 160), bool), 2), "no frame within 0.6 s"),
    "no sound": (spoil_sound, "mute.mp4: has no sound"),
    "two of a name": (lambda root: shutil.copy(root / "clips/once.mkv", root / "clips/once.mp4"), "called once"),
    "damaged mask": (lambda root: (root / "masks/always/1.png").write_text("no"), "1.png: not a readable picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_with_a_folder_is_said(footage: Path, name: str) -> None:
    spoil, expected = SPOILT[name]
    spoil(footage)
    with pytest.raises((DataError, InputError), match=expected):
        evaluate_footage(FootageOptions(data=str(footage)))


def test_options_that_contradict_each_other_are_refused(footage: Path) -> None:
    for options in ({"checkpoint": "x", "predictions": "y"}, {"predictions": "y", "swap_sound": True},
                    {"limit_clips": 0}):  # fmt: skip
        with pytest.raises(InputError):
            FootageOptions(data=str(footage), **options)
    with pytest.raises(InputError, match="two clips or more"):
        evaluate_footage(FootageOptions(data=str(footage), swap_sound=True, limit_clips=1))
    for option, value in (("--negatives", "noise"), ("--jobs", "2"), ("--workers", "1"), ("--split", "val")):
        with pytest.raises(InputError, match=f"{option} is for AVSBench"):
            CliRunner().invoke(
                app, ["evaluate", "--subset", "clips", "--data", str(footage), option, value],
                catch_exceptions=False,
            )  # fmt: skip
    with pytest.raises(AvsegError, match="--swap-sound is for --subset clips"):
        CliRunner().invoke(app, ["evaluate", "--data", str(footage), "--swap-sound"], catch_exceptions=False)


def test_a_plan_counts_the_clips(footage: Path, tiny_checkpoint: Path) -> None:
    said = plan(FootageOptions(data=str(footage), checkpoint=str(tiny_checkpoint)))
    assert said == f"score {tiny_checkpoint} on 2 clips with drawn masks in {footage}"
    assert [clip.name for clip in read_footage(footage, 1)] == ["always"]
