"""What may stand between encoder and decoder: ST-BAVA, or one of the modules it was compared with (Table 6.2).

Every module maps (pixels (B, T, N, C), sound (B, T, C), positions (N, C)) to the pair of the same shapes:
the dense and the sparse prompt of SAM's mask decoder. ``None`` means no fusion (SAMA-AVS).
"""

from __future__ import annotations

from torch import nn

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.st_bava import STBAVA


def build_fusion(config: ModelConfig) -> nn.Module | None:
    """The module that ``config.fusion`` names."""
    builders = {"stbava": STBAVA, "none": lambda _: None}
    return builders[config.fusion](config)
