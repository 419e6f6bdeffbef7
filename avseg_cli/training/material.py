"""What a run learns from: the clips of a data set, photographs and recordings that it composes scenes of, or both."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.extras import extra
from avseg_cli.base.text import counted
from avseg_cli.data.check import MADE, USUAL, refuse_gaps
from avseg_cli.data.clips import read_categories, read_clips
from avseg_cli.data.composed_lines import read_labels
from avseg_cli.data.dataset import ClipDataset, Sample
from avseg_cli.data.disk_rows import bytes_of
from avseg_cli.data.embedding_cache import embedding_shape
from avseg_cli.data.listed import read_photographs, read_recordings, refuse_missing
from avseg_cli.data.photo_features import VIEWS, chosen, layout
from avseg_cli.data.subsets import find_subset
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import BACKBONES, preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.efficientnet import LiteTrunk
from avseg_cli.training.mixed_task import MixedTask
from avseg_cli.training.stages import STAGES, StageData
from avseg_cli.training.tasks import Task, TaskSetup
from avseg_cli.training.train_options import TrainOptions


class Material(Protocol):
    """The data of a run, read far enough to know that it is there."""

    @property
    def counts(self) -> tuple[str, str]:
        """In words: what is trained on, and what the best epoch is chosen on."""
        ...

    @property
    def clips(self) -> int | None:
        """Those of an epoch; None where scenes are drawn too, or alone."""
        ...

    @property
    def annotated(self) -> int:
        """Frames of a clip that have a mask."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        ...

    def first(self, count: int, cached: bool) -> list[Sample]:
        """The first clips as they come to a step, without the embeddings that are kept (``cached``)."""
        ...

    def kept(self, config: ModelConfig) -> int:
        """Bytes of what frozen networks give, which is kept on the disk."""
        ...

    def task(self, stage: str, model: AvsegModel, setup: TaskSetup) -> Task:
        """What a stage computes on it."""
        ...


def material_of(options: TrainOptions) -> Material:
    """What the options name, as far as its stages need it.

    Raises ``DataError`` for what it lacks, ``InputError`` where it is not what is needed.
    """
    if not options.photos:
        return Clips.read(options)
    scenes = PhotosAndSounds.read(options)
    on_clips = tuple(stage for stage in options.stages if not STAGES[stage].pretrains)
    if not (options.data and on_clips):
        return scenes
    return ScenesAndClips(**vars(scenes), beside=Clips.read(replace(options, stages=on_clips)))


@dataclass(frozen=True)
class Clips:
    """The train and val splits of data in AVSBench's layout."""

    options: TrainOptions
    data: StageData

    @classmethod
    def read(cls, options: TrainOptions) -> Clips:
        pretrains = any(STAGES[name].pretrains for name in options.stages)
        if BACKBONES[options.backbone].packaged and pretrains:
            raise InputError(
                f"{options.backbone} learns its kinds from photographs and sounds: give {named('photos')} and "
                f"{named('sounds')}, or {named('init')} with a checkpoint that knows them and {named('stages')} 2"
            )
        subset = find_subset(options.subset)
        splits = [read_clips(options.data, subset, split, options.limit_clips) for split in ("train", "val")]
        for clips in splits:
            refuse_gaps(clips, MADE if pretrains else USUAL)
        if pretrains:
            categories = read_categories(options.data, subset)
            for clips in splits:
                read_labels(options.data, subset, clips, categories)
        return cls(options, StageData(subset, *splits))

    @property
    def counts(self) -> tuple[str, str]:
        return counted(len(self.data.train), "clip"), str(len(self.data.val))

    @property
    def clips(self) -> int:
        return len(self.data.train)

    @property
    def annotated(self) -> int:
        return len(self.data.train[0].masks)

    @property
    def facts(self) -> dict[str, Any]:
        return {"subset": self.data.subset.name, "clips": len(self.data.train)}

    def first(self, count: int, cached: bool) -> list[Sample]:
        parts = ("log_mel", "masks") if cached else ("log_mel", "masks", "frames")
        data = ClipDataset(self.data.train[:count], parts, cache=False)
        return [data[index % len(data)] for index in range(count)]

    def kept(self, config: ModelConfig) -> int:
        if not any(STAGES[name].caches for name in self.options.stages):
            return 0
        frames = sum(len(clips) * len(clips[0].frames) for clips in (self.data.train, self.data.val))
        return 2 * frames * math.prod(embedding_shape(config))

    def task(self, stage: str, model: AvsegModel, setup: TaskSetup) -> Task:
        return STAGES[stage].task(model, self.options, setup, self.data)


@dataclass(frozen=True)
class PhotosAndSounds:
    """Folders of photographs with masks, and of recordings, each with its list."""

    options: TrainOptions
    photographs: int
    recordings: int
    silent: tuple[str, ...]  # kinds without a recording

    @classmethod
    def read(cls, options: TrainOptions) -> PhotosAndSounds:
        for stage in options.stages:
            if STAGES[stage].composed is None:
                raise InputError(
                    f"stage {stage} learns from clips alone: leave it out, or give {named('data')} without "
                    f"{named('photos')} and {named('sounds')}"
                )
        with extra("train", "training on recordings"):
            import scipy.signal  # noqa: F401  seconds of them are changed by its filters
        config = preset(options.backbone)
        photos = chosen(read_photographs(options.photos, config.seen_kinds), options.limit_clips)
        sounds = read_recordings(options.sounds, config.kinds)
        refuse_missing([*photos, *sounds])
        for stage in options.stages:
            STAGES[stage].needs(options, photos, sounds)
        heard = {recording.kind for recording in sounds}
        return cls(options, len(photos), len(sounds), tuple(kind for kind in config.kinds if kind not in heard))

    @property
    def counts(self) -> tuple[str, str]:
        unheard = f" (no sounds of {', '.join(self.silent)})" if self.silent else ""
        learnt = f"{counted(self.photographs, 'photograph')} and {counted(self.recordings, 'recording')}{unheard}"
        return learnt, "those held out of them"

    clips, annotated = None, 0

    @property
    def facts(self) -> dict[str, Any]:
        return {"photographs": self.photographs, "recordings": self.recordings}

    def first(self, count: int, cached: bool) -> list[Sample]:
        return []

    def kept(self, config: ModelConfig) -> int:
        return bytes_of(self.photographs * VIEWS, layout(LiteTrunk(config.stem), config.image_size)[1])

    def task(self, stage: str, model: AvsegModel, setup: TaskSetup) -> Task:
        composed = STAGES[stage].composed
        assert composed, f"{stage} is refused for scenes"
        return composed(model, self.options, setup)


@dataclass(frozen=True)
class ScenesAndClips(PhotosAndSounds):
    """The same, and annotated clips beside the scenes of the last stage."""

    beside: Clips

    @property
    def counts(self) -> tuple[str, str]:
        (learnt, held_out), data = super().counts, self.beside.data
        clips, val = (counted(len(part), "clip") for part in (data.train, data.val))
        return f"{learnt}, in stage 2 also {clips}", f"{held_out}, in stage 2 also {val}"

    @property
    def facts(self) -> dict[str, Any]:
        return {**self.beside.facts, **super().facts}

    def task(self, stage: str, model: AvsegModel, setup: TaskSetup) -> Task:
        return MixedTask(model, self.beside.task(stage, model, setup), super().task(stage, model, setup))
