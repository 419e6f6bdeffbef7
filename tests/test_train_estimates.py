"""What a run is said to take before it does: steps, memory, time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from miniature import make

from avseg_cli.base import free_memory, threads
from avseg_cli.base.free_memory import free_bytes
from avseg_cli.base.operations import count_flops
from avseg_cli.base.text import lasting
from avseg_cli.bench.measure import peak_memory
from avseg_cli.checkpoints.checkpoint import choose_device
from avseg_cli.checkpoints.precision import choose_precision
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.training import memory
from avseg_cli.training.estimate import Pace, epoch_steps, memory_in_words, steps_in_words, time_in_words
from avseg_cli.training.loop import NonFiniteLoss, Setup, Trainer
from avseg_cli.training.memory import STATES, StepMemory, clip_of_zeros, recomputes, step_memory
from avseg_cli.training.parameters import set_trainable
from avseg_cli.training.recipe import Recipe, default_recipe
from avseg_cli.training.run_folder import StageFolder
from avseg_cli.training.tasks import SegmentationModule
from avseg_cli.training.train import train
from avseg_cli.training.train_options import TrainOptions
from avseg_cli.training.trial import OneBatch, reckon, step_seconds

CPU = torch.device("cpu")
NOWHERE = StageFolder(Path())
TEN = StepMemory(weights=1, rest=2, blocks=30, entrances=3, largest=2)


@pytest.mark.parametrize("global_blocks", [(), (0, 1, 2)])
def test_a_block_stands_for_all_of_its_kind(global_blocks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(preset("tiny"), depth=3, global_blocks=global_blocks, image_size=64, fusion_depth=1, stem="patch")

    def counted() -> StepMemory:
        return step_memory(config, "2", Recipe(1, batch_size=2), 5, False, CPU, torch.float32)

    one = counted()
    monkeypatch.setattr(memory, "shortened", lambda model: model.config)
    every = counted()  # each as all three
    assert one.weights == every.weights and one.entrances == every.entrances
    assert one.blocks == pytest.approx(every.blocks / 3, rel=1e-3) and one.rest == pytest.approx(every.rest, rel=1e-2)


def test_less_is_kept_in_bf16_and_with_cached_embeddings() -> None:
    def peak(stage: str, dtype: torch.dtype) -> StepMemory:
        config = replace(preset("vit_b"), fusion_depth=1, adapters=stage != "1a")
        return step_memory(config, stage, default_recipe("vit_b", stage), 5, stage == "1a", CPU, dtype)

    full, half, cached = peak("2", torch.float32), peak("2", torch.bfloat16), peak("1a", torch.float32)
    assert half.blocks < 0.9 * full.blocks and half.weights == full.weights
    assert cached.blocks == 0 and cached.peak(True) == cached.peak(False) < full.peak(True) < full.peak(False)


@pytest.mark.alone
def test_a_step_takes_the_memory_that_was_counted() -> None:
    """A narrow ViT-B for small pictures, in fp32: weights, their gradients, Adam's means, activations."""
    config = preset(
        "vit_b", image_size=256, embed_dim=96, num_heads=3, depth=4, global_blocks=(3,), fusion_depth=1,
        vggish_width=0.125,
    )  # fmt: skip
    recipe = default_recipe("vit_b", "2")
    counted = step_memory(config, "2", recipe, 5, False, CPU, torch.float32)
    model = AvsegModel(config)
    parameters = set_trainable(model, "2")
    trainer = Trainer(OneBatch(SegmentationModule(model, recipe.loss, CPU)), parameters, Setup(recipe), NOWHERE)
    batch = [clip_of_zeros(config, 5, False, CPU)]
    trainer.step([batch])  # makes the optimizer's state
    held = sum(p.nbytes for p in model.parameters()) + STATES * sum(p.nbytes for p in parameters.values())
    for recompute in (True, False):
        model.image_encoder.recompute = recompute
        more, _ = peak_memory(lambda: trainer.step([batch]), CPU)  # beside what was held, the last gradients included
        assert counted.peak(recompute) == pytest.approx(held + more, rel=0.25)


@pytest.mark.parametrize(
    ("asked", "free", "twice"),
    [("on", 10**9, True), ("off", 1, False), ("auto", 10**9, False), ("auto", 36, True), ("auto", None, True)],
)
def test_activations_are_kept_where_they_fit(asked: str, free: int | None, twice: bool) -> None:
    assert recomputes(asked, True, TEN, free) is twice


def test_a_backbone_of_small_activations_keeps_them() -> None:
    assert not recomputes("auto", False, TEN, 1) and recomputes("on", False, TEN, 10**9)


def test_steps_and_memory_in_words() -> None:
    assert epoch_steps(3452, Recipe(250), 1, 1) == 3452 and epoch_steps(10, Recipe(2, batch_size=2), 2, 2) == 2
    assert steps_in_words(3452, 250) == "3,452 steps an epoch, 863,000 in all"
    assert time_in_words(0.2, 863_000).startswith("a step was tried and takes 0.2 s: all 863,000 about 2.0 days")
    said = time_in_words(300, 12, 2)
    assert said.startswith(
        "by a trial of 2 blocks of the encoder and the others' arithmetic a step takes about 5.0 min"
    )
    assert said.endswith(": all 12 about 1.0 hours, besides validation")
    said = memory_in_words(StepMemory(10**9, 0, 30 * 10**9, 3 * 10**9, 10**9), True, 20 * 10**9)
    assert "about 6.0 GB of 20.0 GB free with activations computed twice (32.0 GB if once" in said
    assert [lasting(s) for s in (5, 90, 7200, 2.5 * 86400)] == ["5 seconds", "1.5 minutes", "2.0 hours", "2.5 days"]


def test_time_is_told_after_some_steps_and_after_a_whole_epoch() -> None:
    now, told = 0.0, []
    pace = Pace(told.append, lambda: now)
    pace.epoch_begins()
    for step in range(20):
        now += 100 if step < 2 else 0.2  # the first start things up
        pace.stepped(863_000 - step)
    assert len(told) == 1 and "0.2 s a step" in told[0] and "2.0 days" in told[0]
    pace.epoch_ended(249)
    pace.epoch_begins()
    pace.epoch_ended(248)
    assert len(told) == 2 and told[1].startswith("an epoch takes 3.4 minutes") and "249 left" in told[1]


@pytest.mark.parametrize("stage", ["1a", "2"])
def test_a_step_that_was_tried_leaves_no_trace(
    stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws, batch statistics and the optimizer go on as if there had been no trial."""
    data = make(tmp_path / "data", "ms3", {"train": 3, "val": 1})
    common = TrainOptions(
        data=str(data), subset="ms3", out="", stages=(stage,), backbone="tiny", image_size=64, depth=1, device="cpu",
        epochs=2, batch_size=1, cache=str(tmp_path / "cache"), unfreeze=("image", "sound"), optimizer="adamw",
    )  # fmt: skip
    for name, few in (("tried", 5), ("not", 1000)):
        monkeypatch.setattr("avseg_cli.training.train.FEW_STEPS", few)
        train(replace(common, out=str(tmp_path / name)))
        said = capsys.readouterr().err
        assert ("a step was tried and takes" in said) is (name == "tried")
        assert ("embeddings: computing what is left" in said) is False  # one chunk a split
    weights = [(tmp_path / name / stage / "last.safetensors").read_bytes() for name in ("tried", "not")]
    tensors = [weight[8 + int.from_bytes(weight[:8], "little") :] for weight in weights]  # the header tells the folder
    assert tensors[0] == tensors[1] != b""


def test_a_step_that_cannot_be_tried_is_left_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Trainer, batches: list) -> float:
        raise NonFiniteLoss("no")

    setup, model = Setup(default_recipe("tiny", "2"), accumulate=3), AvsegModel(preset("tiny"))
    set_trainable(model, "2")
    monkeypatch.setattr(Trainer, "step", lambda self, batches: time.sleep(0.01))
    batch = [clip_of_zeros(model.config, 5, False, CPU)]
    assert 0.03 <= step_seconds(model, setup, NOWHERE, batch) < 0.3
    monkeypatch.setattr(Trainer, "step", fails)
    assert step_seconds(model, setup, NOWHERE, batch) is None


@pytest.mark.parametrize("recompute", [True, False])
def test_a_long_step_is_reckoned_from_a_block_of_each_kind(recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In operations, which no other work on the machine disturbs: as many as the whole step has."""
    monkeypatch.setattr("avseg_cli.training.trial._least", lambda work, setup: count_flops(work) / 1e12)
    config = preset(
        "vit_b", image_size=128, embed_dim=256, num_heads=4, depth=8, global_blocks=(3, 7), fusion_depth=1,
        vggish_width=0.125,
    )  # fmt: skip
    setup, state = Setup(default_recipe("vit_b", "2", "released"), accumulate=2), torch.get_rng_state()
    batch = [clip_of_zeros(config, 5, False, CPU)]
    short, whole = (reckon("2", config, setup, batch, (), recompute, fits) for fits in (False, True))
    assert short.blocks == 2 and whole.blocks is None and short.embedding is None
    assert short.step == pytest.approx(whole.step, rel=0.1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_step_of_kept_embeddings_is_tried_as_it_is_and_their_making_reckoned() -> None:
    config = preset("tiny", adapters=False, fusion_depth=1)
    setup = Setup(default_recipe("tiny", "1a"))
    found = reckon("1a", config, setup, [clip_of_zeros(config, 5, True, CPU)], (), False, False)
    assert found.blocks is None and 0 < found.embedding < found.step < 20


def test_a_step_that_is_not_finite_is_not_reckoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avseg_cli.training.trial.step_seconds", lambda *_: None)
    setup = Setup(default_recipe("tiny", "2"))
    for cached in (True, False):
        config = preset("tiny", fusion_depth=1)
        batch = [clip_of_zeros(config, 5, cached, CPU)]
        assert all(reckon("2", config, setup, batch, (), False, fits) is None for fits in (True, False))


def test_free_memory_is_what_the_system_and_its_container_leave(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "meminfo"
    system.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n")
    monkeypatch.setattr(free_memory, "SYSTEM", system)
    monkeypatch.setattr(free_memory, "GROUP", tmp_path)
    assert free_bytes(CPU) == 2000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert free_bytes(CPU) == 600_000
    (tmp_path / "memory.stat").write_text("anon 250000\ninactive_file 100000\n")
    assert free_bytes(CPU) == 700_000, "what is held of files is given back"
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(CPU) == 2000 * 1024
    system.unlink()
    assert free_bytes(CPU) is None and free_bytes(torch.device("meta")) is None


def test_processes_that_share_a_job_take_one_gpu_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    devices = []
    for number in range(3):
        monkeypatch.setattr(threads, "_number", number)
        devices.append((str(choose_device("auto")), str(choose_device("cuda")), str(choose_device("cuda:1"))))
    assert devices == [("cuda", "cuda", "cuda:1"), ("cuda:1", "cuda:1", "cuda:1"), ("cuda", "cuda", "cuda:1")]


@pytest.mark.parametrize(
    ("bf16", "capability", "dtype"),
    [(True, (8, 0), torch.bfloat16), (False, (7, 5), torch.float16), (False, (6, 1), torch.float32)],
)
def test_a_gpu_without_bf16_computes_in_fp16(bf16, capability, dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVSEG_BF16", raising=False)
    monkeypatch.setattr("avseg_cli.checkpoints.precision.has_bf16", lambda device: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda")) is dtype
    assert choose_precision("fp16", CPU) is torch.float16
