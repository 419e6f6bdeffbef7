"""--compile: the image encoder alone, in place, in every job that has it; refused where there is no compiler."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from miniature import make
from torch import nn
from typer.testing import CliRunner

from avseg_cli.base.compiler import no_compiler
from avseg_cli.base.errors import DeviceError, InputError
from avseg_cli.bench.bench_options import BenchOptions
from avseg_cli.bench.parts import build_model
from avseg_cli.bench.run import run_bench
from avseg_cli.checkpoints.checkpoint import load_model
from avseg_cli.cli import app
from avseg_cli.media.sample import make_video
from avseg_cli.model.backbones import preset
from avseg_cli.scoring.evaluate import evaluate
from avseg_cli.scoring.evaluate_options import EvaluateOptions, FootageOptions
from avseg_cli.segment.segmenter import Segmenter
from avseg_cli.training.train import train
from avseg_cli.training.train_options import TrainOptions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), "ms3", {"train": 1, "val": 1, "test": 1})


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of modules that were compiled: the compiler stands in for itself."""
    seen: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **_: seen.append(type(module).__name__))
    monkeypatch.setenv("CXX", sys.executable)
    return seen


def training(data: Path, out: Path, **changes: object) -> TrainOptions:
    return TrainOptions(
        data=str(data), subset="ms3", out=str(out), stages=("2",), backbone="tiny", image_size=64, depth=1,
        device="cpu", epochs=1, **changes,  # type: ignore[arg-type]
    )  # fmt: skip


def test_every_job_compiles_the_encoder_once(
    compiled: list[str], data: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "clip.mp4", 1)
    arguments = ["segment", str(video), "--compile", "--dry-run", "--checkpoint", str(tiny_checkpoint)]
    jobs: dict[str, Callable[[], object]] = {
        "segment": lambda: CliRunner().invoke(app, [*arguments, "--device", "cpu"], catch_exceptions=False),
        "evaluate": lambda: evaluate(
            EvaluateOptions(str(data), "ms3", checkpoint=str(tiny_checkpoint), device="cpu", compiled=True)
        ),
        "train": lambda: train(training(data, tmp_path / "run", compiled=True)),
        "bench": lambda: run_bench(
            BenchOptions(backbone="tiny", parts=("vggish",), repeats=1, device="cpu", precision="fp32", compiled=True)
        ),
    }
    for name, job in jobs.items():
        job()
        assert compiled == ["ImageEncoder"], name
        compiled.clear()


def test_without_a_compiler_it_is_refused(
    data: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    for job in (
        lambda: Segmenter.load(tiny_checkpoint, "cpu", "fp32", compiled=True),
        lambda: Segmenter(load_model(tiny_checkpoint, "cpu", "fp32"), compiled=True),
        lambda: train(training(data, tmp_path / "run", compiled=True)),
        lambda: run_bench(BenchOptions(backbone="tiny", device="cpu", precision="fp32", compiled=True)),
    ):
        with pytest.raises(DeviceError, match=r"^compiled: no C\+\+ compiler here \(no-such-compiler\); leave it out"):
            job()
    monkeypatch.setattr("avseg_cli.base.compiler.find_spec", lambda name: None)
    assert "no triton" in (no_compiler("cuda") or "") and no_compiler("mps") is None
    for refused in (
        lambda: EvaluateOptions("", predictions=".", compiled=True),
        lambda: FootageOptions("", predictions=".", compiled=True),
    ):
        with pytest.raises(InputError, match="compiled needs"):
            refused()


def test_torch_takes_the_encoder_apart_without_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of torch.compile but the code that it would make at the end."""
    model = build_model(preset("tiny", depth=1, global_blocks=(), image_size=64), seed=0)
    compiling = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiling(module, backend="eager"))
    monkeypatch.setenv("CXX", sys.executable)
    fast = Segmenter(model, compiled=True).model
    frames, sound = torch.randn(2, 3, 64, 64), torch.randn(2, 128)
    with torch.inference_mode():
        torch.testing.assert_close(fast.embed_frames(frames, sound), model.embed_frames(frames, sound))
    assert fast.image_encoder.state_dict().keys() <= model.image_encoder.state_dict().keys()
