"""In bf16 results are near those in float32, as near as 8 bits allow: where the processor has arithmetic for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from miniature import make
from safetensors.torch import load_file

from avseg_cli.bench.run import BenchOptions, run_bench
from avseg_cli.checkpoints.checkpoint import load_model
from avseg_cli.checkpoints.precision import has_bf16
from avseg_cli.training.train import train
from avseg_cli.training.train_options import TrainOptions

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not has_bf16(CPU), reason="this processor has no bf16 arithmetic")


def test_the_models_logits_are_near(tiny_checkpoint: Path) -> None:
    models = [load_model(tiny_checkpoint, "cpu", precision) for precision in ("fp32", "bf16")]
    size = models[0].config.image_size
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(5, 3, size, size, generator=generator)
    log_mel = torch.randn(5, 1, 96, 64, generator=generator)
    with torch.inference_mode():
        want, ours = (model(frames, log_mel).float() for model in models)
    assert 1e-4 < (ours - want).abs().max() / want.abs().max() < 0.1  # not equal: it did compute in bf16


def test_bench_finds_both_sides_near() -> None:
    parts = ("encoder", "fusion", "clip")
    options = BenchOptions(backbone="tiny", parts=parts, repeats=1, device="cpu", precision="bf16", threads=1)
    rows = run_bench(options)["rows"]
    assert [row["part"] for row in rows] == list(parts)
    assert all(row["ours"]["precision"] == "bf16" and row["relative_error"] < 0.1 for row in rows)
    assert rows[-1]["mask_iou"] > 0.95


def test_gradients_of_a_training_step_are_near() -> None:
    options = BenchOptions(
        backbone="tiny", parts=("train_2",), clips=2, repeats=1, device="cpu", precision="bf16", threads=1
    )
    (row,) = run_bench(options)["rows"]
    assert 1e-4 < row["relative_error"] < 0.3


def test_accumulated_batches_are_nearly_one_large_batch(tmp_path: Path) -> None:
    """What Adam makes of a gradient near zero is noise in bf16, so weights are compared by how far training moved."""
    data = make(tmp_path / "data", "ms3", {"train": 4, "val": 1})
    common = TrainOptions(
        data=str(data), subset="ms3", out=str(tmp_path / "parts"), stages=("1a",), backbone="tiny", image_size=64,
        depth=1, device="cpu", precision="bf16", epochs=1, dropout=0.0, optimizer="adam", accumulate=4, batch_size=1,
    )  # fmt: skip
    train(common)
    train(replace(common, out=str(tmp_path / "large"), accumulate=1, batch_size=4))
    parts, large = (load_file(tmp_path / out / "1a/last.safetensors") for out in ("parts", "large"))
    moved = torch.cat([(parts[name] - large[name]).flatten() for name in large]).abs()
    assert moved.max() < 2.5 * 5e-4  # one step of Adam moves a weight by the learning rate, either way
    assert moved.mean() < 5e-5
