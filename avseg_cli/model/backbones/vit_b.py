"""SAM's ViT-B."""

from __future__ import annotations

from avseg_cli.model.backbones._sam import sam

BACKBONE = sam("vit_b")
