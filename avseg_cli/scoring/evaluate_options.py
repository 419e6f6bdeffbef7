"""What `avseg evaluate` can be told: on AVSBench's subsets, and on one's own real clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.option_fields import COMPILE, MAX_SEED, MOST_CLIPS, MOST_WORKERS, TF32, check, option
from avseg_cli.base.text import either
from avseg_cli.data.subsets import SUBSETS
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.scoring.published import PROMPTS

CLIPS = "clips"  # the subset that is a folder of the user's own
NEGATIVES = ("silence", "noise", "swap")
SUBJECT = "to say what is evaluated"


def _refuse_same(masks: str | None, predictions: str | None) -> None:
    """Masks are written cut at half: over the predictions, these would be lost."""
    if masks and predictions and Path(masks).resolve() == Path(predictions).resolve():
        raise InputError(f"{masks}: {named('masks')} would replace {named('predictions')}; give another folder")


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score, and on what. Exactly one of checkpoint, predictions and prompts.

    Raises ``InputError`` naming the fields that are out of bounds or do not go together.
    """

    data: str
    subset: str = option(
        "ms3",
        f"{either(SUBSETS, '')}, or data in that layout; clips: your own videos (--data/clips/NAME.mp4) with masks "
        "you drew (--data/masks/NAME/0.png, 1.png, … for each second).",
        offers=(*SUBSETS, CLIPS),
    )
    split: str = option("test", "A split that the subset's csv has.")
    checkpoint: str | None = option(
        None, "A checkpoint file, or default for the embedded one.", flags=("--checkpoint", "-c")
    )
    predictions: str | None = option(None, "Score the mask PNGs in this folder instead of a model.", metavar="PATH")
    prompts: str | None = option(None, f"Score SAM prompted with the truth: {either(PROMPTS)}", offers=tuple(PROMPTS))
    backbone: str = option("vit_h", "Of the prompted SAM, one that starts from SAM's weights.", offers=tuple(BACKBONES))
    negatives: tuple[str, ...] = option(
        (), f"Also with wrong sound: {', '.join(NEGATIVES)} (comma separated).", offers=NEGATIVES
    )
    move_sound: bool = option(False, "Also with another visible object's sound (avseg synth's data).")
    baselines: bool = option(False, "Also what can be reached without sound (avseg synth's data).")
    sources: bool = option(False, "Also how well sources are told apart, followed and named (avseg synth's data).")
    masks: str | None = option(None, "Write predicted masks here, in the authors' naming.", metavar="PATH")
    limit_clips: int | None = option(None, "Only the first so many clips.", least=1, most=MOST_CLIPS)
    jobs: int = option(1, "Processes that share the clips, on GPUs one each.", least=1, most=MOST_WORKERS)
    workers: int = option(0, "Processes that read ahead, for each of them.", least=0, most=MOST_WORKERS)
    seed: int = option(0, "Of noise, swaps and random points.", least=0, most=MAX_SEED)
    compiled: bool = option(False, COMPILE, flags=("--compile",))
    tf32: bool = option(False, TF32)
    device: str = "auto"
    precision: str = "fp32"
    examples: int = 0  # best clips to keep, and as many worst

    def __post_init__(self) -> None:
        check(self)
        subjects = ("checkpoint", "predictions", "prompts")
        if sum(bool(getattr(self, name)) for name in subjects) != 1:
            first, second, third = map(named, subjects)
            raise InputError(f"give one of {first}, {second} and {third} {SUBJECT}")
        _refuse_same(self.masks, self.predictions)
        if not self.checkpoint and (self.negatives or self.move_sound):
            raise InputError(
                f"{named('negatives')} and {named('move_sound')} need {named('checkpoint')}: only a model can hear "
                "another sound"
            )
        if not self.checkpoint and self.compiled:
            raise InputError(f"{named('compiled')} needs {named('checkpoint')}: only a model is compiled")
        if not self.checkpoint and self.jobs > 1:
            raise InputError(f"{named('jobs')} needs {named('checkpoint')}: only a model is worth several processes")


@dataclass(frozen=True)
class FootageOptions:
    """What to score on real clips: a checkpoint, or else a folder with masks called as the drawn ones are.

    Raises ``InputError`` as ``EvaluateOptions`` does.
    """

    data: str
    checkpoint: str | None = None  # None: the default one, unless there are predictions
    predictions: str | None = None
    swap_sound: bool = option(False, "Of --subset clips: each clip also with the next clip's sound.")
    masks: str | None = None  # folder for predicted masks
    limit_clips: int | None = option(None, least=1, most=MOST_CLIPS)
    compiled: bool = False
    tf32: bool = False
    device: str = "auto"
    precision: str = "fp32"
    pictures: int = 0  # clips whose pictures are kept, the worst

    def __post_init__(self) -> None:
        check(self)
        if self.checkpoint and self.predictions:
            raise InputError(f"give one of {named('checkpoint')} and {named('predictions')} {SUBJECT}")
        _refuse_same(self.masks, self.predictions)
        if self.predictions and self.compiled:
            raise InputError(f"{named('compiled')} needs a model: masks on disk are not computed")
        if self.predictions and self.swap_sound:
            raise InputError(f"{named('swap_sound')} needs a model: masks on disk cannot hear another sound")

    @property
    def subject(self) -> str:
        """Whose masks are scored."""
        return self.predictions or self.checkpoint or "default"
