"""``--dry-run``: each command that writes says what it would do, refuses what it would refuse, and writes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import miniature
import pytest
from command_line import run_avseg

from avseg_cli.ablation.ablate import _asked
from avseg_cli.training.options import TrainOptions


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
    (tmp_path / "run/1a").mkdir(parents=True)
    (tmp_path / "run/1a/config.json").write_text("{}")
    assert "already started" in dry(*arguments, code=5)
    assert "not the folder of a training run" in dry("train", "--resume", tmp_path, code=5)


def test_evaluate(dry, data: Path, tiny_checkpoint: Path) -> None:
    said = dry("evaluate", "--data", data, "--checkpoint", tiny_checkpoint, "--csv", "a.csv", "--masks", "out")
    assert "on 3 clips of ms3 test" in said and "would write a.csv" in said and "would write out" in said
    dry("evaluate", "--data", data, "--checkpoint", "none.safetensors", code=3)


def test_ablate(dry, data: Path, tmp_path: Path) -> None:
    (tmp_path / "all/full").mkdir(parents=True)
    of = _asked(TrainOptions(data=str(data), subset="ms3", out="all"), "test", frozen=False)
    (tmp_path / "all/full/evaluation.json").write_text(json.dumps({"of": of}))
    said = dry("ablate", "--data", data, "--out", "all", "--variants", "full,no-temporal")
    assert "would keep full in all/full" in said and "would train and evaluate no-temporal" in said


def test_prepare(dry, data: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(data, tmp_path / "data")
    next((broken / "Multi-sources/ms3_data/audio_wav/val").glob("*.wav")).unlink()
    said = dry("prepare", "--data", broken)
    assert "would keep 13 clips" in said and "would fail for want of the raw video of 1 clips" in said
    assert "would make 13 clips" in dry("prepare", "--data", broken, "--log-mel")


def test_synth(dry, tmp_path: Path) -> None:
    from synth_media import make_media

    make_media(tmp_path / "media")
    said = dry("synth", "--media", "media", "--out", "out", "--clips", 10, "--splits", "8/1/1")
    assert "would make 8 train, 1 val, 1 test clips in out" in said
    assert "already exists" in dry("synth", "--media", "media", "--out", "media", code=5)
    assert "would get tuxpaint-stamps-default from Debian" in dry("synth", "fetch", "--out", "new")
    assert "already exists" in dry("synth", "fetch", "--out", "media", code=5)


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
