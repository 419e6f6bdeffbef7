"""What may stand between encoder and decoder: ST-BAVA, or one of the modules it was compared with (Table 6.2).

Every module maps (pixels (B, T, N, C), sound (B, T, C), positions (N, C)) to the pair of the same shapes:
the dense and the sparse prompt of SAM's mask decoder. ``None`` means no fusion (SAMA-AVS).
"""

from __future__ import annotations

from torch import nn

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion.cmran import CMRAN
from avseg_cli.model.fusion.han import HAN
from avseg_cli.model.fusion.jca import JCA
from avseg_cli.model.fusion.st_bava import STBAVA
from avseg_cli.model.fusion.tpavi import TPAVI


def build_fusion(config: ModelConfig) -> nn.Module | None:
    """The module that ``config.fusion`` names; only ST-BAVA has a depth."""
    if config.fusion == "none":
        return None
    modules = {"stbava": STBAVA, "tpavi": TPAVI, "han": HAN, "cmran": CMRAN, "jca": JCA}
    return modules[config.fusion](config)
