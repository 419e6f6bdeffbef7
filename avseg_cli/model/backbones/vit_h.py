"""SAM's ViT-H, the paper's."""

from __future__ import annotations

from avseg_cli.model.backbones._sam import sam

BACKBONE = sam("vit_h", parameters=641_090_608, embed_dim=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31))
