"""Training, bench and evaluate on a GPU, where there is one; the same on the CPU, so that these tests stay right."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from miniature import make
from safetensors.torch import load_file

from avseg_cli.bench.run import BenchOptions, run_bench
from avseg_cli.model.transforms import resampled
from avseg_cli.scoring.evaluate import EvaluateOptions, evaluate
from avseg_cli.training.loop import Trainer
from avseg_cli.training.train import resume, train
from avseg_cli.training.train_options import TrainOptions

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
HALF = {"cpu": "bf16", "cuda": "auto"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), "ms3", {"train": 4, "val": 1, "test": 2})


def options(data: Path, out: Path, device: str, **changes: object) -> TrainOptions:
    base = TrainOptions(
        data=str(data), subset="ms3", out=str(out), stages=("1a", "1b", "2"), backbone="vit_b", image_size=64, depth=1,
        device=device, precision=HALF[device], epochs=2, learning_rate=1e-3, seed=3,
    )  # fmt: skip
    return replace(base, **changes)


@pytest.fixture
def untrained_vit(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAM's ViT-B without its file, and two blocks of its twelve."""
    from avseg_cli.model.backbones import BACKBONES, preset

    small = preset(
        "vit_b", embed_dim=64, depth=2, num_heads=2, global_blocks=(1,), window_size=3, image_size=64,
        vggish_width=0.125,
    )  # fmt: skip
    recipes = {"1a": {"epochs": 2}, "1b": {"epochs": 2}, "2": {"epochs": 2, "clip_gradient": 1.0}}
    changed = replace(BACKBONES["vit_b"], config=small, public=(), recipes=recipes)
    monkeypatch.setitem(BACKBONES.declared, "vit_b", changed)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("untrained_vit")
def test_all_stages_train_in_half_precision(device: str, data: Path, tmp_path: Path) -> None:
    train(options(data, tmp_path / "run", device))
    for stage in ("1a", "1b", "2"):
        lines = (tmp_path / "run" / stage / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 2 and "NaN" not in "".join(lines)
        assert all(
            tensor.isfinite().all() for tensor in load_file(tmp_path / "run" / stage / "last.safetensors").values()
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("untrained_vit")
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    device: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = options(data, tmp_path / "whole", device, stages=("2",), deterministic=True)
    train(common)
    step = Trainer.step

    def stopped(self: Trainer, batches: list) -> float:
        if self.position.step == 5:
            self.save()
            raise KeyboardInterrupt
        return step(self, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", stopped)
        train(replace(common, out=str(tmp_path / "parts")))
    resume(tmp_path / "parts")
    whole, parts = (load_file(tmp_path / out / "2/last.safetensors") for out in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("untrained_vit")
def test_activations_computed_twice_give_the_same_weights(device: str, data: Path, tmp_path: Path) -> None:
    for recompute in ("on", "off"):  # a GPU adds up gradients of resized maps in any order, unless told otherwise
        changes = {"stages": ("2",), "recompute": recompute, "epochs": 1, "deterministic": True}
        train(options(data, tmp_path / recompute, device, **changes))
    on, off = (load_file(tmp_path / out / "2/last.safetensors") for out in ("on", "off"))
    assert all(torch.equal(on[name], off[name]) for name in on)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.usefixtures("untrained_vit")
def test_fp16_trains_with_its_losses_scaled(device: str, data: Path, tmp_path: Path) -> None:
    for name, precision in (("half", "fp16"), ("full", "fp32")):
        train(options(data, tmp_path / name, device, stages=("2",), precision=precision, epochs=1))
    half, full = (load_file(tmp_path / out / "2/last.safetensors") for out in ("half", "full"))
    moved = torch.cat([(half[name] - full[name]).flatten() for name in full]).abs()
    assert 0 < moved.mean() < 3e-4  # four steps of 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_bench_measures_every_part(device: str) -> None:
    parts = ("encoder", "train_1a") if device == "cpu" else ("encoder", "fusion", "clip", "train_1a", "train_2")
    report = run_bench(BenchOptions(backbone="tiny", parts=parts, repeats=1, device=device, precision="fp32"))
    assert [row["part"] for row in report["rows"]] == list(parts)
    assert all(math.isfinite(row["speedup"]) and row["relative_error"] < 1e-2 for row in report["rows"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("jobs", [1, 2])
def test_scores_are_those_of_the_cpu(jobs: int, device: str, data: Path, tiny_checkpoint: Path) -> None:
    common = EvaluateOptions(data=str(data), subset="ms3", checkpoint=str(tiny_checkpoint), device="cpu")
    wanted = evaluate(common).total
    for precision, tolerance in (("fp32", 1e-3), (HALF[device], 2e-2)):
        got = evaluate(replace(common, device=device, precision=precision, jobs=jobs)).total
        assert got.miou == pytest.approx(wanted.miou, abs=tolerance) and got.f == pytest.approx(wanted.f, abs=tolerance)


@pytest.mark.gpu
def test_frames_are_resampled_as_on_the_cpu_but_for_one_level() -> None:
    pictures = torch.randint(0, 256, (2, 3, 300, 500), dtype=torch.uint8)
    off = resampled(pictures.to("cuda"), (128, 96)).cpu() - resampled(pictures, (128, 96))
    assert off.abs().max() <= 1 and (off != 0).float().mean() < 0.2, (
        "rounded once, where the CPU rounds after each side"
    )
