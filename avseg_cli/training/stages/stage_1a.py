"""Fusion and decoder on the frozen encoder's embeddings, which are computed once and kept."""

from __future__ import annotations

from dataclasses import replace

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.training.stages import ENCODERS, Stage, StageData
from avseg_cli.training.tasks import SegmentationTask, Task, TaskSetup
from avseg_cli.training.train_options import TrainOptions


def without_adapters(config: ModelConfig) -> ModelConfig:
    """The encoder as it is, whatever sounds."""
    return replace(config, adapters=False)


def task(model: AvsegModel, options: TrainOptions, setup: TaskSetup, data: StageData) -> Task:
    """Masks from embeddings out of the cache."""
    return SegmentationTask(model, setup, data.train, data.val, True, options.embeddings)


STAGE = Stage(
    order=3, trains=("audio_embed", "fusion", "mask_decoder"), task=task, model=without_adapters, sources=ENCODERS,
    caches=True,
)  # fmt: skip
