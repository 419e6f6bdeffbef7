"""The frozen parts of a SAM backbone, read from the public files a user has downloaded."""

from __future__ import annotations

import pickle
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor

from avseg_cli.errors import CheckpointError
from avseg_cli.model.config import ModelConfig

VGGISH = "vggish"
SAM = {"vit_h": "sam_vit_h", "vit_l": "sam_vit_l", "vit_b": "sam_vit_b"}  # backbone -> name in the manifest


def public_files(config: ModelConfig) -> dict[str, str]:
    """The public files a configuration stands on: name -> SHA-256 in the manifest. Empty for ``tiny``."""
    if config.backbone not in SAM:
        return {}
    from avseg_cli.weights import checksum

    return {name: checksum(name) for name in (SAM[config.backbone], VGGISH)}


def load_public_weights(config: ModelConfig, base: dict[str, str]) -> dict[str, Tensor]:
    """Image encoder and VGGish for ``config``, under our parameter names; memory-mapped, not copied.

    Raises ``CheckpointError`` when a file has not been downloaded (the message has the command), is not
    what it claims to be, or differs from the one the checkpoint was made with.
    """
    if config.backbone not in SAM:
        return {}
    from avseg_cli.weights import checksum, find

    state: dict[str, Tensor] = {}
    for name in (SAM[config.backbone], VGGISH):
        if base.get(name, checksum(name)) != checksum(name):
            raise CheckpointError(f"the checkpoint was made with another {name} than the one avseg knows")
        tensors = read_pth(find(name))
        if name == VGGISH:
            state.update({f"vggish.{key}": value for key, value in tensors.items()})
        else:
            state.update({k: v for k, v in tensors.items() if k.startswith("image_encoder.")})
    return state


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch file by name, memory-mapped; code inside it is refused, never run.

    Raises ``CheckpointError`` saying why a file cannot be used.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds Python objects that could run code, not just tensors; avseg does not open such files"
        ) from error
    except (RuntimeError, OSError, EOFError, BadZipFile, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable PyTorch checkpoint ({reason}); download it again") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path}: not a dictionary of tensors")
    return state


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"
