"""Adapters, fusion and decoder together."""

from __future__ import annotations

from avseg_cli.data.listed import ListedRecording, Photograph
from avseg_cli.data.photo_features import PhotoFeatures, held_out, refuse_incomplete
from avseg_cli.data.sound_features import SoundFeatures, refuse_no_noise
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.training.kinds_heard import unmet_file, unmet_sounds
from avseg_cli.training.scene_task import SceneTask
from avseg_cli.training.scenes import composable, makers
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
    unmet = unmet_sounds(options.folder_of("pretrain-sound"), sounds)
    return SceneTask(model, setup, PhotoFeatures.prepared(where, options.photos, model, setup, limit), sounds, unmet)


def needs(options: TrainOptions, photos: list[Photograph], sounds: list[ListedRecording]) -> None:
    """What pretrain-sound left, and something to compose, of the photographs that learn and of those that choose."""
    if "pretrain-sound" not in options.stages:
        unmet_file(options.folder_of("pretrain-sound"))
    refuse_incomplete(str(options.photos), photos)
    refuse_no_noise(str(options.sounds), sounds)
    for held in (False, True):
        shown = {kind for photo in photos if held_out(photo) is held for kind in photo.kinds}
        composable(shown, makers({recording.kind for recording in sounds}, preset(options.backbone)))


STAGE = Stage(
    order=5, trains=("image_encoder.adapters", "audio_embed", "fusion", "mask_decoder"), task=task,
    composed=composed, needs=needs,
    sources=(*ENCODERS, ("1a", ("",)), ("1b", ("image_encoder.adapters.",))), adapts=True, joins=True,
)  # fmt: skip
