"""What `avseg bench` can be told: beside the reference, and with `--scaling`."""

from __future__ import annotations

from dataclasses import dataclass

from avseg_cli.base.errors import AvsegError, named
from avseg_cli.base.option_fields import MANY, MAX_SEED, TF32, check, option
from avseg_cli.base.text import either
from avseg_cli.model.backbones import BACKBONES

SCALING = "With length"  # a panel of the command's help
PARTS = ("log_mel", "vggish", "encoder", "fusion", "decoder", "clip", "masks")
TRAINING_PARTS = ("feed", "recompute", "train_1a", "train_2")
ALL_PARTS = (*PARTS, *TRAINING_PARTS, "startup")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class BenchOptions:
    """What to measure. ``blocks`` runs only that many of the encoder's blocks (windowed and global in
    their usual proportion), for machines on which the whole reference takes minutes; reports say so, and add what
    the whole would take by its arithmetic.

    Raises ``InputError`` for a field out of its bounds, ``AvsegError`` for fields that do not go together.
    """

    backbone: str = option("vit_b", either(BACKBONES, ", with random weights."), offers=tuple(BACKBONES))
    checkpoint: str | None = option(
        None, "Use these weights instead of random ones; the default model's are for --scaling.", metavar="NAME|FILE"
    )
    blocks: int | None = option(
        None, "Only this many of the encoder's blocks, where the whole takes too long.", least=1, most=64
    )
    parts: tuple[str, ...] = option(
        PARTS,
        "Components, with commas between: of a clip's way through the model, masks (of 1080p), feed (kept embeddings "
        "to the device), recompute (a step that computes activations twice, and one that keeps them), train_1a (an "
        "epoch of stage 1a), train_2 (a step of stage 2), startup; all for all.",
        offers=(*ALL_PARTS, "all"),
    )
    device: str = "auto"
    precision: str = option("auto", "Ours: auto, fp32 or bf16.", offers=PRECISIONS)
    reference_precision: str = option("fp32", "The reference's: fp32 or bf16.", offers=PRECISIONS[1:])
    all_precisions: bool = option(False, "Each row in fp32, ours in bf16, and both in bf16, where there is bf16.")
    clips: int = option(1, "Clips of 5 frames.", least=1, most=MANY)
    batch: int = option(1, "Frames per pass of our encoder (the reference takes one).", least=1, most=MANY)
    repeats: int = option(3, "The best of this many counts; the two take turns.", least=1, most=MANY)
    threads: int | None = option(None, "CPU threads; without it torch's choice.", least=1, most=1024)
    compiled: bool = option(False, "Compile our encoder (for GPUs).", flags=("--compile",))
    compiled_reference: bool = option(
        False, "Also the reference under torch.compile, where there is a compiler.", flags=("--compile-reference",)
    )
    tf32: bool = option(False, f"Both sides: {TF32[0].lower()}{TF32[1:]}")
    seed: int = option(0, "Of the random weights and inputs.", least=0, most=MAX_SEED)

    def __post_init__(self) -> None:
        check(self)
        if self.parts == ("all",):
            object.__setattr__(self, "parts", ALL_PARTS)
        unknown = sorted(set(self.parts) - set(ALL_PARTS))
        if unknown or not self.parts:
            raise AvsegError(f"no component {', '.join(unknown) or 'chosen'}; there are {', '.join(ALL_PARTS)}")
        if self.checkpoint and set(self.parts) & set(TRAINING_PARTS):
            raise AvsegError(f"training is measured on random weights; leave out {named('checkpoint')}")


@dataclass(frozen=True)
class ScalingOptions:
    """Videos to segment: ``lengths`` in seconds, each at all ``rates`` in masks a second.

    Raises ``AvsegError`` for lengths through which there is no line.
    """

    lengths: tuple[float, ...] = option(
        (10, 20, 40, 80), "Lengths of the videos in seconds.", above=0, most=86_400, panel=SCALING
    )
    rates: tuple[float, ...] = option((1, 2, 4), "Values of --fps to try.", above=0, most=120, panel=SCALING)
    plot: str | None = option(None, "Draw time and memory over length into this file.", metavar="PATH", panel=SCALING)
    checkpoint: str = "default"
    device: str = "auto"

    def __post_init__(self) -> None:
        check(self)
        if len(set(self.lengths)) < 2 or not self.rates:
            raise AvsegError(f"{named('lengths')} needs two different lengths or more, {named('rates')} one or more")
