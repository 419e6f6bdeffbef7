"""The frozen parts of a backbone, read from the public files a user has downloaded."""

from __future__ import annotations

from torch import Tensor

from avseg_cli.base.errors import CheckpointError
from avseg_cli.checkpoints.manifest import checksum, find
from avseg_cli.checkpoints.names import NAMES, rename
from avseg_cli.checkpoints.state_files import read_state
from avseg_cli.model import backbones
from avseg_cli.model.backbones import BACKBONES, part_of, public_parts
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.image_size import at_image_size

VGGISH = backbones.VGGISH.file


def public_files(config: ModelConfig) -> dict[str, str]:
    """The public files a configuration stands on: name -> SHA-256 in the manifest."""
    own = BACKBONES[config.backbone].public if config.backbone in BACKBONES else ()
    return {part.file: checksum(part.file) for part in own}


def is_own(name: str, base: dict[str, str]) -> bool:
    """Whether a parameter is a checkpoint's own, rather than part of one of the public files in ``base``."""
    return not any(part.holds(name) for part in map(part_of, base) if part is not None)


def load_public_weights(config: ModelConfig, base: dict[str, str]) -> dict[str, Tensor]:
    """The frozen parts that ``base`` names, under our parameter names; memory-mapped, not copied.

    Positions are interpolated where ``config`` has another input size than the file.

    Raises ``CheckpointError`` when a file has not been downloaded (the message has the command), is not
    what it claims to be, or differs from the one the checkpoint was made with.
    """
    strangers = set(base) - {part.file for part in public_parts(config)}
    if strangers:
        raise CheckpointError(f"the checkpoint names bases that do not fit its backbone: {sorted(strangers)}")
    state: dict[str, Tensor] = {}
    for name, pinned in base.items():
        if pinned != checksum(name):
            raise CheckpointError(f"the checkpoint was made with another {name} than the one avseg knows")
        tensors = read_public(name)
        state.update({key: value for key, value in tensors.items() if not is_own(key, base)})
    return at_image_size(state, config)


def read_public(name: str) -> dict[str, Tensor]:
    """Everything of the model that the public file ``name`` holds, under our names, memory-mapped.

    SAM's file gives image encoder, mask decoder and positions, VGGish's file VGGish. Raises
    ``CheckpointError`` when it has not been downloaded or is not what it claims to be.
    """
    path, part = find(name), part_of(name)
    return rename(read_state(path), path, part.names if part and part.names else NAMES)


def starting_weights(config: ModelConfig) -> dict[str, Tensor]:
    """What training starts from: of a SAM backbone its encoder, decoder and positions, and VGGish."""
    state: dict[str, Tensor] = {}
    for part in BACKBONES[config.backbone].public:
        state |= read_public(part.file)
    return state
