"""What is where, sounding or not: the image encoder, for backbones without public weights."""

from __future__ import annotations

from avseg_cli.data.clips import read_categories
from avseg_cli.data.listed import ListedRecording, Photograph
from avseg_cli.data.photo_features import PhotoFeatures, held_out, refuse_incomplete
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.kinds_seen import KindsSeen, refuse_few
from avseg_cli.training.pretraining import ImagePretraining
from avseg_cli.training.stages import Stage, StageData
from avseg_cli.training.tasks import Task, TaskSetup
from avseg_cli.training.train_options import TrainOptions


def task(model: AvsegModel, options: TrainOptions, setup: TaskSetup, data: StageData) -> Task:
    """Name the category of each pixel."""
    categories = read_categories(options.data, data.subset)
    return ImagePretraining(model, setup, data.train, data.val, len(categories))


def composed(model: AvsegModel, options: TrainOptions, setup: TaskSetup) -> Task:
    """Mark the kinds seen on photographs."""
    photos = PhotoFeatures.prepared(options.embeddings, options.photos, model, setup, options.limit_clips)
    return KindsSeen(model, setup, photos)


def needs(options: TrainOptions, photos: list[Photograph], sounds: list[ListedRecording]) -> None:
    """Some learn, some choose."""
    refuse_incomplete(str(options.photos), photos)
    refuse_few([held_out(photo) for photo in photos])


STAGE = Stage(
    order=2, trains=("image_encoder", "mask_decoder.output_upscaling"), task=task, composed=composed, needs=needs,
    pretrains=True, still=("image_encoder.adapters",),  # no sound yet
)  # fmt: skip
