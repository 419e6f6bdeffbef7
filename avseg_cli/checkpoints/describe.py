"""``avseg weights info``: what a checkpoint is, told without loading its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avseg_cli.checkpoints.checkpoint import find_checkpoint, read_info
from avseg_cli.checkpoints.import_weights import hears, infer_config
from avseg_cli.checkpoints.manifest import public_file, status
from avseg_cli.checkpoints.names import rename
from avseg_cli.checkpoints.public_weights import is_own
from avseg_cli.checkpoints.state_files import read_state
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.empty import empty_model

# The boxes of the paper's figure, by the beginning of their parameters' names; the first that fits counts.
PARTS = {
    "adapters": "image_encoder.adapters.",
    "image_encoder": "image_encoder.",
    "vggish": "vggish.",
    "audio_linear": "audio_embed.",
    "fusion": "fusion.",
    "mask_decoder": ("mask_decoder.", "no_mask_embed."),
}
FROZEN = ("image_encoder", "vggish")


def describe(name: str | Path) -> dict[str, Any]:
    """Facts on a checkpoint by name or file, ready for JSON.

    Ours: configuration, training record, metrics, base weights and whether they are here, parameter
    counts. Files of other code: what they are and how many parameters they hold. Raises
    ``CheckpointError`` for a file that is neither.
    """
    path = find_checkpoint(name)
    return _describe_other(path) if path.is_file() and _is_pytorch(path) else _describe_ours(path)


def count_parameters(config: ModelConfig, base: dict[str, str]) -> dict[str, Any]:
    """Numbers of parameters: in all, trainable (all but encoder and VGGish), in the file, of each part."""
    model = empty_model(config)
    parts = dict.fromkeys(PARTS, 0)
    in_file = 0
    for name, tensor in model.named_parameters():
        part = next(part for part, start in PARTS.items() if name.startswith(start))
        parts[part] += tensor.numel()
        in_file += tensor.numel() * is_own(name, base)
    total = sum(parts.values())
    trainable = total - sum(parts[part] for part in FROZEN)
    return {"total": total, "trainable": trainable, "in_file": in_file, "parts": parts}


def _describe_ours(path: Path) -> dict[str, Any]:
    about = read_info(path)
    base = {name: {"sha256": pinned, "state": status(public_file(name))} for name, pinned in about.base.items()}
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "format": "avseg",
        "config": about.config.to_dict(),
        "base": base,
        "training": about.training,
        "metrics": about.metrics,
        "parameters": count_parameters(about.config, about.base),
    }


def _describe_other(path: Path) -> dict[str, Any]:
    state = read_state(path)
    about: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "format": "PyTorch",
        "tensors": len(state),
        "values": sum(tensor.numel() for tensor in state.values()),
    }
    ours = rename(state, path)
    if all(name.startswith("vggish.") for name in ours):
        return about | {"holds": "VGGish"}
    if not hears(ours):
        return about | {"holds": "SAM"}
    config = infer_config(ours, path)
    return about | {"holds": "a model for `avseg weights import`", "config": config.to_dict()}


def _is_pytorch(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")
