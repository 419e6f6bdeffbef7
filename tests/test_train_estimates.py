"""What a run is said to take before it does: steps, memory, time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avseg_cli.base import free_memory, threads
from avseg_cli.base.arithmetic import arithmetic
from avseg_cli.base.free_memory import free_bytes
from avseg_cli.checkpoints.checkpoint import choose_device
from avseg_cli.checkpoints.precision import choose_precision
from avseg_cli.model.backbones import preset
from avseg_cli.training import memory
from avseg_cli.training.estimate import Pace, in_words, memory_in_words, steps_in_words
from avseg_cli.training.memory import StepMemory, recomputes, step_memory
from avseg_cli.training.recipe import Recipe, default_recipe

CPU = torch.device("cpu")
TEN = StepMemory(weights=1, rest=2, blocks=30, entrances=3, largest=2)


@pytest.mark.parametrize("global_blocks", [(), (0, 1, 2)])
def test_a_block_stands_for_all_of_its_kind(global_blocks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(preset("tiny"), depth=3, global_blocks=global_blocks, image_size=64, fusion_depth=1, stem="patch")

    def counted() -> StepMemory:
        return step_memory(config, "2", Recipe(1, batch_size=2), 5, False, CPU, torch.float32)

    one = counted()
    monkeypatch.setattr(memory, "_short", lambda config: config)
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


@pytest.mark.parametrize(
    ("asked", "free", "twice"),
    [("on", 10**9, True), ("off", 1, False), ("auto", 10**9, False), ("auto", 36, True), ("auto", None, True)],
)
def test_activations_are_kept_where_they_fit(asked: str, free: int | None, twice: bool) -> None:
    assert recomputes(asked, True, TEN, free) is twice


def test_a_backbone_of_small_activations_keeps_them() -> None:
    assert not recomputes("auto", False, TEN, 1) and recomputes("on", False, TEN, 10**9)


def test_steps_and_memory_in_words() -> None:
    assert steps_in_words(3452, Recipe(250), 1, 1) == "3,452 steps an epoch, 863,000 in all"
    assert steps_in_words(10, Recipe(2, batch_size=2), 2, 2) == "2 steps an epoch, 4 in all"
    said = memory_in_words(StepMemory(10**9, 0, 30 * 10**9, 3 * 10**9, 10**9), True, 20 * 10**9)
    assert "about 6.0 GB of 20.0 GB free with activations computed twice (32.0 GB if once" in said
    assert [in_words(s) for s in (5, 90, 7200, 2.5 * 86400)] == ["5 seconds", "1.5 minutes", "2.0 hours", "2.5 days"]


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


def test_free_memory_is_what_the_system_and_its_container_leave(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "meminfo"
    system.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n")
    monkeypatch.setattr(free_memory, "SYSTEM", system)
    monkeypatch.setattr(free_memory, "GROUP", tmp_path)
    assert free_bytes(CPU) == 2000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert free_bytes(CPU) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(CPU) == 2000 * 1024
    system.unlink()
    assert free_bytes(CPU) is None and free_bytes(torch.device("meta")) is None


def test_arithmetic_is_as_asked_and_afterwards_as_before() -> None:
    def state() -> tuple:
        return torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()

    before = state()
    with arithmetic(tf32=True, deterministic=True):
        assert state() == ("high", True) and torch.backends.cudnn.allow_tf32
    with arithmetic(tf32=False, deterministic=False):
        assert state() == ("highest", False) and not torch.backends.cudnn.allow_tf32
    assert state() == before


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
