"""What is heard when: the sound network, for backbones without public weights."""

from __future__ import annotations

from avseg_cli.data.clips import read_categories
from avseg_cli.data.composed_lines import read_labels
from avseg_cli.data.listed import ListedRecording, Photograph
from avseg_cli.data.sound_features import SoundFeatures, refuse_no_noise
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.kinds_heard import KindsHeard
from avseg_cli.training.pretraining import SoundPretraining
from avseg_cli.training.stages import Stage, StageData
from avseg_cli.training.tasks import Task, TaskSetup
from avseg_cli.training.train_options import TrainOptions


def task(model: AvsegModel, options: TrainOptions, setup: TaskSetup, data: StageData) -> Task:
    """Classify each second by the labels of the clips."""
    categories = read_categories(options.data, data.subset)
    labels = [read_labels(options.data, data.subset, clips, categories) for clips in (data.train, data.val)]
    return SoundPretraining(model, setup, data.train, labels[0], data.val, labels[1])


def composed(model: AvsegModel, options: TrainOptions, setup: TaskSetup) -> Task:
    """Name the kinds heard in single seconds of recordings."""
    sounds = SoundFeatures.prepared(options.embeddings, options.sounds, model, setup, options.limit_clips)
    return KindsHeard(model, setup, sounds)


def needs(options: TrainOptions, photos: list[Photograph], sounds: list[ListedRecording]) -> None:
    """Noise is learnt too."""
    refuse_no_noise(str(options.sounds), sounds)


STAGE = Stage(order=1, trains=("vggish",), task=task, composed=composed, needs=needs, pretrains=True)
