"""``avseg attention`` as it is used, and what its pictures show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from command_line import Ran, run_avseg
from media_files import Clip, frames_of, rgb_of, sound_payload
from PIL import Image, ImageFont

from avseg_cli.attention.attention_options import AttentionOptions, MapChoice
from avseg_cli.attention.board import Board, Scale, scales, sound_strip
from avseg_cli.attention.film import Screen
from avseg_cli.attention.instants import ClipLook, FrameLook, MapRow
from avseg_cli.attention.looks import Looks
from avseg_cli.attention.sheet import draw_sheet
from avseg_cli.attention.show import show_attention
from avseg_cli.base.errors import InputError
from avseg_cli.checkpoints.checkpoint import load_model, save_checkpoint
from avseg_cli.media.video import probe
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset


@pytest.fixture
def avseg(tiny_checkpoint: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Runs ``avseg attention`` in this process; gives exit code, stdout and stderr."""

    def run(*arguments: object, checkpoint: Path = tiny_checkpoint) -> Ran:
        return run_avseg(capfd, monkeypatch, "attention", *arguments, "--checkpoint", checkpoint)

    return run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds: a clip of five, and two more that are seen with the three before them."""
    return Clip(seconds=7, rate=5).write(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> AvsegModel:
    return load_model(tiny_checkpoint, "cpu", "fp32")


def test_a_picture_and_a_video_beside_the_input(avseg, clip: Path) -> None:
    code, out, err = avseg(clip, "--json", "--quiet")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert sorted(path.name for path in clip.parent.iterdir()) == [
        "clip.avseg.attention.mp4",
        "clip.avseg.attention.png",
        "clip.mp4",
    ]
    assert [second["time"] for second in said["instants"]] == pytest.approx([0.8, 1.8, 2.8, 3.8, 4.8, 5.8, 6.8])
    labels = ["before ST-BAVA", "block 1", "block 2", "block 3", "after ST-BAVA"]
    assert all([row["row"] for row in second["rows"]] == labels for second in said["instants"])
    movie = clip.with_name("clip.avseg.attention.mp4")
    assert [frame.time for frame in frames_of(movie)] == pytest.approx([frame.time for frame in frames_of(clip)])
    assert sound_payload(movie) == sound_payload(clip)
    assert said["frames"] == 35

    code, _, err = avseg(clip)
    assert code == 5 and "exists" in err and "--skip-existing" not in err
    before = movie.read_bytes()
    assert avseg(clip, "--overwrite", "--duration", "2")[0] == 0
    assert len(frames_of(movie)) == 10 and movie.read_bytes() != before


def test_the_suffix_of_the_output_says_which(avseg, clip: Path, tmp_path: Path) -> None:
    assert avseg(clip, "-o", tmp_path / "a.png")[0] == 0
    assert avseg(clip, "-o", tmp_path / "b.mkv", "--start", "5")[0] == 0
    code, out, err = avseg(clip, "-o", tmp_path / "new", "--dry-run", "--json")
    assert code == 0 and json.loads(out)["status"] == "planned" and err.count("would be written") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.mkv"]
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert len(frames_of(tmp_path / "b.mkv")) == 10


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--block", "4"), 2, "this model has 3 blocks: give 1 to 3"),
        (("--head", "9"), 2, "this model has 8 heads: give 1 to 8"),
        (("--head", "1", "--average"), 2, "contradict"),
        (("--start", "7.5"), 2, "nothing is left"),
        (("--checkpoint", "no-such-model"), 3, "no such checkpoint"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    avseg, clip: Path, tmp_path: Path, options: tuple, code: int, said: str, tiny_checkpoint: Path
) -> None:
    checkpoint = Path(options[1]) if options[0] == "--checkpoint" else tiny_checkpoint
    ran, out, err = avseg(
        clip, "-o", tmp_path / "out", *options[: 0 if options[0] == "--checkpoint" else None], checkpoint=checkpoint
    )
    assert (ran, out) == (code, "") and said in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_is_refused(avseg, clip: Path) -> None:
    code, _, err = avseg(clip.parent)
    assert code == 2 and "give one" in err


def test_another_fusion_is_refused(avseg, clip: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "plain.safetensors", AvsegModel(preset("tiny", fusion="none")))
    code, _, err = avseg(clip, "-o", tmp_path / "out", checkpoint=tmp_path / "plain.safetensors")
    assert code == 3 and "fusion is 'none'" in err
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_half_way_leaves_nothing(
    clip: Path, model: AvsegModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def failing(self: Screen, picture: np.ndarray, time: float) -> np.ndarray:
        drawn.append(time)
        raise KeyboardInterrupt

    monkeypatch.setattr(Screen, "draw", failing)
    outputs = {"picture": tmp_path / "a.png", "video": tmp_path / "a.mp4"}
    with pytest.raises(KeyboardInterrupt):
        show_attention(probe(clip), model, outputs)
    assert drawn and list(tmp_path.iterdir()) == []


def test_each_second_is_looked_at_once_and_the_last_clip_reaches_back(clip: Path, model: AvsegModel) -> None:
    clips = list(Looks(probe(clip), model, width=80))
    assert [(len(look.instants), look.new) for look in clips] == [(5, 5), (5, 2)]
    assert [instant.end for instant in clips[1].instants] == pytest.approx([3, 4, 5, 6, 7])
    assert clips[0].instants[0].picture.shape == (60, 80, 3)


def test_a_short_video_repeats_its_last_second_in_the_model_only(clip: Path, model: AvsegModel) -> None:
    (look,) = Looks(probe(clip), model, AttentionOptions(duration=2.0))
    assert len(look.instants) == look.new == 2
    assert look.rows[0].space.shape[0] == 5
    whole = Looks(probe(clip), model, AttentionOptions(duration=1.0))
    (look,) = whole
    for row in look.rows:  # one second, five times: nothing to choose between
        assert row.time == pytest.approx(1, abs=1e-4) and row.listening == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("choice", "labels"),
    [
        (MapChoice(), ["before ST-BAVA", "block 1", "block 2", "block 3", "after ST-BAVA"]),
        (MapChoice(head=2), ["before ST-BAVA", "block 1", "block 2", "block 3", "after ST-BAVA"]),
        (MapChoice(block=2), ["block 2, mean", *(f"head {n}" for n in range(1, 9))]),
        (MapChoice(block=2, average=True), ["block 2, mean"]),
        (MapChoice(block=2, head=8), ["block 2, head 8"]),
    ],
)
def test_rows_are_those_chosen(clip: Path, model: AvsegModel, choice: MapChoice, labels: list[str]) -> None:
    (look,) = Looks(probe(clip), model, AttentionOptions(duration=1.0, choice=choice))
    assert [row.label for row in look.rows] == labels
    for row in look.rows:  # multiples of an even share: their mean over what the softmax runs over is 1
        assert row.space.mean((1, 2)) == pytest.approx(1, abs=1e-4)
        assert row.time_pairs.mean(1) == pytest.approx(1, abs=1e-4)
        assert row.listening_pairs.mean(0) == pytest.approx(1, abs=1e-4)


def test_the_mean_row_is_the_mean_of_the_head_rows(clip: Path, model: AvsegModel) -> None:
    (look,) = Looks(probe(clip), model, AttentionOptions(duration=1.0, choice=MapChoice(block=1)))
    mean, *heads = look.rows
    assert mean.space == pytest.approx(np.mean([row.space for row in heads], 0), abs=1e-5)


def made_up(corner: tuple[int, int], time: bool = True) -> ClipLook:
    """Five seconds whose sound looks at one token only, and hears and is heard evenly."""
    space, even = np.zeros((5, 16, 16), np.float32), np.ones((5, 16, 16), np.float32)
    space[:, corner[0], corner[1]] = 256
    pairs = np.ones((5, 5), np.float32)
    over_time = (even, even, pairs, pairs) if time else (None, None, None, None)
    picture = np.full((120, 160, 3), 100, np.uint8)
    logits = np.full((64, 64), -5, np.float32)
    logits[4 * corner[0] : 4 * corner[0] + 4, 4 * corner[1] : 4 * corner[1] + 4] = 5
    instants = [FrameLook(n + 15 / 16, n + 1.0, picture, np.zeros(15600, np.float32), logits) for n in range(5)]
    return ClipLook(instants, [MapRow("before ST-BAVA", space, *over_time)], new=5)


def test_heat_is_where_the_sound_looks() -> None:
    clip = made_up((4, 12))
    screen = Screen(iter([clip]))
    drawn = screen.draw(clip.instants[0].picture, 1.0).astype(int)
    left, top = screen._places[0]
    panel = drawn[top : top + screen.panel[1], left : left + screen.panel[0]]
    hot = np.argwhere(panel.sum(-1) > 500)
    assert hot.mean(0) / panel.shape[:2] == pytest.approx([4.5 / 16, 12.5 / 16], abs=0.02)
    main = drawn[64 : 64 + screen.main[1], 24 : 24 + screen.main[0]]
    line = np.argwhere((main == (255, 45, 120)).all(-1))
    assert line.mean(0) / main.shape[:2] == pytest.approx([4.5 / 16, 12.5 / 16], abs=0.02)
    even = screen._places[1]
    values = drawn[even[1] + 3, even[0] + 3 : even[0] + 200]
    assert (values == values[0]).all() and np.ptp(values[0]) == 0


def test_maps_move_evenly_from_second_to_second() -> None:
    first = made_up((2, 2))
    moved = made_up((2, 12))
    space = np.stack([(first, moved)[n % 2].rows[0].space[n] for n in range(5)])
    screen = Screen(iter([replace(first, rows=[replace(first.rows[0], space=space)])]))
    left, top = screen._places[0]

    def heat(time: float, token: int) -> int:
        x, y = left + screen.panel[0] * (2 * token + 1) // 32, top + screen.panel[1] * 5 // 32
        return int(screen.draw(first.instants[0].picture, time)[y, x].sum())

    early, _, late = heat(15 / 16, 2), heat(23 / 16, 2), heat(31 / 16, 2)
    assert early > late + 200  # the left token is left
    assert heat(31 / 16, 12) > 500


def test_the_playhead_goes_through_the_sound() -> None:
    screen = Screen(iter([made_up((0, 0))]))
    left, top = screen._sound_place
    for time in (0.0, 2.5, 4.9):
        row = screen.draw(np.zeros((120, 160, 3), np.uint8), time)[top + 5, left : left + 640]
        assert np.flatnonzero((row == 255).all(-1)).mean() == pytest.approx(time / 5 * 638 + 0.5, abs=1)


def test_the_sheet_of_a_model_without_time_has_one_group() -> None:
    wide, narrow = draw_sheet(made_up((1, 1)), "title"), draw_sheet(made_up((1, 1), time=False), "title")
    assert narrow.size[0] < wide.size[0] * 0.6
    said = np.asarray(wide)
    assert (said[:120] != said[0, 0]).any()


def test_words_of_a_short_clip_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one second a group is narrower than its heading, and the colour bars wider than all groups."""
    places: list[tuple[int, int, int, int]] = []

    class Watched(Board):
        def write(self, words: str, place: tuple[int, int], size: int, *rest: object) -> None:
            super().write(words, place, size, *rest)
            anchor = rest[1] if len(rest) > 1 else "la"
            font = ImageFont.load_default(size)
            left, top, right, bottom = self._draw.multiline_textbbox(place, words, font, anchor, spacing=size // 3)
            places.append((left, top, right, bottom))

    monkeypatch.setattr("avseg_cli.attention.sheet.Board", Watched)
    clip = made_up((1, 1))
    for count in (1, 5):
        places.clear()
        sheet = draw_sheet(replace(clip, instants=clip.instants[:count]), "title")
        assert all(right <= sheet.width for _, _, right, _ in places)
        for number, one in enumerate(places):
            for other in places[:number]:
                apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
                assert apart, (one, other)


def test_an_even_share_has_no_colour_and_ends_have_the_brightest() -> None:
    space, over_time = scales(made_up((0, 0)).rows)
    assert (space.low, over_time.high) == (0.0, 1.1)
    grey = np.full((1, 3), 100, np.uint8)
    less, even, more = Scale(0.5, 1.5, True).paint(grey, np.array([[0.5, 1.0, 1.5]]))[0].astype(int)
    assert np.ptp(even) == 0
    assert less[2] > less[0] + 50 and more[0] > more[2] + 50


def test_how_much_of_a_look_is_inside_the_mask() -> None:
    clip = made_up((3, 3))
    assert clip.instants[0].inside(clip.rows[0].space[0]) == pytest.approx((1.0, 1 / 256))
    assert clip.instants[0].inside(np.ones((16, 16), np.float32)) == pytest.approx((1 / 256, 1 / 256))


def test_the_strip_shows_which_second_is_loud() -> None:
    clip = made_up((0, 0))
    loud = 0.5 * np.sin(np.arange(15600) / 5).astype(np.float32)
    instants = [*clip.instants[:2], replace(clip.instants[2], wave=loud), *clip.instants[3:]]
    strip = sound_strip(instants, (500, 100)).astype(int)
    lit = (strip[5:35].sum(-1) > 300).mean(0) > 0.3
    assert lit[205:290].all() and not lit[:195].any() and not lit[305:].any()


def test_sound_from_another_file_is_written_too(avseg, clip: Path, tmp_path: Path) -> None:
    silent = Clip(seconds=2, rate=5, sound=None).write(tmp_path / "silent.mp4")
    assert avseg(silent, "-o", tmp_path / "out.mp4", "--audio", clip)[0] == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == 1
    assert rgb_of(tmp_path / "out.mp4")[0].shape[0] > 400


def test_a_span_without_pictures_says_so(clip: Path, model: AvsegModel, tmp_path: Path) -> None:
    video = replace(probe(clip), duration=None)  # as of a file that does not say
    with pytest.raises(InputError, match="give an earlier one"):
        show_attention(video, model, {"picture": tmp_path / "a.png"}, AttentionOptions(start=100.0))
