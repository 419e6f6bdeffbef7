"""Made to be trained from nothing and to run on a laptop: 16x16 tokens of 8 pixels."""

from __future__ import annotations

from avseg_cli.model.backbones import Backbone
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.image_encoder import ImageEncoder

_COMMON = {
    "batch_size": 8,
    "learning_rate": 5e-4,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup": 0.05,
    "clip_gradient": 1.0,
    "loss": "bce+iou",
}

BACKBONE = Backbone(
    config=ModelConfig(
        backbone="tiny", image_size=128, patch_size=8, stem="conv", embed_dim=128, depth=4, num_heads=4, window_size=8,
        global_blocks=(1, 3), out_chans=128, decoder_mlp_dim=512, adapter_dim=64, vggish_width=0.25, fusion_depth=3,
    ),
    image=ImageEncoder,
    stages=("pretrain-sound", "pretrain-image", "1a", "2"),  # no 1b: the encoder trains in stage 2, its adapters too
    # Batches are a process's: these are for two processes (`torchrun --nproc-per-node 2`), one for each core.
    recipes={
        "pretrain-sound": {**_COMMON, "epochs": 6, "learning_rate": 1e-3, "augment": True},
        "pretrain-image": {**_COMMON, "epochs": 17, "learning_rate": 1e-3, "weight_decay": 0.05, "augment": True},
        "1a": {**_COMMON, "epochs": 6, "batch_size": 4},
        "1b": {**_COMMON, "epochs": 3, "batch_size": 4, "augment": True},
        "2": {**_COMMON, "epochs": 3, "batch_size": 4, "learning_rate": 2e-4},
    },
    unfreeze=("image", "sound"),  # encoders made here have more to learn than those that stay as published
)  # fmt: skip
