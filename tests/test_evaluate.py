"""avseg evaluate: the same ruler for a model, for masks on disk, for prompted SAM, and with the wrong sound."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run_avseg
from miniature import CATEGORIES, make
from PIL import Image
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError, CheckpointError, DataError, InputError
from avseg_cli.base.threads import cores
from avseg_cli.base.version import __version__
from avseg_cli.checkpoints.checkpoint import save_checkpoint
from avseg_cli.cli import app
from avseg_cli.cli.options import said
from avseg_cli.data.clips import read_clips
from avseg_cli.data.dataset import ClipDataset
from avseg_cli.data.files import read_masks, read_prediction
from avseg_cli.data.subsets import find_subset
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.scoring import evaluate as job
from avseg_cli.scoring import shares
from avseg_cli.scoring import tables as report
from avseg_cli.scoring.confidence import intervals
from avseg_cli.scoring.evaluate import EvaluateOptions, evaluate, plan
from avseg_cli.scoring.other_sounds import NegativeSounds
from avseg_cli.scoring.predictors import PromptPredictor, largest_regions, region_box, region_point
from avseg_cli.scoring.published import METHODS, PROMPTS
from avseg_cli.scoring.scores import by_size, score_clip, summarise


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), "ms3", {"test": 3})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    model = AvsegModel(preset("tiny", image_size=96, fusion_depth=1))
    for parameter in model.mask_decoder.output_hypernetworks_mlps.parameters():
        parameter.data.mul_(4)  # logits far enough from 0 for masks that are neither empty nor full
    save_checkpoint(path, model)
    return path


def scored(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def write_truth(data: Path, out: Path, first: int, subset: str = "ms3") -> None:
    for clip in read_clips(data, find_subset(subset), "test"):
        folder = out / clip.category / clip.name
        folder.mkdir(parents=True)
        for k, mask in enumerate(read_masks(clip), start=first):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{clip.name}_{k}.png")


@pytest.mark.parametrize("first", [0, 1], ids=["authors' naming", "truth's naming"])
def test_the_truth_scores_one(first: int, data: Path, tmp_path: Path) -> None:
    write_truth(data, tmp_path, first)
    figures = scored("--data", data, "--predictions", tmp_path)
    assert figures["miou"] == pytest.approx(1.0) and figures["f"] == pytest.approx(1.0)
    assert set(figures["definitions"]) >= {"miou", "f", "f_dataset"}
    assert "F is of binary masks" in figures["notes"][0] and figures["made_by"] == {"avseg": __version__}


def test_a_long_name_is_told_to_its_end(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    name = "-".join(f"part{number}" for number in range(20))
    write_truth(data, Path(name), 0)
    ran = run_avseg(capfd, monkeypatch, "evaluate", "--data", data, "--predictions", name)
    assert ran.code == 0 and "…" not in ran.err
    assert name in "".join(re.findall(r"^│ (\S*)", ran.err, re.MULTILINE))


def test_a_perfect_soft_mask_scores_one(data: Path, tmp_path: Path) -> None:
    """Grey below half is background, however much of it there is; F is of the greys, and that is said."""
    for clip in read_clips(data, find_subset("ms3"), "test"):
        (tmp_path / clip.name).mkdir()
        for k, mask in enumerate(read_masks(clip)):
            Image.fromarray(np.where(mask, 200, 90).astype(np.uint8)).save(
                tmp_path / clip.name / f"{clip.name}_{k}.png"
            )
    figures = scored("--data", data, "--predictions", tmp_path)
    assert figures["miou"] == pytest.approx(1.0) and figures["f"] == pytest.approx(1.0)
    assert "cut at half grey" in figures["notes"][0]


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [("L", 255, 1.0), ("L", 1, 1 / 255), ("L", 51, 0.2), ("1", 1, 1.0), ("P", 1, 1.0), ("RGB", (0, 51, 0), 0.2),
     ("RGBA", (0, 0, 0, 255), 0.0), ("LA", (51, 255), 0.2)],
)  # fmt: skip
def test_predictions_are_read_in_every_kind_of_picture(mode: str, value, wanted: float, tmp_path: Path) -> None:
    picture = Image.new(mode, (64, 64), value)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "mask.png")
    read = read_prediction(tmp_path / "mask.png")
    assert read.shape == (224, 224) and read.min() == read.max() == pytest.approx(wanted)


def test_a_models_masks_score_what_the_model_scores(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Written in the authors' naming and read back by --predictions: the same mIoU."""
    masks, table = tmp_path / "masks", tmp_path / "scores.csv"
    own = scored("--data", data, "--checkpoint", checkpoint, "--masks", masks, "--csv", table)
    assert 0 < own["foreground"] < 1
    assert own["made_by"] == {
        "avseg": __version__, "checkpoint": str(checkpoint), "device": "cpu",
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "precision": "fp32",
    }  # fmt: skip
    assert (masks / "test0" / "test0_0.png").is_file() and len(list(masks.rglob("*.png"))) == 15
    again = scored("--data", data, "--predictions", masks)
    assert again["miou"] == pytest.approx(own["miou"], abs=1e-12)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["test0", "test1", "test2"]
    assert np.mean([float(row["miou"]) for row in rows]) == pytest.approx(own["miou"], abs=1e-6)
    assert {row["frames_with_truth"] for row in rows} == {"4"}  # one second in five is silent


def test_s4_scores_each_category(tmp_path: Path) -> None:
    data = make(tmp_path / "data", "s4", {"test": 4}, seed=3)
    write_truth(data, tmp_path / "masks", 0, "s4")
    figures = scored("--data", data, "--subset", "s4", "--predictions", tmp_path / "masks")
    assert set(figures["categories"]) <= set(CATEGORIES)
    assert sum(category["clips"] for category in figures["categories"].values()) == 4


def test_wrong_sounds_moved_sound_and_baselines(data: Path, checkpoint: Path) -> None:
    figures = scored(
        "--data",
        data,
        "--checkpoint",
        checkpoint,
        "--negatives",
        "silence,noise",
        "--baselines",
        "--limit-clips",
        2,
    )
    assert set(figures["negatives"]) == {"silence", "noise"}
    for negative in figures["negatives"].values():
        assert 0 <= negative["foreground"] <= 1
        assert negative["matching_foreground"] == pytest.approx(figures["foreground"])
    every = figures["baselines"]["every object"]
    assert 0.3 < every["miou"] < 0.7  # one of two objects of the same size sounds
    assert len(figures["baselines"]) == 2


def one_of_two_sounds(root: Path) -> Path:
    """v1s-like content in the MS3 layout: one category sounds all along, the other is visible and silent."""
    data = make(root, "ms3", {"test": 6}, seed=1)
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["sounding"] = [[CATEGORIES[number % 2]]] * 5
    (data / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data


def test_sound_moves_to_a_visible_object_that_is_silent(tmp_path: Path, checkpoint: Path) -> None:
    figures = scored("--data", one_of_two_sounds(tmp_path), "--checkpoint", checkpoint, "--move-sound")
    assert figures["moved"]["clips"] == 6


def test_swapped_sound_is_of_something_the_picture_does_not_show(data: Path) -> None:
    clips = read_clips(data, find_subset("ms3"), "test")
    sounds = ClipDataset(clips, ("log_mel",), cache=False)
    swapped = NegativeSounds(sounds, "swap", heard=[{"a"}, {"b"}, {"c"}], seen=[{"a", "b"}, {"b"}, {"a", "c"}])
    assert swapped.donors[0] == 2 and swapped.donors[1] in (0, 2) and swapped.donors[2] == 1
    assert torch.equal(swapped.log_mel(0), sounds.sound(2))
    assert torch.equal(
        NegativeSounds(sounds, "noise", None, None).log_mel(1),
        NegativeSounds(sounds, "noise", None, None).log_mel(1),
    )
    assert NegativeSounds(sounds, "silence", None, None).log_mel(0).unique().numel() == 1
    with pytest.raises(AvsegError, match="use more clips"):
        NegativeSounds(sounds, "swap", heard=[{"a"}] * 3, seen=[{"a"}] * 3)


def test_regions_are_prompted_largest_first() -> None:
    truth = np.zeros((50, 60), bool)
    truth[2:6, 3:9] = True
    truth[20:40, 20:50] = True
    truth[45, 55] = True
    regions = largest_regions(truth, 2)
    assert [int(r.sum()) for r in regions] == [600, 24]
    assert region_box(regions[0]) == (20, 20, 50, 40)
    assert region_point(regions[0], np.random.default_rng(0)) == (34.5, 29.5)
    ring = np.zeros((50, 60), bool)
    ring[10:40, 10:40] = True
    ring[15:35, 15:35] = False
    x, y = region_point(ring, np.random.default_rng(0))
    assert ring[int(y), int(x)]  # the centre is in the hole


class StandIn(torch.nn.Module):
    """Small SAM of segment_anything's own parts, with random weights."""

    @staticmethod
    def build() -> torch.nn.Module:
        from segment_anything.modeling import (
            ImageEncoderViT,
            MaskDecoder,
            PromptEncoder,
            Sam,
            TwoWayTransformer,
        )

        torch.manual_seed(0)
        encoder = ImageEncoderViT(img_size=64, patch_size=16, embed_dim=16, depth=1, num_heads=2, out_chans=32)
        prompt = PromptEncoder(embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4)
        transformer = TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2)
        decoder = MaskDecoder(transformer_dim=32, transformer=transformer, iou_head_hidden_dim=16)
        return Sam(encoder, prompt, decoder).eval()


@pytest.mark.parametrize("prompt", ["points:1", "points:3", "box:1", "box:3"])
def test_prompted_sam_is_scored(prompt: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "load_sam", lambda backbone, device: StandIn.build())
    result = evaluate(EvaluateOptions(data=str(data), subset="ms3", prompts=prompt, limit_clips=1))
    assert result.clips[0].frames == 5 and 0 <= result.total.miou <= 1


def test_prompted_sam_says_nothing_where_nothing_sounds() -> None:
    predictor = PromptPredictor(StandIn.build(), "box", 1)
    frame = torch.zeros(64, 64, 3, dtype=torch.uint8)
    assert not predictor._frame(frame, torch.zeros(224, 224, dtype=torch.bool)).any()


def test_prompts_without_sams_weights_tell_how_to_get_them(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="avseg weights download"):
        evaluate(EvaluateOptions(data=str(data), subset="ms3", prompts="box:1"))


@pytest.mark.parametrize("composed", [False, True])
def test_published_rows_stand_beside_the_real_test_split_only(composed: bool, data: Path, tmp_path: Path) -> None:
    """Composed clips are as many only by chance, or because someone wanted a split of that size."""
    shutil.copytree(data, tmp_path / "data")
    write_truth(data, tmp_path / "masks", 0)
    if not composed:
        (tmp_path / "data/manifest.jsonl").unlink()
    result = evaluate(EvaluateOptions(data=str(tmp_path / "data"), predictions=str(tmp_path / "masks")))
    result.clips *= 64  # as many as MS3's test split, give or take the miniature's three
    result.clips = result.clips[:64]
    published = [row for row in report.rows(result) if row.kind == "published"]
    assert len(published) == (0 if composed else len(METHODS) + len(PROMPTS))


@pytest.fixture
def threads_of_two_processes() -> Iterator[None]:
    """As many threads as each of two processes has: sums of parts differ in the last digit with their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, cores() // 2))
    yield
    torch.set_num_threads(before)


def test_several_processes_find_what_one_finds(
    checkpoint: Path, tmp_path: Path, threads_of_two_processes: None
) -> None:
    """To the digit: figures, wrong sounds, moved sounds, masks, and the clips that are kept to be looked at."""
    data = one_of_two_sounds(tmp_path / "data")
    one, two = (
        evaluate(
            EvaluateOptions(
                data=str(data), subset="ms3", checkpoint=str(checkpoint), negatives=("silence", "noise"),
                move_sound=True, baselines=True, sources=True, masks=str(tmp_path / name), examples=1,
                device="cpu", jobs=jobs, workers=workers,
            )
        )
        for name, jobs, workers in (("one", 1, 0), ("two", 2, 1))
    )  # fmt: skip
    assert report.to_dict(one) == report.to_dict(two)
    assert [clip.name for clip in one.clips] == [clip.name for clip in two.clips]
    assert all(torch.equal(a.curve_sum, b.curve_sum) for a, b in zip(one.clips, two.clips, strict=True))
    assert [e.score.name for e in (*one.best, *one.worst)] == [e.score.name for e in (*two.best, *two.worst)]
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert len(files) == 30
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_what_goes_wrong_in_another_process_is_told_here(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    broken = read_clips(tmp_path / "data", find_subset("ms3"), "test")[1].masks[0]
    broken.write_bytes(b"not a picture")
    options = EvaluateOptions(data=str(tmp_path / "data"), subset="ms3", checkpoint=str(checkpoint), device="cpu")
    with pytest.raises(AvsegError, match=broken.name):
        evaluate(replace(options, jobs=2))
    with pytest.raises(InputError, match="only a model is worth several processes"):
        EvaluateOptions(data="", predictions=".", jobs=2)


SPOILT = {
    "no object maps": lambda data: shutil.rmtree(data / "object_maps"),
    "no categories": lambda data: (data / "categories.json").unlink(),
    "no manifest": lambda data: (data / "manifest.jsonl").unlink(),
    "all sound": lambda data: None,  # so that none of them can take another's sound
}


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
@pytest.mark.parametrize(
    ("lack", "option", "message"),
    [
        ("no object maps", "sources", "no object maps; sources needs data made by `avseg synth`"),
        ("no object maps", "baselines", "no object maps; baselines needs"),
        ("no object maps", "move_sound", "no object maps; move_sound needs"),
        ("no categories", "sources", "no categories.json"),
        ("no manifest", "move_sound", "it has no manifest.jsonl"),
        ("all sound", "move_sound", "move_sound: no clip of this split shows a silent object"),
        ("all sound", "negatives", "no clip of this split sounds of something that test0 does not show"),
    ],
)
def test_what_made_data_lack_is_told_before_anything_is_scored(
    lack: str, option: str, message: str, dry: bool, data: Path, checkpoint: Path, tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(data, tmp_path / "data")
    SPOILT[lack](tmp_path / "data")
    monkeypatch.setattr(job, "score_clip", lambda *_: pytest.fail("a clip was scored"))
    given = {option: ("swap",) if option == "negatives" else True}
    options = EvaluateOptions(data=str(tmp_path / "data"), checkpoint=str(checkpoint), **given, device="cpu")
    with pytest.raises((DataError, InputError), match=message):
        plan(options) if dry else evaluate(options)


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--csv", "scores.html", "--csv takes a name that ends with .csv"),
        ("--csv", "file/scores.csv", "file: not a folder; give --csv another place"),
        ("--csv", "folder.csv", "folder.csv: is a folder; give --csv a file"),
        ("--report", "scores.csv", "--report takes a name that ends with .html"),
        ("--report", "file/deep/scores.html", "file: not a folder; give --report another place"),
        ("--report", "locked/scores.html", "locked: cannot be written to; give --report another place"),
        ("--masks", "file", "file: not a folder; give --masks another place"),
    ],
)
@pytest.mark.parametrize("subset", ["ms3", "clips"])
def test_a_place_that_takes_no_output_is_told_before_anything_is_scored(
    subset: str, option: str, place: str, message: str, dry: bool, tmp_path: Path, capfd, monkeypatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    access = os.access  # root may write everywhere
    monkeypatch.setattr("os.access", lambda path, mode: "locked" not in str(path) and access(path, mode))
    (tmp_path / "locked").mkdir()
    arguments = ("--subset", subset, "--data", tmp_path, "--checkpoint", "default", option, tmp_path / place)
    ran = run_avseg(capfd, monkeypatch, "evaluate", *arguments, *(["--dry-run"] if dry else []))
    assert ran.code == 5 and message in ran.err and len(ran.err.splitlines()) == 1


def test_figures_are_told_when_no_file_can_be_written(data: Path, tmp_path: Path, capfd, monkeypatch) -> None:
    """The disk is full, or the folder is gone, once all is scored."""
    write_truth(data, tmp_path / "masks", 0)
    monkeypatch.setattr("avseg_cli.base.whole_files.commit", _full)
    places = ("--csv", tmp_path / "new/a.csv", "--report", tmp_path / "new/a.html")
    ran = run_avseg(
        capfd, monkeypatch, "evaluate", "--data", data, "--predictions", tmp_path / "masks", *places, "--json"
    )
    assert ran.code == 5 and json.loads(ran.out)["miou"] == pytest.approx(1) and "100.00" in ran.err
    assert "a.csv: the disk is full" in ran.err and "or use --csv" in ran.err and "a.html: the disk is full" in ran.err


def _full(partial: Path, path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_masks_never_replace_what_they_are_scored_by(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    truth = read_clips(data, find_subset("ms3"), "test")[0].masks[0]
    options = EvaluateOptions(data=str(data), checkpoint=str(checkpoint), masks=str(truth.parent.parent), device="cpu")
    before = truth.read_bytes()
    with pytest.raises(InputError, match="holds the masks to score against"):
        evaluate(options)
    assert truth.read_bytes() == before
    with pytest.raises(InputError, match="would replace predictions"):
        EvaluateOptions(data="", predictions=str(tmp_path), masks=f"{tmp_path}/../{tmp_path.name}")


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
@pytest.mark.parametrize(
    ("part", "given"),
    [
        ("frames", {}),
        ("masks", {}),
        ("sound", {}),
        ("predicted", {}),
        ("object_maps", {"move_sound": True}),
        ("object_maps", {"negatives": ("swap",)}),
    ],
)
def test_a_missing_file_is_told_before_anything_is_scored(
    part: str, given: dict, dry: bool, data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data, tmp_path / "data")
    last = read_clips(tmp_path / "data", find_subset("ms3"), "test")[-1]
    subject = {"checkpoint": str(checkpoint)}
    if part == "predicted":
        write_truth(data, tmp_path / "masks", 0)
        subject = {"predictions": str(tmp_path / "masks")}
        absent = tmp_path / "masks" / last.name / f"{last.name}_4.png"
    else:
        absent = last.wav if part == "sound" else getattr(last, part)[2]
    absent.unlink()
    monkeypatch.setattr(job, "score_clip", lambda *_: pytest.fail("a clip was scored"))
    options = EvaluateOptions(data=str(tmp_path / "data"), **subject, **given, device="cpu")
    with pytest.raises(DataError, match=rf"{absent.name}.* missing; "):
        plan(options) if dry else evaluate(options)


def test_only_files_that_are_read_need_to_be_there(data: Path, tmp_path: Path) -> None:
    """Anyone's masks are scored without frames and sounds; object maps are for those who ask."""
    shutil.copytree(data, tmp_path / "data")
    write_truth(data, tmp_path / "masks", 0)
    for clip in read_clips(tmp_path / "data", find_subset("ms3"), "test"):
        for path in (*clip.frames, *clip.object_maps, clip.wav):
            path.unlink(missing_ok=True)
    options = EvaluateOptions(data=str(tmp_path / "data"), predictions=str(tmp_path / "masks"))
    assert evaluate(options).total.miou == pytest.approx(1)


def test_each_process_takes_the_next_gpu_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    options = EvaluateOptions(data="", checkpoint="default", device="cuda")
    assert [shares.on_own_device(options, rank).device for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert shares.on_own_device(replace(options, device="cuda:1"), 0).device == "cuda:1"


def test_frames_are_told_apart_by_the_size_of_their_truth() -> None:
    truth = torch.zeros(4, 224, 224, dtype=torch.bool)
    truth[1, :10, :10] = truth[2, :50, :50] = truth[3, :112] = True  # 0.2 %, 5 %, 50 % of the frame
    sizes = by_size([score_clip("clip", "", truth.float(), truth)])
    assert list(sizes) == ["empty", "small", "medium", "large"]
    assert all(size.frames == 1 and size.miou == pytest.approx(1) for size in sizes.values())
    assert [size.f_dataset for size in sizes.values()] == pytest.approx([0, 1, 1, 1])
    half = torch.zeros_like(truth, dtype=torch.float32)
    half[2, :25, :50] = 1
    sizes = by_size([score_clip("clip", "", half, truth)] * 3)
    assert sizes["medium"].frames == 3 and sizes["medium"].miou == pytest.approx(0.5)
    assert sizes["small"].miou == 0 and sizes["empty"].miou == 1
    edge = torch.zeros(1, 100, 100, dtype=torch.bool)
    edge[0, :10, :10] = True
    assert list(by_size([score_clip("edge", "", edge.float(), edge)])) == ["medium"], "1 % is the first of medium"


def test_intervals_are_those_of_resampled_clips() -> None:
    random = np.random.default_rng(1)
    truth = torch.zeros(1, 224, 224, dtype=torch.bool)
    truth[:, :100, :100] = True
    scores = []
    for share in random.uniform(0.2, 1, 40):
        found = torch.zeros(1, 224, 224)
        found[:, : int(100 * share), :100] = 1
        scores.append(score_clip("clip", "", found, truth))
    ends, ious = intervals(scores), np.array([score.iou for score in scores])
    assert ends == intervals(scores), "seeded"
    spread = 1.96 * ious.std() / np.sqrt(len(ious))
    assert ends["miou"] == pytest.approx((ious.mean() - spread, ious.mean() + spread), abs=0.01)
    whole = summarise(scores)
    assert all(low < getattr(whole, name) < high for name, (low, high) in ends.items())
    alone = intervals(scores[:1])
    assert alone["miou"] == pytest.approx((scores[0].iou,) * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --checkpoint, --predictions and --prompts"),
        (["--predictions", "nowhere"], "no such folder of predictions"),
        (["--prompts", "circle:1"], "points:1, points:3, box:1 or box:3"),
        (["--predictions", ".", "--negatives", "noise"], "only a model can hear another sound"),
        (["--checkpoint", "nowhere.safetensors"], "no such checkpoint file"),
    ],
    ids=str,
)
def test_wrong_options_are_explained(arguments: list[str], message: str, data: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--data", str(data), *arguments])
    assert isinstance(result.exception, AvsegError) and message in said(result.exception)


def test_sources_are_told_apart_in_the_truth_itself(tmp_path: Path) -> None:
    data = make(tmp_path / "data", "ms3", {"test": 3}, seed=3)
    write_truth(data, tmp_path / "masks", 0, "ms3")
    figures = scored("--data", data, "--predictions", tmp_path / "masks", "--sources")
    true = figures["sources"]["true"]
    assert figures["sources"]["predicted"] == true, "the truth was given as the prediction"
    assert true["found"] == true["objects"] > 5 and true["named"] == 0, "masks on disk name nothing"
    assert true["switches"] == true["merged"] == true["split"] == 0
    assert any("sources in the true masks" in note for note in figures["notes"])
