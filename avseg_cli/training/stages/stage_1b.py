"""Adapters and decoder without fusion: what SAMA-AVS trains."""

from __future__ import annotations

from dataclasses import replace

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.training.stages import ENCODERS, Stage, StageData
from avseg_cli.training.tasks import SegmentationTask, Task, TaskSetup
from avseg_cli.training.train_options import TrainOptions


def without_fusion(config: ModelConfig) -> ModelConfig:
    """No module of fusion: only the decoder's prompt is the model's own."""
    return replace(config, fusion=config.fusion if FUSIONS[config.fusion].build is None else "none", adapters=True)


def task(model: AvsegModel, options: TrainOptions, setup: TaskSetup, data: StageData) -> Task:
    """Masks through the encoder."""
    return SegmentationTask(model, setup, data.train, data.val, False, options.embeddings)


STAGE = Stage(
    order=4, trains=("image_encoder.adapters", "audio_embed", "no_mask_embed", "mask_decoder"), task=task,
    model=without_fusion, sources=ENCODERS, adapts=True,
)  # fmt: skip
