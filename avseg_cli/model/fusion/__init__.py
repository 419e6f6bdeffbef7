"""What may stand between encoder and decoder: ST-BAVA, or one of the modules it was compared with (Table 6.2).

Each file here declares one, under the file's own name, in ``FUSION``. Every module maps (pixels (B, T, N, C), sound
(B, T, C), positions (N, C)) to the pair of the same shapes: the dense and the sparse prompt of SAM's mask decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avseg_cli.base.errors import CheckpointError
from avseg_cli.base.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from avseg_cli.model.config import ModelConfig


@dataclass(frozen=True)
class Fusion:
    """build: the module of a configuration; None where nothing is fused.

    prompts: whether the sound prompts the decoder; if not, the adapters alone hear, and the decoder gives one mask.
    packed: whether its linear layers are packed for inference on a CPU, where that is faster.
    """

    build: Callable[[ModelConfig], nn.Module] | None = None
    prompts: bool = True
    packed: bool = False


FUSIONS: Registry[Fusion] = Registry(__name__, Path(__file__).parent, "FUSION", "fusion", CheckpointError)


def build_fusion(config: ModelConfig) -> nn.Module | None:
    """The module that ``config.fusion`` names; None where nothing is fused."""
    build = FUSIONS[config.fusion].build
    return None if build is None else build(config)
