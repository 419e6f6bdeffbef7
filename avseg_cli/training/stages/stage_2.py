"""Adapters, fusion and decoder together."""

from __future__ import annotations

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.options import TrainOptions
from avseg_cli.training.stages import ENCODERS, Stage, StageData
from avseg_cli.training.tasks import SegmentationTask, Task, TaskSetup


def task(model: AvsegModel, options: TrainOptions, setup: TaskSetup, data: StageData) -> Task:
    """Masks through the encoder."""
    return SegmentationTask(model, setup, data.train, data.val, False, options.embeddings)


STAGE = Stage(
    order=5, trains=("image_encoder.adapters", "audio_embed", "fusion", "mask_decoder"), task=task,
    sources=(*ENCODERS, ("1a", ("",)), ("1b", ("image_encoder.adapters.",))), adapts=True, joins=True,
)  # fmt: skip
