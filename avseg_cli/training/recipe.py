"""How a stage is trained, and what each does unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.json_types import misfits
from avseg_cli.model.backbones import BACKBONES

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "cosine")
LOSSES = ("bce", "bce+iou", "bce+iou-sama")
STARTS = ("zero", "normal")
RECIPES = ("paper", "released", "fast")


@dataclass(frozen=True)
class Recipe:
    """How one stage is trained. batch_size: clips per process and step; clip_gradient: largest norm, None for any.

    still: parts of the stage that do not learn and are otherwise in training, their dropout included.
    """

    epochs: int
    batch_size: int = 1
    learning_rate: float = 1e-4
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0  # share of all steps with a rising learning rate
    floor: float = 0.01  # where a cosine ends, as a share of the learning rate
    clip_gradient: float | None = None
    loss: str = "bce"
    augment: bool = False
    patience: int | None = None  # validations without a better score before stopping
    still: tuple[str, ...] = ()
    adapter_start: str = "zero"  # how adapters begin: without effect, or "normal" as SAMA-AVS's

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name.replace('_', ' ')} must be more than 0, not {getattr(self, name)}")
        if self.optimizer not in OPTIMIZERS or self.schedule not in SCHEDULES or self.loss not in LOSSES:
            raise InputError(
                f"optimizer {self.optimizer!r} must be one of {OPTIMIZERS}, schedule {self.schedule!r} one of "
                f"{SCHEDULES}, loss {self.loss!r} one of {LOSSES}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Of what JSON gave. Raises ``ValueError`` or ``TypeError`` for what is none."""
        for name in misfits(values, cls):
            raise ValueError(f"{name} is {values[name]!r}")
        return cls(**{**values, "still": tuple(values.get("still", ()))})


def default_recipe(backbone: str, stage: str, of: str = "paper") -> Recipe:
    """The recipe a backbone declares for a stage. Raises ``InputError`` for a stage it is not trained in."""
    known = BACKBONES[backbone]
    recipes = {"paper": known.recipes, "released": known.released, "fast": known.fast}[of]
    if not recipes:
        raise InputError(f"there is no {of} recipe for {backbone}: leave out {named('recipes')} {of}")
    if stage not in recipes:
        raise InputError(f"{backbone} is not trained in stage {stage!r}; choose one of {', '.join(recipes)}")
    return Recipe(**recipes[stage])
