"""What a training run is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from avseg_cli.base.errors import DataError, InputError, named
from avseg_cli.base.json_types import misfits
from avseg_cli.base.option_fields import (
    COMPILE,
    MANY,
    MAX_SEED,
    MOST_CLIPS,
    MOST_ROUNDS,
    MOST_WORKERS,
    TF32,
    check,
    option,
)
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.training.recipe import LOSSES, OPTIMIZERS, RECIPES, SCHEDULES, STARTS, Recipe, default_recipe
from avseg_cli.training.stages import STAGES, in_order

RECOMPUTE = ("auto", "on", "off")
LEARNING = "How it learns"  # of the panels of the command's help
_learnt_from_option, _start_option, _learning_option, _model_option, _run_option = (
    partial(option, panel=panel)
    for panel in ("What it learns from", "What it starts from", LEARNING, "The model", "The run")
)


@dataclass(frozen=True)
class TrainOptions:
    """Everything a run is told; stored in its folder, so that it can be resumed and repeated.

    None stands for the recipe's or the subset's own value.
    """

    data: str
    subset: str
    out: str
    stages: tuple[str, ...] = ()  # empty: the whole recipe of the backbone
    backbone: str = _model_option("vit_h", offers=tuple(BACKBONES))
    photos: str | None = _learnt_from_option(
        None,
        "Photographs with masks, a folder with a manifest.tsv; needs sounds. With data, stage 2 learns from both.",
        metavar="PATH",
    )
    sounds: str | None = _learnt_from_option(None, "Recordings by kind, a folder with a manifest.tsv.", metavar="PATH")
    public: str | None = _start_option(
        None, "Folder of the packages whose networks small starts from. [default: those installed]", metavar="PATH"
    )
    init: str | None = _start_option(
        None, "Checkpoint to start from (a warm start from another subset, or an earlier stage).", metavar="NAME|FILE"
    )
    init_adapters: str | None = _start_option(
        None, "Checkpoint whose adapters stage 2 starts from.", metavar="NAME|FILE"
    )
    pretrained: str | None = _start_option(
        None,
        "Folder of another run whose pretraining stages are used; with init, of its encoders what they taught.",
        metavar="PATH",
    )
    recipes: str = _learning_option(
        "paper", "paper; released, as the authors' code; fast, in a tenth of the time.",
        offers=RECIPES, only=True, flags=("--recipe",),
    )  # fmt: skip
    epochs: int | None = _learning_option(
        None, "Default: 250, 250 and 15 (paper) for stages 1a, 1b and 2.", least=1, most=1_000_000
    )
    batch_size: int | None = _learning_option(None, "Clips per step and process.", least=1, most=MANY)
    accumulate: int = _learning_option(1, "Batches whose gradients make one step.", least=1, most=MANY)
    learning_rate: float | None = _learning_option(
        None, "Learning rate (paper: 1e-4).", above=0, below=1000, flags=("--lr",)
    )
    optimizer: str | None = _learning_option(None, "adam (paper) or adamw.", offers=OPTIMIZERS)
    weight_decay: float | None = _learning_option(
        None, "How far weights are pulled to 0 (paper: 0).", least=0, most=1000
    )
    schedule: str | None = _learning_option(None, "constant (paper) or cosine.", offers=SCHEDULES)
    warmup: float | None = _learning_option(None, "Share of the steps with a rising learning rate.", least=0, most=1)
    loss: str | None = _learning_option(None, "bce (paper), bce+iou, or bce+iou-sama (as SAMA-AVS).", offers=LOSSES)
    augment: bool | None = _learning_option(None, "Crop, flip and colour.")
    patience: int | None = _learning_option(
        None, "Stop after this many validations without a better score.", least=1, most=MOST_ROUNDS
    )
    adapter_start: str | None = _learning_option(
        None, "zero (adapters change nothing at first) or normal (as SAMA-AVS's).", offers=STARTS, only=True
    )
    dropout: float = _learning_option(0.1, "On ST-BAVA's attention weights.", least=0, below=1)
    unfreeze: tuple[str, ...] | None = None  # trained besides the paper's parts in stage 2: "image", "sound"
    depth: int | None = _model_option(None, "ST-BAVA blocks (paper: 5 for S4, 7 for MS3).", least=0, most=64)
    fusion: str | None = _model_option(None, offers=tuple(FUSIONS))
    temporal: bool = _model_option(True, "Attention over time.")
    bidirectional: bool = _model_option(True, "Sound updated by vision.")
    adapters: bool = _model_option(True, "Audio adapters in the encoder.")
    image_size: int | None = _model_option(
        None, "Side of the model's input in pixels: SAM's is 1024; 512 and 256 cost far less.", least=8, most=4096
    )
    limit_clips: int | None = _run_option(
        None, "Use only so many clips of each split (photographs, seconds of a sound).", least=1, most=MOST_CLIPS
    )
    seed: int = _run_option(0, "Of everything that is drawn.", least=0, most=MAX_SEED)
    workers: int = _run_option(0, "Processes that read ahead.", least=0, most=MOST_WORKERS)
    device: str = "auto"
    precision: str = "auto"
    recompute: str = _run_option(
        "auto", "The encoder's activations: on computes them twice, off keeps them, auto keeps them if they fit.",
        offers=RECOMPUTE, only=True,
    )  # fmt: skip
    compiled: bool = _run_option(False, COMPILE, flags=("--compile",))
    tf32: bool = _run_option(False, TF32)
    deterministic: bool = _run_option(False, "The same run gives the same weights on a GPU too: slower.")
    validate_every: int = _run_option(1, "Epochs between validations.", least=1, most=MOST_ROUNDS)
    save_minutes: float = _run_option(
        5.0, "Minutes between saved states, besides one an epoch.", least=0, most=MOST_ROUNDS
    )
    cache: str | None = _run_option(
        None, "Folder of what frozen networks give, kept. [default: OUT/embeddings]", metavar="PATH"
    )
    command: str = ""  # as typed
    begun: Mapping[str, Recipe] = field(default_factory=dict, compare=False)  # the recipes that a run began with

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "stages", tuple(self.stages))
        unfreeze = self.unfreeze
        if unfreeze is None:
            unfreeze = BACKBONES[self.backbone].unfreeze if self.backbone in BACKBONES else ()
        object.__setattr__(self, "unfreeze", tuple(unfreeze))
        if bool(self.photos) != bool(self.sounds):
            raise InputError(f"scenes need photographs and sounds: give both {named('photos')} and {named('sounds')}")
        if self.photos and self.backbone in BACKBONES and not BACKBONES[self.backbone].config.seen_kinds:
            raise InputError(
                f"{self.backbone} learns from clips: give {named('data')} in place of {named('photos')} and "
                f"{named('sounds')}"
            )
        if self.photos and self.loss == "bce+iou-sama":
            raise InputError(f"{named('loss')} bce+iou-sama is of whole masks; scenes have bce and bce+iou")
        for stage in self.stages:
            if stage not in STAGES:
                raise InputError(f"no stage named {stage!r}; choose from {', '.join(STAGES)}, pretrain or all")
        object.__setattr__(self, "stages", tuple(stage for stage in in_order() if stage in self.stages))
        unknown = set(self.unfreeze) - {"image", "sound"}
        if unknown:
            raise InputError(f"{named('unfreeze')} knows image and sound, not {', '.join(sorted(unknown))}")
        hears_by_adapters = self.fusion is not None and not FUSIONS[self.fusion].prompts
        if hears_by_adapters and (not self.adapters or any(STAGES[stage].fuses for stage in self.stages)):
            raise InputError(
                f"{named('fusion')} {self.fusion} hears with its adapters alone and trains in stage 1b: keep "
                f"{named('adapters')}, and leave out {named('stages')} or give 1b"
            )

    def recipe(self, stage: str) -> Recipe:
        """The stage's recipe with what was asked for explicitly; the one that it began with, if it has begun."""
        if stage in self.begun:
            return self.begun[stage]
        asked = {f.name: getattr(self, f.name, None) for f in fields(Recipe)}
        return replace(
            default_recipe(self.backbone, stage, self.recipes), **{k: v for k, v in asked.items() if v is not None}
        )

    def folder_of(self, stage: str) -> Path:
        """Where what a stage learnt is: here if it is trained here, else, of pretraining, in the run that is named."""
        own = Path(self.out) / stage
        there = self.pretrained and STAGES[stage].pretrains and stage not in self.stages
        return own if not there or (own / "config.json").is_file() else Path(str(self.pretrained)) / stage

    @property
    def embeddings(self) -> Path:
        """Where what frozen networks give is kept: beside the run unless told otherwise (ViT-H on S4 takes 36 GB)."""
        return Path(self.cache) if self.cache else Path(self.out) / "embeddings"

    @property
    def scoring_precision(self) -> str:
        """That of every score which is compared with others: float32, as ``avseg evaluate``, unless told otherwise."""
        return "fp32" if self.precision == "auto" else self.precision

    def ablated(self, config: ModelConfig) -> ModelConfig:
        """``config`` with the ablation switches of this run."""
        changes: dict[str, Any] = {"adapters": self.adapters}
        if self.depth is not None:
            changes["fusion_depth"] = self.depth
        if self.fusion is not None:
            changes["fusion"] = self.fusion
        if self.image_size is not None:
            changes["image_size"] = self.image_size
        return replace(config, temporal=self.temporal, bidirectional=self.bidirectional, **changes)

    @property
    def beginning(self) -> TrainOptions:
        """With the recipes of all its stages, so that it goes on by them whatever the defaults will be."""
        return replace(self, begun={stage: self.recipe(stage) for stage in self.stages})

    def to_dict(self) -> dict[str, Any]:
        """What was asked for; the recipes stand beside it."""
        return {name: value for name, value in asdict(self).items() if name != "begun"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainOptions:
        """Inverse of ``to_dict``; fields that an older run lacks take their defaults.

        Raises ``DataError`` for fields this version does not know, and values that are not of their type.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise DataError(
                f"the run was started by a newer avseg (options {', '.join(sorted(unknown))}); "
                f"start it anew with {named('out')} elsewhere"
            )
        for name in misfits(values, cls):
            raise DataError(f"{name} is {values[name]!r}, which it cannot be")
        return cls(**values)
