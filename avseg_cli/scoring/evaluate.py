"""``avseg evaluate``: AVSBench's metrics for a model, anyone's masks, prompted SAM, and with the wrong sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
from avseg_cli.checkpoints.checkpoint import choose_device
from avseg_cli.data.augment import nearest
from avseg_cli.data.check import refuse_gaps
from avseg_cli.data.clips import Clip, read_categories, read_clips
from avseg_cli.data.composed_lines import read_labels
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
    notes: list[str] = field(default_factory=list)  # sentences without which a figure would mislead

    @property
    def total(self) -> SplitScore:
        return summarise(self.clips)

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """How far each figure may lie from what other clips would give: (low, high)."""
        return intervals(self.clips)


def plan(options: EvaluateOptions) -> str:
    """What ``evaluate`` would do; raises as it would, and has loaded what it names."""
    subset, clips = _complete(options)
    subject = options.checkpoint or options.predictions or f"{options.backbone} prompted with {options.prompts}"
    _predictor(options, clips)
    _other_sounds(options, subset, clips, ClipDataset(clips, set(), cache=False))
    return f"score {subject} on {counted(len(clips), 'clip')} of {subset.name} {options.split} in {options.data}"


def _scored(options: EvaluateOptions) -> tuple[Subset, list[Clip]]:
    subset = find_subset(options.subset)
    clips = read_clips(options.data, subset, options.split, options.limit_clips)
    if not clips[0].masks:
        raise DataError(f"split {options.split} of {subset.name} has no masks to score against")
    return subset, clips


def _complete(options: EvaluateOptions) -> tuple[Subset, list[Clip]]:
    """The same, once every file that will be read is there: one that lacks is told before the first clip is scored."""
    subset, clips = _scored(options)
    predictor = FolderPredictor if options.predictions else PromptPredictor if options.prompts else ModelPredictor
    wanted = {"masks"} | predictor.needs | ({"frames"} if options.examples else set())
    if clips[0].object_maps and (options.move_sound or options.baselines or options.sources):
        wanted |= {"object_maps"}
    refuse_gaps(clips, wanted)
    if options.baselines or options.move_sound or options.sources:
        categories = read_categories(options.data, subset)
        if not clips[0].object_maps:
            asked = next(name for name in ("baselines", "move_sound", "sources") if getattr(options, name))
            raise DataError(f"{options.data}: no object maps; {named(asked)} needs data made by `avseg synth`")
        if options.move_sound:
            read_labels(options.data, subset, clips, categories)
    return subset, clips


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
    subset, clips = _complete(options)
    whole = _joined(in_processes(score_part, options, options.jobs), len(clips))
    subject = options.checkpoint or options.predictions or options.prompts or ""
    result = Evaluation(subject, subset, options.split, list(whole.clips.values()), notes=whole.notes)
    extremes = Extremes(options.examples)
    for example in whole.examples:
        extremes.show(example)
    result.best, result.worst = extremes.best, extremes.worst
    matching = result.total.foreground
    result.negatives = {
        name: NegativeScore(sum(shares.values()) / len(clips), matching) for name, shares in whole.foreground.items()
    }
    if options.move_sound:
        if not whole.moved:
            raise DataError(
                f"{named('move_sound')}: no clip of this split shows a silent object whose sound the split has"
            )
        result.moved = summarise(list(whole.moved.values()))
    if options.baselines:
        result.baselines = _baselines(options, subset, clips)
    if options.sources:
        for name in ("predicted", "true"):
            result.sources[name] = SourceScore()
            for scores in whole.sources.values():
                result.sources[name] += scores[name]
        result.notes += [f"sources in the {name} masks: {score}" for name, score in result.sources.items()]
    return result


def score_part(options: EvaluateOptions, sharing: Sharing) -> ScoresPart:
    """Score this process's share of the clips: every ``sharing.world``-th, from ``sharing.rank`` on."""
    with arithmetic(options.tf32):
        return _scored_part(options, sharing)


def _scored_part(options: EvaluateOptions, sharing: Sharing) -> ScoresPart:
    subset, clips = _scored(options)
    predictor = _predictor(options, clips)
    looked_at = {"frames"} if options.examples else set()
    data = ClipDataset(clips, {"masks"} | looked_at | predictor.needs, cache=False)
    extremes = Extremes(options.examples)
    other = _other_sounds(options, subset, clips, data)
    part = ScoresPart(foreground={name: {} for name in other})
    for sample in _samples(data, options.workers, sharing):
        truth = sample.masks
        probability = predictor.predict([sample])[0][: len(truth)]
        score = score_clip(sample.name, clips[sample.index].category, probability.cpu(), truth)
        part.clips[sample.index] = score
        if options.examples:
            extremes.show(_example(score, sample, probability))
        if options.masks:
            _write_masks(Path(options.masks), clips[sample.index], probability)
        for name, sounds in other.items():
            heard = predictor.predict_clip(sample, sounds.log_mel(sample.index))
            part.foreground[name][sample.index] = float((heard > 0.5).double().mean())
    part.examples = [*extremes.best, *extremes.worst]
    if isinstance(predictor, FolderPredictor):
        part.notes.append(predictor.note)
    if options.move_sound:
        part.moved = _moved(options, subset, clips, predictor, sharing)
    if options.sources:
        part.sources = _sources(options, subset, clips, predictor, sharing)
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


def _other_sounds(
    options: EvaluateOptions, subset: Subset, clips: Sequence[Clip], data: ClipDataset
) -> dict[str, NegativeSounds]:
    heard = seen = categories_by_name(clips)
    if "swap" in options.negatives and heard is None and clips[0].object_maps:
        categories = read_categories(options.data, subset)
        maps = ClipDataset(clips, {"object_maps"}, cache=False)
        heard, seen = categories_by_manifest(read_labels(options.data, subset, clips, categories), maps)
    return {kind: NegativeSounds(data, kind, heard, seen, options.seed) for kind in options.negatives}


def _moved(
    options: EvaluateOptions, subset: Subset, clips: Sequence[Clip], predictor: ModelPredictor, sharing: Sharing
) -> dict[int, ClipScore]:
    """Whether the mask follows the sound: each clip heard with another visible object's, scored against that object."""
    categories = read_categories(options.data, subset)
    data = ClipDataset(clips, {"frames", "object_maps", "log_mel"}, cache=False)
    sounds = MovedSounds(data, read_labels(options.data, subset, clips, categories), options.seed)
    scores = {}
    for sample in _samples(data, options.workers, sharing):
        target = sounds.target(sample.index)
        if target is None:
            continue
        probability = predictor.predict_clip(sample, sounds.log_mel(sample.index, target)).cpu()
        truth = CategoryPredictor(target + 1).predict([sample])[0] > 0.5
        scores[sample.index] = score_clip(sample.name, categories[target], probability, truth)
    return scores


def _baselines(options: EvaluateOptions, subset: Subset, clips: Sequence[Clip]) -> dict[str, SplitScore]:
    """What can be reached without listening: all objects that could sound, and the best single category."""
    categories = read_categories(options.data, subset)
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
    options: EvaluateOptions, subset: Subset, clips: Sequence[Clip], predictor: Predictor, sharing: Sharing
) -> dict[int, dict[str, SourceScore]]:
    """Sources told apart in what is predicted and, where a model names them, in the truth itself."""
    categories = read_categories(options.data, subset)
    data = ClipDataset(clips, {"object_maps", "masks"} | predictor.needs, cache=False)
    model = isinstance(predictor, ModelPredictor)
    kinds = predictor.model.config.seen_kinds if model else ()
    scores = {}
    for sample in _samples(data, options.workers, sharing):
        assert sample.masks is not None
        truth = sample.masks.numpy()
        maps = nearest(sample.object_maps, MASK_SIZE).numpy()[: len(truth)]
        objects = [objects_of(own, mask, categories) for own, mask in zip(maps, truth, strict=True)]
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
    folder = root / clip.category / clip.name if clip.category else root / clip.name
    folder.mkdir(parents=True, exist_ok=True)
    for k, mask in enumerate((probability > 0.5).cpu().numpy()):
        assert mask.shape == (MASK_SIZE, MASK_SIZE)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{clip.name}_{k}.png")
