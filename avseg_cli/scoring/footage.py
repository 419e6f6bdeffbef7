"""``avseg evaluate --subset clips``: a model, or anyone's masks, on one's own real clips with drawn masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from avseg_cli.base.arithmetic import arithmetic
from avseg_cli.base.errors import DataError, InputError, named
from avseg_cli.base.progress import progress_bar
from avseg_cli.base.sharing import Sharing
from avseg_cli.base.text import counted
from avseg_cli.base.writing import writing
from avseg_cli.media.video import Video, VideoReader, probe
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.scoring.evaluate_options import FootageOptions
from avseg_cli.scoring.footage_files import RealClip, read_drawn, read_footage
from avseg_cli.scoring.footage_scores import BASELINES, FrameScore, mean_score, score_frame
from avseg_cli.segment.render import told
from avseg_cli.segment.runner import segment_video
from avseg_cli.segment.segmenter import Segmenter

NEAR = 0.6  # seconds: how far from the end of its second the frame of a mask may lie
SIDE = 160  # pixels of a kept picture's height


@dataclass(frozen=True)
class ShownSeconds:
    """The seconds of a clip to be looked at. frames: uint8 (N, h, w, 3), truth and prediction: bool (N, h, w)."""

    frames: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


@dataclass
class ClipResult:
    """One clip: the score of each second, what was heard in each ("" where nobody says), and its pictures."""

    name: str
    seconds: list[FrameScore]
    heard: list[str]
    shown: ShownSeconds | None = None

    @property
    def score(self) -> FrameScore:
        return mean_score(self.seconds)


@dataclass
class FootageEvaluation:
    """Every figure of one evaluation. Clips by name; means are over frames, each of the same weight."""

    subject: str
    data: str
    model: str = ""  # which it was and what it is for, in one line
    clips: list[ClipResult] = field(default_factory=list)
    baselines: dict[str, FrameScore] = field(default_factory=dict)
    swapped: FrameScore | None = None  # heard with the next clip's sound

    @property
    def total(self) -> FrameScore:
        return mean_score(second for clip in self.clips for second in clip.seconds)

    @property
    def worst_first(self) -> list[ClipResult]:
        return sorted(self.clips, key=lambda clip: clip.score.miou_all)

    @property
    def fall(self) -> float | None:
        """The share of mIoU that goes with the own sound; None where it was not measured, or was nothing."""
        own, other = self.total.miou, self.swapped and self.swapped.miou
        return 1 - other / own if own and other is not None else None


@dataclass(frozen=True)
class Found:
    """What was predicted for one second: the time of its frame in seconds, its mask, what was heard in words."""

    time: float
    mask: np.ndarray
    heard: str = ""


def plan(options: FootageOptions) -> str:
    """What ``evaluate_footage`` would do; raises as it would, and has loaded the model."""
    truths = _truths(options)
    if not options.predictions:
        _load(options)
    return f"score {options.subject} on {counted(len(truths), 'clip')} with drawn masks in {options.data}"


def evaluate_footage(options: FootageOptions) -> FootageEvaluation:
    """Score the clips of a folder. Raises ``DataError``, ``InputError``, ``CheckpointError`` with what is wrong."""
    with arithmetic(options.tf32):
        return _evaluated(options)


def _evaluated(options: FootageOptions) -> FootageEvaluation:
    truths = _truths(options)
    model = None if options.predictions else _load(options)
    used = "" if model is None else told(model, options.subject)
    result = FootageEvaluation(options.subject, options.data, used)
    baselines: dict[str, list[FrameScore]] = {name: [] for name in BASELINES}
    swapped: list[FrameScore] = []
    with progress_bar(Sharing()) as progress:
        for place, truth in enumerate(progress.track(truths, description="evaluating")):
            found = _saved(Path(options.predictions), truth) if model is None else _heard(model, truth, truth.video)
            drawn = truth.masks()
            scores = [score_frame(own.mask, mask) for own, mask in zip(found, drawn, strict=True)]
            shown = _shown(truth, found, drawn) if options.pictures else None
            result.clips.append(ClipResult(truth.clip.name, scores, [own.heard for own in found], shown))
            _keep_worst(result, options.pictures)
            for name, mask in BASELINES.items():
                baselines[name] += [score_frame(mask(truth.video.size), own) for own in drawn]
            if options.masks:
                _write(Path(options.masks) / truth.clip.name, found)
            if options.swap_sound:
                other = probe(truth.clip.path, truths[(place + 1) % len(truths)].clip.path)
                swapped += [score_frame(o.mask, m) for o, m in zip(_heard(model, truth, other), drawn, strict=True)]
    result.baselines = {name: mean_score(scores) for name, scores in baselines.items()}
    result.swapped = mean_score(swapped) if swapped else None
    return result


@dataclass(frozen=True)
class _Truth:
    """A clip and its drawn masks."""

    clip: RealClip
    video: Video

    def check(self) -> None:
        """Raise ``DataError`` for masks that cannot be used, before a model works for long."""
        self.masks()
        length = self.video.duration
        if length is not None and len(self.clip.masks) > length + NEAR:
            self.refuse(len(self.clip.masks) - 1)

    def masks(self) -> list[np.ndarray]:
        return [read_drawn(path, self.video.size) for path in self.clip.masks]

    def refuse(self, second: int) -> NoReturn:
        """Raise ``DataError`` for a mask that no frame belongs to."""
        raise DataError(
            f"{self.clip.masks[second]}: {self.clip.path.name} has no frame within {NEAR} s of the end of that second, "
            f"{second + 1} s; delete masks after the end of the clip"
        )


def _truths(options: FootageOptions) -> list[_Truth]:
    """The clips with their masks, all looked at before a model works for long."""
    root = Path(options.data)
    clips = read_footage(root, options.limit_clips)
    if options.swap_sound and len(clips) < 2:
        raise InputError(f"{named('swap_sound')} needs two clips or more: each is heard with the next one's sound")
    if options.masks and Path(options.masks).resolve() == clips[0].masks[0].parent.parent.resolve():
        raise InputError(f"{options.masks}: holds the masks to score against; give {named('masks')} another folder")
    truths = [_Truth(clip, probe(clip.path)) for clip in clips]
    for truth in truths:
        truth.check()
        if options.predictions:
            _saved(Path(options.predictions), truth)
    return truths


def _load(options: FootageOptions) -> AvsegModel:
    return Segmenter.load(options.subject, options.device, options.precision, options.compiled).model


def _heard(model: AvsegModel, truth: _Truth, video: Video) -> list[Found]:
    """The model's masks nearest to the ends of the clip's seconds, as `avseg segment` makes them."""
    ends = range(1, len(truth.clip.masks) + 1)  # seconds
    masks = segment_video(video, model, fps=1)
    try:
        results = list(takewhile(lambda result: result.time <= ends[-1] + NEAR, masks))
    finally:
        masks.close()
    found = []
    for end in ends:
        result = min(results, key=lambda result: abs(result.time - end), default=None)
        if result is None or abs(result.time - end) > NEAR:
            truth.refuse(end - 1)
        found.append(Found(result.time, result.mask, result.hears()))
    return found


def _saved(folder: Path, truth: _Truth) -> list[Found]:
    """Masks on disk, called as the drawn ones are."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of predictions")
    paths = [folder / truth.clip.name / path.name for path in truth.clip.masks]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing:
        raise DataError(f"{missing}: missing; predictions are called as the drawn masks are")
    return [Found(second, read_drawn(path, truth.video.size)) for second, path in enumerate(paths, start=1)]


def _write(folder: Path, found: list[Found]) -> None:
    with writing(folder, "masks"):
        folder.mkdir(parents=True, exist_ok=True)
        for second, own in enumerate(found):
            Image.fromarray(own.mask.astype(np.uint8) * 255).save(folder / f"{second}.png")


def _shown(truth: _Truth, found: list[Found], drawn: list[np.ndarray]) -> ShownSeconds:
    height, width = truth.video.size
    size = max(1, round(SIDE * width / height)), SIDE

    def small(mask: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))

    frames = [np.asarray(Image.fromarray(picture).resize(size)) for picture in _pictures(truth.video, found)]
    return ShownSeconds(
        np.stack(frames), np.stack([small(m) for m in drawn]), np.stack([small(own.mask) for own in found])
    )


def _pictures(video: Video, found: list[Found]) -> list[np.ndarray]:
    """The last picture at or before the time of each mask, uint8 RGB (H, W, 3)."""
    pictures: list[np.ndarray] = []
    last: Callable[[], np.ndarray] | None = None
    for picture in VideoReader(video):
        while last and len(pictures) < len(found) and picture.time > found[len(pictures)].time + 1e-6:
            pictures.append(last())
        if len(pictures) == len(found):
            return pictures
        last = picture.rgb
    return pictures + [last()] * (len(found) - len(pictures)) if last else pictures


def _keep_worst(result: FootageEvaluation, count: int) -> None:
    """Only the worst clips keep their pictures."""
    for clip in result.worst_first[count:]:
        clip.shown = None
