"""The backbones: each file here declares one, under the file's own name, and nothing else lists them.

A backbone says what its model is made of, the public files it starts from, and how it is trained unless told
otherwise. To add one, add a file that sets ``BACKBONE``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avseg_cli.base.errors import CheckpointError
from avseg_cli.base.registry import Registry
from avseg_cli.model.config import ModelConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PublicPart:
    """A file of the manifest whose tensors a model starts from, and which of them stay as they are published."""

    file: str  # its name in the manifest
    frozen: tuple[str, ...]  # beginnings of the parameters' names that checkpoints leave to this file
    own: tuple[str, ...] = ()  # except those that begin so
    names: tuple[tuple[str, str | None], ...] = ()  # its names and ours, where the table of all files lacks them

    def holds(self, name: str) -> bool:
        """Whether checkpoints leave the parameter ``name`` to this file."""
        return name.startswith(self.frozen) and not name.startswith(self.own)


VGGISH = PublicPart("vggish", ("vggish.",))


@dataclass(frozen=True)
class Backbone:
    """A kind of model.

    config: the model unless told otherwise; ``config.backbone`` is the name of the file.
    image: builds the image encoder of a configuration: a module from normalised frames (N, 3, S, S) and raw sound
    vectors (N, 128), or None, to (N, C, g, g), with ``dtype``, ``adapters`` (a module or None) and ``recompute``.
    sound: builds the sound network, log-mel (N, 1, 96, 64) to vectors (N, audio_dim); None for VGGish.
    public: the files of the manifest it starts from; none for a backbone made here, which carries all its weights.
    packaged: the networks of ``checkpoints.packaged_weights`` it starts from; its checkpoints carry them.
    trained: the parts trained in a stage, where they are not those of ``training.parameters``.
    stages: those of `avseg train` it goes through, in their order; pretraining is left out after ``--init``.
    recipes: for each stage it can be trained in, the fields of ``training.recipe.Recipe``.
    released: the same as the published code does it, which its papers tell otherwise; empty where there is none.
    fast: the same in a tenth of the time, for a first look.
    unfreeze: "image", "sound": trained besides the paper's parts in stage 2.
    recompute: training computes activations a second time rather than keep them: where memory is what lacks.
    coarse: the outlines of its masks are coarser than what is seen of the picture, and are fitted to it.
    parameters: of the published whole, which the trained share is told against; None to tell no share.
    """

    config: ModelConfig
    image: Callable[[ModelConfig], nn.Module]
    sound: Callable[[ModelConfig], nn.Module] | None = None
    public: tuple[PublicPart, ...] = ()
    packaged: tuple[str, ...] = ()
    trained: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    released: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fast: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unfreeze: tuple[str, ...] = ()
    recompute: bool = False
    coarse: bool = False
    parameters: int | None = None

    @property
    def from_nothing(self) -> bool:
        """Whether it starts without public weights."""
        return not self.public


BACKBONES: Registry[Backbone] = Registry(__name__, Path(__file__).parent, "BACKBONE", "backbone", CheckpointError)


def preset(backbone: str, **overrides: Any) -> ModelConfig:
    """The configuration of a backbone, with fields replaced by name. Raises ``CheckpointError`` for other names."""
    return replace(BACKBONES[backbone].config, **overrides)


def build_image_encoder(config: ModelConfig) -> nn.Module:
    """The image encoder of a configuration; SAM's for one of other code, which no backbone here has (``custom``)."""
    if config.backbone in BACKBONES:
        return BACKBONES[config.backbone].image(config)
    from avseg_cli.model.image_encoder import ImageEncoder

    return ImageEncoder(config)


def build_sound_network(config: ModelConfig) -> nn.Module:
    """The sound network of a configuration: VGGish unless the backbone has its own."""
    if config.backbone in BACKBONES and (sound := BACKBONES[config.backbone].sound):
        return sound(config)
    from avseg_cli.model.vggish import VGGish

    return VGGish(config.audio_dim, config.vggish_width)


def public_parts(config: ModelConfig) -> tuple[PublicPart, ...]:
    """The public files a model may stand on: its backbone's, and VGGish, whatever the backbone."""
    own = BACKBONES[config.backbone].public if config.backbone in BACKBONES else ()
    return own if VGGISH in own else (*own, VGGISH)


def part_of(file: str) -> PublicPart | None:
    """What backbones take from a public file; None where none stands on it."""
    parts = (part for name in BACKBONES for part in BACKBONES[name].public)
    return next((part for part in parts if part.file == file), None)


def sam_backbones() -> dict[str, str]:
    """The backbones whose encoder is SAM's own: name -> public file."""
    found = ((name, part.file) for name in BACKBONES for part in BACKBONES[name].public)
    return {name: file for name, file in found if file.startswith("sam_")}
