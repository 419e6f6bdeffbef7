"""What SAM's three backbones have in common: public weights, and the paper's recipe."""

from __future__ import annotations

from typing import Any

from avseg_cli.model.backbones import VGGISH, Backbone, PublicPart
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.image_encoder import ImageEncoder

# Paper section 5.3: Adam, 1e-4, no decay, no schedule, 250 epochs apart and 15 together; batch 1 as its authors.
RECIPES = {"1a": {"epochs": 250}, "1b": {"epochs": 250}, "2": {"epochs": 15}}


def sam(name: str, parameters: int | None = None, **dimensions: Any) -> Backbone:
    """SAM's backbone of that name, its encoder frozen and read from ``sam_<name>``; the fusion is the paper's."""
    encoder = PublicPart(f"sam_{name}", ("image_encoder.",), own=("image_encoder.adapters.",))
    return Backbone(
        ModelConfig(backbone=name, **dimensions), ImageEncoder, public=(encoder, VGGISH), stages=tuple(RECIPES),
        recipes=RECIPES, recompute=True, parameters=parameters,
    )  # fmt: skip
