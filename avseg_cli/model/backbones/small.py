"""The default model's: EfficientNet-Lite2 and YAMNet, made by others, which know kinds of things and of sounds."""

from __future__ import annotations

from torch import nn

from avseg_cli.model.backbones import Backbone
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.kind_encoder import KindEncoder
from avseg_cli.model.kinds import HEARD, SEEN
from avseg_cli.model.sound_events import SoundEventsNet


def sound_network(config: ModelConfig) -> nn.Module:
    """The sound network of a configuration."""
    return SoundEventsNet(len(config.kinds))


_COMMON = {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.04, "clip_gradient": 1.0}

BACKBONE = Backbone(
    config=ModelConfig(
        backbone="small", audio_dim=len(HEARD), image_size=512, stem="lite2", decoder_mlp_dim=1024, fusion_depth=2,
        smoothing=3, kinds=tuple(HEARD), seen_kinds=tuple(SEEN),
    ),
    image=KindEncoder,
    sound=sound_network,
    packaged=("efficientnet-lite2", "yamnet"),
    coarse=True,
    trained={
        "pretrain-sound": ("vggish.trust", "vggish.usual", "vggish.lin1", "vggish.drop", "vggish.heard"),
        "pretrain-image": (
            "image_encoder.neck", "image_encoder.trust", "image_encoder.usual", "image_encoder.sharpen",
        ),
        "2": (
            "image_encoder.adapters", "image_encoder.fine4", "image_encoder.fine8", "audio_embed", "fusion",
            "mask_decoder",
        ),
    },
    stages=("pretrain-sound", "pretrain-image", "2"),
    recipes={
        "pretrain-sound": {
            **_COMMON, "epochs": 20, "batch_size": 256, "learning_rate": 1.5e-3, "weight_decay": 0.02,
            "clip_gradient": None, "augment": True,
        },
        "pretrain-image": {**_COMMON, "epochs": 8, "batch_size": 8, "learning_rate": 1e-3, "weight_decay": 1e-4},
        "2": {**_COMMON, "epochs": 4, "batch_size": 4, "learning_rate": 4e-4, "loss": "bce+iou", "augment": True},
    },
    unfreeze=(),
)  # fmt: skip
