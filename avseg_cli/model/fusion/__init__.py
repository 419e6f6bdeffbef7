"""What may stand between encoder and decoder: ST-BAVA, or one of the modules it was compared with (Table 6.2).

Each file here declares one, under the file's own name: ``FUSION`` builds the module of a configuration. Every module
maps (pixels (B, T, N, C), sound (B, T, C), positions (N, C)) to the pair of the same shapes: the dense and the sparse
prompt of SAM's mask decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avseg_cli.base.errors import CheckpointError
from avseg_cli.base.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from avseg_cli.model.config import ModelConfig

Builder = Callable[["ModelConfig"], "nn.Module | None"]
FUSIONS: Registry[Builder] = Registry(__name__, Path(__file__).parent, "FUSION", "fusion", CheckpointError)


def build_fusion(config: ModelConfig) -> nn.Module | None:
    """The module that ``config.fusion`` names; None where nothing is fused."""
    return FUSIONS[config.fusion](config)
