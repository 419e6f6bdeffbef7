"""Adapters, fusion and decoder together."""

from __future__ import annotations

from pathlib import Path

from avseg_cli.data.photo_features import PhotoFeatures
from avseg_cli.data.sound_features import SoundFeatures
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.kinds_heard import unmet_sounds
from avseg_cli.training.scene_task import SceneTask
from avseg_cli.training.stages import ENCODERS, Stage, StageData
from avseg_cli.training.tasks import SegmentationTask, Task, TaskSetup
from avseg_cli.training.train_options import TrainOptions


def task(model: AvsegModel, options: TrainOptions, setup: TaskSetup, data: StageData) -> Task:
    """Masks through the encoder."""
    return SegmentationTask(model, setup, data.train, data.val, False, options.embeddings)


def composed(model: AvsegModel, options: TrainOptions, setup: TaskSetup) -> Task:
    """Masks in scenes composed of photographs and sounds."""
    where, limit = options.embeddings, options.limit_clips
    sounds = SoundFeatures.prepared(where, options.sounds, model, setup, limit)
    unmet = unmet_sounds(Path(options.pretrained or options.out) / "pretrain-sound", sounds)
    return SceneTask(model, setup, PhotoFeatures.prepared(where, options.photos, model, setup, limit), sounds, unmet)


STAGE = Stage(
    order=5, trains=("image_encoder.adapters", "audio_embed", "fusion", "mask_decoder"), task=task,
    composed=composed,
    sources=(*ENCODERS, ("1a", ("",)), ("1b", ("image_encoder.adapters.",))), adapts=True, joins=True,
)  # fmt: skip
