"""The frozen parts of a SAM backbone, read from the public files a user has downloaded."""

from __future__ import annotations

from torch import Tensor

from avseg_cli.base.errors import CheckpointError
from avseg_cli.checkpoints.manifest import checksum, find
from avseg_cli.checkpoints.names import rename
from avseg_cli.checkpoints.state_files import read_state
from avseg_cli.model.config import ModelConfig

VGGISH = "vggish"
SAM = {"vit_h": "sam_vit_h", "vit_l": "sam_vit_l", "vit_b": "sam_vit_b"}  # backbone -> name in the manifest


def public_files(config: ModelConfig) -> dict[str, str]:
    """The public files a configuration stands on: name -> SHA-256 in the manifest. Empty for ``tiny``."""
    if config.backbone not in SAM:
        return {}
    return {name: checksum(name) for name in (SAM[config.backbone], VGGISH)}


def is_own(name: str, base: dict[str, str]) -> bool:
    """Whether a parameter is a checkpoint's own, rather than part of one of the public files in ``base``."""
    if name.startswith("vggish."):
        return VGGISH not in base
    if name.startswith("image_encoder.") and not name.startswith("image_encoder.adapters."):
        return not any(sam in base for sam in SAM.values())
    return True


def load_public_weights(config: ModelConfig, base: dict[str, str]) -> dict[str, Tensor]:
    """The frozen parts that ``base`` names, under our parameter names; memory-mapped, not copied.

    Raises ``CheckpointError`` when a file has not been downloaded (the message has the command), is not
    what it claims to be, or differs from the one the checkpoint was made with.
    """
    strangers = set(base) - {SAM.get(config.backbone), VGGISH}
    if strangers:
        raise CheckpointError(f"the checkpoint names bases that do not fit its backbone: {sorted(strangers)}")
    state: dict[str, Tensor] = {}
    for name, pinned in base.items():
        if pinned != checksum(name):
            raise CheckpointError(f"the checkpoint was made with another {name} than the one avseg knows")
        tensors = read_public(name)
        state.update({key: value for key, value in tensors.items() if not is_own(key, base)})
    return state


def read_public(name: str) -> dict[str, Tensor]:
    """Everything of the model that the public file ``name`` holds, under our names, memory-mapped.

    SAM's file gives image encoder, mask decoder and positions, VGGish's file VGGish. Raises
    ``CheckpointError`` when it has not been downloaded or is not what it claims to be.
    """
    path = find(name)
    return rename(read_state(path), path)


def starting_weights(config: ModelConfig) -> dict[str, Tensor]:
    """What training on a SAM backbone starts from: SAM's encoder, decoder and positions, and VGGish."""
    return read_public(SAM[config.backbone]) | read_public(VGGISH)
