"""``avseg evaluate``: AVSBench's metrics for a model, anyone's masks, prompted SAM, and with the wrong sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from avseg_cli.base.arithmetic import arithmetic
from avseg_cli.base.errors import DataError, InputError, named
from avseg_cli.base.prefetch import Prefetch
from avseg_cli.base.progress import progress_bar
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.text import counted
from avseg_cli.base.writing import writing
from avseg_cli.checkpoints.checkpoint import choose_device
from avseg_cli.data.augment import nearest
from avseg_cli.data.check import refuse_gaps
from avseg_cli.data.clips import Clip, read_categories, read_clips
from avseg_cli.data.composed_lines import is_composed, read_labels
from avseg_cli.data.dataset import ClipDataset, Sample, load_batches
from avseg_cli.data.layouts import Subset
from avseg_cli.data.subsets import MASK_SIZE, find_subset
from avseg_cli.scoring.confidence import intervals
from avseg_cli.scoring.evaluate_options import EvaluateOptions
from avseg_cli.scoring.examples import Example, Extremes
from avseg_cli.scoring.other_sounds import MovedSounds, NegativeSounds, categories_by_manifest, categories_by_name
from avseg_cli.scoring.predictors import (
    CategoryPredictor,
    FolderPredictor,
    ForegroundPredictor,
    ModelPredictor,
    Predictor,
    PromptPredictor,
    load_sam,
)
from avseg_cli.scoring.scores import ClipScore, SplitScore, score_clip, summarise
from avseg_cli.scoring.shares import in_processes
from avseg_cli.scoring.source_scores import SourceScore, objects_of, score_sources, told_apart
from avseg_cli.segment.segmenter import Segmenter

AHEAD = 4  # clips read while the model works on one
ALONE = Sharing()
OF_OBJECTS = ("move_sound", "baselines", "sources")  # options that need object maps

Value = TypeVar("Value")


@dataclass(frozen=True)
class NegativeScore:
    """Under a sound that nothing in the picture makes: pixels predicted (right: none), beside the matching sound's."""

    foreground: float
    matching_foreground: float

    @property
    def drop(self) -> float:
        """Share of the foreground that vanishes with the matching sound."""
        return 1 - self.foreground / self.matching_foreground if self.matching_foreground else 0.0


@dataclass
class Evaluation:
    """Every figure of one evaluation."""

    subject: str
    subset: Subset
    split: str
    clips: list[ClipScore]
    negatives: dict[str, NegativeScore] = field(default_factory=dict)
    moved: SplitScore | None = None  # sound of another visible object, against that object
    baselines: dict[str, SplitScore] = field(default_factory=dict)
    sources: dict[str, SourceScore] = field(default_factory=dict)  # told apart in its own masks, and in the true ones
    best: list[Example] = field(default_factory=list)  # the best first
    worst: list[Example] = field(default_factory=list)  # the worst first
    composed: bool = False  # clips that `avseg synth` made
    notes: list[str] = field(default_factory=list)  # sentences without which a figure would mislead

    @property
    def total(self) -> SplitScore:
        return summarise(self.clips)

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """How far each figure may lie from what other clips would give: (low, high)."""
        return intervals(self.clips)


@dataclass(frozen=True)
class Split:
    """The clips to score and what else was asked for needs: read, and found to be enough, before the first is scored.

    composed: whether `avseg synth` made them; categories: of their object maps, where those are looked at.
    """

    subset: Subset
    clips: list[Clip]
    composed: bool
    categories: list[str]
    negatives: dict[str, NegativeSounds]
    moved: MovedSounds | None


def plan(options: EvaluateOptions) -> str:
    """What ``evaluate`` would do; raises as it would, and has loaded what it names."""
    split = _ready(options)
    subject = options.checkpoint or options.predictions or f"{options.backbone} prompted with {options.prompts}"
    _predictor(options, split.clips)
    clips = counted(len(split.clips), "clip")
    return f"score {subject} on {clips} of {split.subset.name} {options.split} in {options.data}"


def _scored(options: EvaluateOptions) -> tuple[Subset, list[Clip]]:
    subset = find_subset(options.subset)
    clips = read_clips(options.data, subset, options.split, options.limit_clips)
    if not clips[0].masks:
        raise DataError(f"split {options.split} of {subset.name} has no masks to score against")
    return subset, clips


def _ready(options: EvaluateOptions) -> Split:
    """Every file that will be read is there: one that lacks is told before the first clip is scored."""
    subset, clips = _scored(options)
    composed = is_composed(options.data, subset)
    by_manifest = composed and "swap" in options.negatives and categories_by_name(clips) is None
    of_objects = [name for name in OF_OBJECTS if getattr(options, name)]
    categories = read_categories(options.data, subset) if of_objects or by_manifest else []
    if of_objects and not any(clip.object_maps for clip in clips):
        raise DataError(f"{options.data}: no object maps; {named(of_objects[0])} needs data made by `avseg synth`")
    seen = {"object_maps"} if of_objects or by_manifest else set()
    predictor = FolderPredictor if options.predictions else PromptPredictor if options.prompts else ModelPredictor
    wanted = {"masks"} | predictor.needs | ({"frames"} if options.examples else set())
    refuse_gaps(clips, wanted | seen)
    if options.masks and _mask_folder(options.masks, clips[0]).resolve() == clips[0].masks[0].parent.resolve():
        raise InputError(f"{options.masks}: holds the masks to score against; give {named('masks')} another folder")
    data = ClipDataset(clips, seen, cache=False)
    labels = None
    if by_manifest or options.move_sound:
        labels = read_labels(options.data, subset, clips, categories)
    negatives = _negatives(options, data, labels if by_manifest else None)
    moved = MovedSounds(data, labels, options.seed) if options.move_sound and labels is not None else None
    return Split(subset, clips, composed, categories, negatives, moved)


def _negatives(options: EvaluateOptions, data: ClipDataset, labels: Tensor | None) -> dict[str, NegativeSounds]:
    """The wrong sounds; labels: (clips, T, K) where only the manifest tells what sounds."""
    heard = seen = categories_by_name(data.clips)
    if labels is not None:
        heard, seen = categories_by_manifest(labels, data)
    return {kind: NegativeSounds(data, kind, heard, seen, options.seed) for kind in options.negatives}


@dataclass
class ScoresPart:
    """What one process found, by the place of each clip in the split."""

    clips: dict[int, ClipScore] = field(default_factory=dict)
    foreground: dict[str, dict[int, float]] = field(default_factory=dict)  # under each wrong sound
    moved: dict[int, ClipScore] = field(default_factory=dict)
    sources: dict[int, dict[str, SourceScore]] = field(default_factory=dict)  # in the predicted and the true masks
    examples: list[Example] = field(default_factory=list)  # its best and worst
    notes: list[str] = field(default_factory=list)


def evaluate(options: EvaluateOptions) -> Evaluation:
    """Score a split. Raises ``DataError``, ``CheckpointError`` or ``InputError`` with what is wrong."""
    split = _ready(options)
    count = len(split.clips)
    whole = _joined(in_processes(partial(score_part, split=split), options, options.jobs), count)
    subject = options.checkpoint or options.predictions or options.prompts or ""
    result = Evaluation(
        subject, split.subset, options.split, list(whole.clips.values()), composed=split.composed, notes=whole.notes
    )
    extremes = Extremes(options.examples)
    for example in whole.examples:
        extremes.show(example)
    result.best, result.worst = extremes.best, extremes.worst
    matching = result.total.foreground
    result.negatives = {
        name: NegativeScore(sum(shares.values()) / count, matching) for name, shares in whole.foreground.items()
    }
    if options.move_sound:
        result.moved = summarise(list(whole.moved.values()))
    if options.baselines:
        result.baselines = _baselines(split)
    if options.sources:
        for name in ("predicted", "true"):
            result.sources[name] = SourceScore()
            for scores in whole.sources.values():
                result.sources[name] += scores[name]
        result.notes += [f"sources in the {name} masks: {score}" for name, score in result.sources.items()]
    return result


def score_part(options: EvaluateOptions, sharing: Sharing, split: Split) -> ScoresPart:
    """Score this process's share of the clips: every ``sharing.world``-th, from ``sharing.rank`` on."""
    with arithmetic(options.tf32):
        return _scored_part(options, sharing, split)


def _scored_part(options: EvaluateOptions, sharing: Sharing, split: Split) -> ScoresPart:
    clips = split.clips
    predictor = _predictor(options, clips)
    looked_at = {"frames"} if options.examples else set()
    data = ClipDataset(clips, {"masks"} | looked_at | predictor.needs, cache=False)
    extremes = Extremes(options.examples)
    part = ScoresPart(foreground={name: {} for name in split.negatives})
    for sample in _samples(data, options.workers, sharing):
        truth = sample.masks
        probability = predictor.predict([sample])[0][: len(truth)]
        score = score_clip(sample.name, clips[sample.index].category, probability.cpu(), truth)
        part.clips[sample.index] = score
        if options.examples:
            extremes.show(_example(score, sample, probability))
        if options.masks:
            _write_masks(Path(options.masks), clips[sample.index], probability)
        for name, sounds in split.negatives.items():
            heard = predictor.predict_clip(sample, sounds.log_mel(sample.index))
            part.foreground[name][sample.index] = float((heard > 0.5).double().mean())
    part.examples = [*extremes.best, *extremes.worst]
    if isinstance(predictor, FolderPredictor):
        part.notes.append(predictor.note)
    if split.moved:
        part.moved = _moved(options, split, split.moved, predictor, sharing)
    if options.sources:
        part.sources = _sources(options, split, predictor, sharing)
    return part


def _joined(parts: Sequence[ScoresPart], count: int) -> ScoresPart:
    """All clips in their order in the split, so that sums come out as one process has them."""
    names = parts[0].foreground
    return ScoresPart(
        _in_order([part.clips for part in parts], count),
        {name: _in_order([part.foreground[name] for part in parts], count) for name in names},
        _in_order([part.moved for part in parts], count),
        _in_order([part.sources for part in parts], count),
        [example for part in parts for example in part.examples],
        parts[0].notes,
    )


def _in_order(parts: Sequence[dict[int, Value]], count: int) -> dict[int, Value]:
    return {index: part[index] for index in range(count) for part in parts if index in part}


def _predictor(options: EvaluateOptions, clips: Sequence[Clip]) -> Predictor:
    if options.predictions:
        return FolderPredictor(Path(options.predictions), clips)
    device = choose_device(options.device)
    if options.prompts:
        kind, _, count = options.prompts.partition(":")
        if kind not in ("points", "box") or not count.isdigit() or int(count) < 1:
            raise InputError(f"{named('prompts')} takes points:1, points:3, box:1 or box:3, not {options.prompts!r}")
        return PromptPredictor(load_sam(options.backbone, device), kind, int(count), options.seed)
    segmenter = Segmenter.load(options.checkpoint, options.device, options.precision, options.compiled)
    return ModelPredictor(segmenter.model)


def _samples(data: ClipDataset, workers: int = 0, sharing: Sharing = ALONE) -> Iterator[Sample]:
    """This process's samples in order, read ahead in a thread, or by ``workers``, while the model computes."""
    own = [[index] for index in range(sharing.rank, len(data), sharing.world)]
    ahead = Prefetch(load_batches(data, own, workers), AHEAD)
    try:
        with progress_bar(sharing) as progress:
            for batch in progress.track(ahead, total=len(own), description="evaluating"):
                yield batch[0]
    finally:
        ahead.close()


def _moved(
    options: EvaluateOptions, split: Split, sounds: MovedSounds, predictor: ModelPredictor, sharing: Sharing
) -> dict[int, ClipScore]:
    """Whether the mask follows the sound: each clip heard with another visible object's, scored against that object."""
    data = ClipDataset(split.clips, {"frames", "object_maps"}, cache=False)
    scores = {}
    for sample in _samples(data, options.workers, sharing):
        target = sounds.target(sample.index)
        if target is None:
            continue
        probability = predictor.predict_clip(sample, sounds.log_mel(sample.index, target)).cpu()
        truth = CategoryPredictor(target + 1).predict([sample])[0] > 0.5
        scores[sample.index] = score_clip(sample.name, split.categories[target], probability, truth)
    return scores


def _baselines(split: Split) -> dict[str, SplitScore]:
    """What can be reached without listening: all objects that could sound, and the best single category."""
    clips, categories = split.clips, split.categories
    data = ClipDataset(clips, {"object_maps", "masks"}, cache=False)
    everything = ForegroundPredictor()
    single = [CategoryPredictor(k + 1) for k in range(len(categories))]
    scores: list[list[ClipScore]] = [[] for _ in range(1 + len(single))]
    for sample in _samples(data):
        for own, predictor in zip(scores, (everything, *single), strict=True):
            probability = predictor.predict([sample])[0][: len(sample.masks)]
            own.append(score_clip(sample.name, clips[sample.index].category, probability, sample.masks))
    totals = [summarise(own) for own in scores]
    best = int(np.argmax([total.miou for total in totals[1:]]))
    return {"every object": totals[0], f"best single category ({categories[best]})": totals[1 + best]}


def _sources(
    options: EvaluateOptions, split: Split, predictor: Predictor, sharing: Sharing
) -> dict[int, dict[str, SourceScore]]:
    """Sources told apart in what is predicted and, where a model names them, in the truth itself."""
    data = ClipDataset(split.clips, {"object_maps", "masks"} | predictor.needs, cache=False)
    model = isinstance(predictor, ModelPredictor)
    kinds = predictor.model.config.seen_kinds if model else ()
    scores = {}
    for sample in _samples(data, options.workers, sharing):
        assert sample.masks is not None
        truth = sample.masks.numpy()
        maps = nearest(sample.object_maps, MASK_SIZE).numpy()[: len(truth)]
        objects = [objects_of(own, mask, split.categories) for own, mask in zip(maps, truth, strict=True)]
        predicted = (predictor.predict([sample])[0][: len(truth)] > 0.5).cpu().numpy()
        places = predictor.placed(sample) if model else [{}] * len(truth)
        scores[sample.index] = {
            name: score_sources(objects, told_apart(masks, places[: len(truth)]), kinds)
            for name, masks in (("predicted", predicted), ("true", truth))
        }
    return scores


def _example(score: ClipScore, sample: Sample, probability: Tensor) -> Example:
    """What is kept of a clip to be looked at: the frames that have a truth, at the size of the masks."""
    assert sample.frames is not None and sample.masks is not None
    pictures = [Image.fromarray(frame) for frame in sample.frames[: len(sample.masks)].numpy()]
    frames = np.stack([np.asarray(picture.resize((MASK_SIZE, MASK_SIZE))) for picture in pictures])
    return Example(score, frames, sample.masks.numpy(), (probability > 0.5).cpu().numpy())


def _write_masks(root: Path, clip: Clip, probability: Tensor) -> None:
    """Masks as the authors save theirs: ``[{category}/]{name}/{name}_{0..}.png``, 224x224, 0 or 255."""
    folder = _mask_folder(root, clip)
    with writing(folder, "masks"):
        folder.mkdir(parents=True, exist_ok=True)
        for k, mask in enumerate((probability > 0.5).cpu().numpy()):
            assert mask.shape == (MASK_SIZE, MASK_SIZE)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{clip.name}_{k}.png")


def _mask_folder(root: str | Path, clip: Clip) -> Path:
    return Path(root) / clip.category / clip.name
