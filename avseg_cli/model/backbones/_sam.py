"""What SAM's three backbones have in common: public weights, and the paper's recipe."""

from __future__ import annotations

from typing import Any

from avseg_cli.model.backbones import VGGISH, Backbone, PublicPart
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.image_encoder import ImageEncoder

# Paper section 5.3: Adam, 1e-4, no decay, no schedule, 250 epochs apart and 15 together; batch 1 as its authors.
RECIPES = {"1a": {"epochs": 250}, "1b": {"epochs": 250}, "2": {"epochs": 15}}

# The published code: SAMA-AVS's for 1b, the paper's own script for 2, where ST-BAVA stays as 1a left it; none for 1a.
RELEASED = {
    "1a": RECIPES["1a"],
    "1b": {
        "epochs": 80, "batch_size": 2, "learning_rate": 2e-4, "optimizer": "adamw", "weight_decay": 0.01,
        "schedule": "cosine", "floor": 1e-7 / 2e-4, "loss": "bce+iou-sama", "adapter_start": "normal",
    },
    "2": {"epochs": 30, "still": ("audio_embed", "fusion")},
}  # fmt: skip

# A tenth of the paper's passes: larger steps that die away in place of many equal ones (docs/training.md).
_BRIEF = {"optimizer": "adamw", "learning_rate": 5e-4, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.05}
FAST = {
    "1a": {**_BRIEF, "epochs": 25}, "1b": {**_BRIEF, "epochs": 25}, "2": {**_BRIEF, "epochs": 2, "learning_rate": 1e-4},
}  # fmt: skip


def sam(name: str, parameters: int | None = None, **dimensions: Any) -> Backbone:
    """SAM's backbone of that name, its encoder frozen and read from ``sam_<name>``; the fusion is the paper's."""
    encoder = PublicPart(f"sam_{name}", ("image_encoder.",), own=("image_encoder.adapters.",))
    return Backbone(
        ModelConfig(backbone=name, **dimensions),
        ImageEncoder,
        public=(encoder, VGGISH),
        stages=tuple(RECIPES),
        recipes=RECIPES,
        released=RELEASED,
        fast=FAST,
        recompute=True,
        parameters=parameters,
    )
