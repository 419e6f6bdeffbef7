"""The stages of training: each file here declares one in ``STAGE``, under the file's own name (``stage_1a`` is "1a").

To add one, add a file; which backbones go through it, and with what recipe, they say themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avseg_cli.base.errors import InputError
from avseg_cli.base.registry import Registry

if TYPE_CHECKING:
    from avseg_cli.data.clips import Clip
    from avseg_cli.data.layouts import Subset
    from avseg_cli.data.listed import ListedRecording, Photograph
    from avseg_cli.model.avseg import AvsegModel
    from avseg_cli.model.config import ModelConfig
    from avseg_cli.training.tasks import Task, TaskSetup
    from avseg_cli.training.train_options import TrainOptions


@dataclass(frozen=True)
class StageData:
    """What a stage is trained and chosen on."""

    subset: Subset
    train: list[Clip]
    val: list[Clip]


def _whole(config: ModelConfig) -> ModelConfig:
    return config


def _nothing(options: TrainOptions, photos: list[Photograph], sounds: list[ListedRecording]) -> None:
    pass


@dataclass(frozen=True)
class Stage:
    """order: of the stages of a run. trains: the modules whose parameters train; still: those inside that do not.

    task: what is computed, on the data. composed: the same on photographs and sounds, for models that know kinds; None
    where there is no such thing; needs: raises for what that lacks, as far as the lists and earlier stages tell.
    model: the configuration a stage trains, of the run's. sources: where weights come from, earlier stages of the same
    run, the later winning, each for the parts named. pretrains: for backbones without public weights, before there are
    masks. adapts: trains the audio adapters, so there is nothing to do without them. joins: everything together,
    adapters of another run and further parts (``unfreeze``) included. caches: keeps image embeddings.
    """

    order: int
    trains: tuple[str, ...]
    task: Callable[[AvsegModel, TrainOptions, TaskSetup, StageData], Task]
    composed: Callable[[AvsegModel, TrainOptions, TaskSetup], Task] | None = None
    needs: Callable[[TrainOptions, list[Photograph], list[ListedRecording]], None] = _nothing
    still: tuple[str, ...] = ()
    model: Callable[[ModelConfig], ModelConfig] = _whole
    sources: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pretrains: bool = False
    adapts: bool = False
    joins: bool = False
    caches: bool = False

    @property
    def fuses(self) -> bool:
        """Whether there must be a fusion module, or at least a sound that prompts the decoder."""
        return "fusion" in self.trains


STAGES: Registry[Stage] = Registry(__name__, Path(__file__).parent, "STAGE", "stage", InputError, True, "stage_")

ENCODERS = (  # what the pretraining stages leave to those after them
    ("pretrain-sound", ("vggish.",)),
    ("pretrain-image", ("image_encoder.", "mask_decoder.", "positions.")),
)


def in_order() -> tuple[str, ...]:
    """All stages, in the order in which a run goes through them."""
    return tuple(sorted(STAGES, key=lambda name: STAGES[name].order))


def pretraining() -> tuple[str, ...]:
    """Those for backbones without public weights."""
    return tuple(name for name in in_order() if STAGES[name].pretrains)
