"""``--dry-run``: each command that writes says what it would do, refuses what it would refuse, and writes nothing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import miniature
import pytest
from command_line import run_avseg
from media_files import Clip

from avseg_cli.ablation.ablate import _asked
from avseg_cli.checkpoints.checkpoint import save_checkpoint
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.training.train_options import TrainOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.make(tmp_path_factory.mktemp("data"))


@pytest.fixture
def dry(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, tmp_path: Path):
    """Runs a command with ``--dry-run`` in an empty folder; gives what it said, once sure that nothing appeared."""

    def run(*arguments: object, code: int = 0) -> str:
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        ended, _, said = run_avseg(capfd, monkeypatch, *arguments, "--dry-run")
        assert ended == code, said
        assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
        return said

    return run


def test_train(dry, data: Path, tmp_path: Path) -> None:
    arguments = ("train", "--data", data, "--backbone", "tiny", "--out", "run", "--device", "cpu")
    said = dry(*arguments, "--precision", "fp32", "--epochs", 7)
    assert "would train on 8 clips and choose the best on 3, on cpu in float32" in said
    assert [stage in said for stage in ("pretrain-sound, 7 epochs", "stage 1a, 7", "stage 2, 7")] == [True] * 3
    assert "image embeddings in run/embeddings" in said
    assert "a step was tried" not in said  # 14 steps of 1a and of 2 are soon done
    (tmp_path / "run/1a").mkdir(parents=True)
    (tmp_path / "run/1a/config.json").write_text("{}")
    assert "already started" in dry(*arguments, code=5)
    assert "not the folder of a training run" in dry("train", "--resume", tmp_path, code=5)


def test_train_tells_how_long_it_takes(dry, data: Path, tmp_path: Path) -> None:
    """Tried on the first clips, of which one that cannot be read is met now."""
    damaged = shutil.copytree(data, tmp_path / "data")
    small = ("--backbone", "tiny", "--image-size", 64, "--depth", 1, "--batch-size", 1, "--device", "cpu")
    arguments = ("train", "--data", damaged, "--out", "run", "--stage", "1a,2", "--epochs", 50, *small)
    said = dry(*arguments)
    assert said.count("a step was tried and takes") == 2 and said.count(": all 400 about") == 2
    assert "need for stage 1a: before it, embeddings of the 55 frames take about" in said
    for wav in (damaged / "Multi-sources/ms3_data/audio_wav/train").glob("*.wav"):
        wav.write_bytes(b"not a sound")
    assert "not a readable sound file" in dry(*arguments, code=7)


def test_a_cpu_trains_in_float32(dry, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSEG_BF16", "on")
    asked = ("train", "--data", data, "--backbone", "tiny", "--out", "run", "--device", "cpu")
    assert "on cpu in float32" in dry(*asked) and "on cpu in bfloat16" in dry(*asked, "--precision", "bf16")


def test_evaluate(dry, data: Path, tiny_checkpoint: Path) -> None:
    said = dry("evaluate", "--data", data, "--checkpoint", tiny_checkpoint, "--csv", "a.csv", "--masks", "out")
    assert "on 3 clips of ms3 test" in said and "would write a.csv" in said and "would write out" in said
    dry("evaluate", "--data", data, "--checkpoint", "none.safetensors", code=3)


@pytest.mark.parametrize("asked", ["baselines", "move-sound", "sources"])
def test_evaluate_looks_for_what_only_made_data_has(
    asked: str, dry, data: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """The run met it when all clips were scored."""
    plain = shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(plain / "object_maps")
    arguments = ("evaluate", "--data", plain, "--checkpoint", tiny_checkpoint, f"--{asked}")
    assert f"no object maps; --{asked} needs data made by `avseg synth`" in dry(*arguments, code=7)
    (plain / "categories.json").unlink()
    assert "no categories.json" in dry(*arguments, code=7)


def test_ablate(dry, data: Path, tmp_path: Path) -> None:
    (tmp_path / "all/full").mkdir(parents=True)
    base = TrainOptions(data=str(data), subset="ms3", out="all", backbone="tiny", pretrained="all/pretrained")
    of = _asked(base, "test", frozen=False)
    (tmp_path / "all/full/evaluation.json").write_text(json.dumps({"of": of}))
    arguments = ("ablate", "--data", data, "--out", "all", "--variants", "full,no-temporal", "--backbone")
    said = dry(*arguments, "tiny")
    assert "would keep full in all/full" in said and "would train and evaluate no-temporal" in said
    assert "no clip of ms3 in split 'dev'" in dry(*arguments, "tiny", "--split", "dev", code=7)
    assert "avseg weights download" in dry(*arguments, "vit_b", code=3)


def test_what_is_named_is_loaded(dry, data: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    """A dry run that passes is one whose weights, device and disk are there."""
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))
    Clip(seconds=1).write(tmp_path / "clip.mp4")
    for command in ("segment", "attention"):
        assert "no such checkpoint file" in dry(command, "clip.mp4", "--checkpoint", "nope", code=3)
        assert "no device 'cuda:99'" in dry(command, "clip.mp4", "--device", "cuda:99", code=4)
        assert "no precision 'fp8'" in dry(command, "clip.mp4", "--precision", "fp8", code=4)
    assert "no device" in dry("evaluate", "--data", data, "-c", tiny_checkpoint, "--device", "cuda:99", code=4)
    train = ("train", "--data", data, "--out", "run", "--device", "cpu")
    assert "avseg weights download" in dry(*train, "--backbone", "vit_b", code=3)
    assert "no such checkpoint" in dry(*train, "--backbone", "tiny", "--init", "nope", code=3)
    for command in ("train", "ablate"):
        made = (command, *train[1:], "--backbone", "tiny")
        assert "holds no pretrain-sound/best.safetensors or" in dry(*made, "--pretrained", "nowhere", code=3)
        assert "clip.mp4: not a folder" in dry(*made, "--cache", "clip.mp4", code=5)
    assert "no such checkpoint file" in dry("bench", "--scaling", "--checkpoint", "nope", code=3)
    assert "no device 'cuda:99'" in dry("bench", "--scaling", "--device", "cuda:99", code=4)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "what frozen networks give takes" in dry(*train, "--backbone", "tiny", code=5)


@pytest.mark.parametrize("command", ["train", "ablate"])
@pytest.mark.parametrize("lost", ["gt_masks/train", "gt_masks/val", "audio_wav/train", "audio_wav/val"])
def test_a_file_that_the_data_lacks_is_found_first(lost: str, command: str, dry, data: Path, tmp_path: Path) -> None:
    """A run would meet it after the embeddings, hours later."""
    gaps = shutil.copytree(data, tmp_path / "data")
    path = next(path for path in (gaps / "Multi-sources/ms3_data" / lost).rglob("*.*"))
    path.unlink()
    said = dry(command, "--data", gaps, "--out", "run", "--backbone", "tiny", "--device", "cpu", code=7)
    assert f"{path}: " in said and "is missing; `avseg prepare --check` lists what a data root lacks" in said


def test_what_is_made_for_pretraining_is_looked_for_too(dry, data: Path, tmp_path: Path) -> None:
    gaps = shutil.copytree(data, tmp_path / "data")
    train = ("train", "--data", gaps, "--out", "run", "--backbone", "tiny", "--device", "cpu")
    (gaps / "object_maps/val/val0/val0_2.png").unlink()
    assert "val0_2.png: object map of val0 is missing" in dry(*train, code=7)
    shutil.rmtree(gaps / "object_maps/train/train1")
    assert "object_maps/train/train1: object maps of train1 is missing" in dry(*train, code=7)
    dry(*train, "--stage", "1a")


def test_ablate_looks_at_the_split_that_it_reports(dry, data: Path, tmp_path: Path) -> None:
    gaps = shutil.copytree(data, tmp_path / "data")
    next((gaps / "Multi-sources/ms3_data/audio_wav/test").glob("*.wav")).unlink()
    arguments = ("--data", gaps, "--out", "run", "--backbone", "tiny", "--device", "cpu")
    assert "sound of test" in dry("ablate", *arguments, code=7)
    dry("train", *arguments)


@pytest.mark.parametrize(
    ("changes", "asked", "said", "code"),
    [
        ({"fusion_depth": 0}, (), "this checkpoint has none (fusion_depth 0)", 3),
        ({"fusion": "none"}, (), "this checkpoint's fusion is 'none'", 3),
        ({}, ("--block", 9), "--block 9 is not there; this model has", 2),
    ],
)
def test_attention_that_has_no_maps(
    changes: dict, asked: tuple, said: str, code: int, dry, tmp_path: Path, capfd, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Clip(seconds=1).write(tmp_path / "clip.mp4")
    save_checkpoint(tmp_path / "model.safetensors", AvsegModel(preset("tiny", **changes)))
    command = ("attention", "clip.mp4", "--checkpoint", "model.safetensors", *asked)
    ran = run_avseg(capfd, monkeypatch, *command)
    for told in (dry(*command, code=code), ran.err):
        assert said in told and len(told.strip().splitlines()) == 1
    assert ran.code == code and not list(tmp_path.glob("*.avseg.*"))


@pytest.mark.parametrize("command", ["train", "ablate"])
def test_without_tensorboard_nothing_begins(command: str, dry, data: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said = dry(command, "--data", data, "--out", "run", "--backbone", "tiny", "--device", "cpu", code=1)
    assert "pip install 'avseg[train]'" in said


def test_prepare(dry, data: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(data, tmp_path / "data")
    next((broken / "Multi-sources/ms3_data/audio_wav/val").glob("*.wav")).unlink()
    said = dry("prepare", "--data", broken)
    assert "would keep 13 clips" in said and "would fail for want of the raw video of 1 clip" in said
    assert "would make 13 clips" in dry("prepare", "--data", broken, "--log-mel")


def test_synth(dry, tmp_path: Path) -> None:
    from synth_media import make_media

    make_media(tmp_path / "media")
    said = dry("synth", "--media", "media", "--out", "out", "--clips", 10, "--splits", "8/1/1")
    assert "would make 8 train, 1 val, 1 test clips in out" in said
    assert "already exists" in dry("synth", "--media", "media", "--out", "media", code=5)
    assert "would get tuxpaint-stamps-default from Debian" in dry("synth", "fetch", "--out", "new")
    assert "already exists" in dry("synth", "fetch", "--out", "media", code=5)
    (tmp_path / "file").touch()
    for command in (("synth", "--media", "media"), ("synth", "fetch")):
        assert "file: not a folder; give --out another place" in dry(*command, "--out", "file/new", code=5)


def test_weights_download(dry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))
    said = dry("weights", "download", "all")
    assert said.count("would download") == 4 and "(2.56 GB) from https://" in said
    assert "from shelf into" in dry("weights", "download", "sam_vit_b", "--from", "shelf")
    assert "--offline allows no network" in dry("weights", "download", "sam_vit_b", "--offline")
    assert "not https" in dry("weights", "download", "vggish", "--mirror", "http://127.0.0.1", code=6)


def test_weights_import(dry, tmp_path: Path) -> None:
    (tmp_path / "there.safetensors").touch()
    (tmp_path / "authors.pth").write_text("no checkpoint")
    assert "already exists" in dry("weights", "import", "authors.pth", "-o", "there.safetensors", code=5)
    dry("weights", "import", "authors.pth", code=3)


def test_bench(dry) -> None:
    said = dry("bench", "--scaling", "--plot", "scaling.png")
    assert "would time avseg segment on videos of 10,20,40,80 s" in said and "would write scaling.png" in said
    assert "would compare log_mel of tiny" in dry("bench", "--parts", "log_mel", "--backbone", "tiny")
