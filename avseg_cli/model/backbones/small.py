"""The default model's: EfficientNet-Lite2 and a CNN of sound effects, made by others, which know kinds of things."""

from __future__ import annotations

from torch import nn

from avseg_cli.model.backbones import Backbone
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.kind_encoder import KindEncoder
from avseg_cli.model.kinds import HEARD, SEEN
from avseg_cli.model.sound_effects import SoundEffectsNet


def sound_network(config: ModelConfig) -> nn.Module:
    """The sound network of a configuration."""
    return SoundEffectsNet(len(config.kinds))


BACKBONE = Backbone(
    config=ModelConfig(
        backbone="small", audio_dim=len(HEARD), image_size=512, stem="lite2", decoder_mlp_dim=1024, fusion_depth=2,
        smoothing=3, kinds=tuple(HEARD), seen_kinds=tuple(SEEN),
    ),
    image=KindEncoder,
    sound=sound_network,
    stages=("pretrain-sound", "pretrain-image", "2"),
    recipes={},
    unfreeze=(),
)  # fmt: skip
