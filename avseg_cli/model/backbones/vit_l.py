"""SAM's ViT-L."""

from __future__ import annotations

from avseg_cli.model.backbones._sam import sam

BACKBONE = sam("vit_l", embed_dim=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23))
