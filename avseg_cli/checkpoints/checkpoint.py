"""Checkpoints: safetensors with the configuration inside, holding only what public weights do not.

A checkpoint on a SAM backbone has adapters, audio linear, fusion, mask decoder and positions; the frozen
image encoder and VGGish come from the public files, whose SHA-256 it names. One that stands on none carries everything.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avseg_cli.base.errors import CheckpointError, DeviceError, named
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.threads import own_of
from avseg_cli.base.whole_files import write_whole
from avseg_cli.checkpoints.manifest import default_checkpoint, hash_file, manifest, weights_dir
from avseg_cli.checkpoints.precision import choose_precision
from avseg_cli.checkpoints.public_weights import is_own, load_public_weights, public_files
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.empty import empty_model

FORMAT = "avseg-1"
DEFAULT = "default"
MAX_ABOUT = 300  # characters of what a checkpoint says that it is for
MAX_HEADER = 16 << 20  # bytes; a larger safetensors header is not one of ours


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    path: Path
    config: ModelConfig
    base: dict[str, str] = field(default_factory=dict)  # public file -> SHA-256
    training: dict[str, Any] = field(default_factory=dict)  # data, recipe, versions
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """What the model is for, in one line of its maker's; "" where the training record does not say."""
        said = self.training.get("about")
        return " ".join(said.split())[:MAX_ABOUT] if isinstance(said, str) else ""


def save_checkpoint(
    path: str | Path,
    model: AvsegModel,
    training: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    base: dict[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write ``model`` to ``path`` (safetensors), whole or not at all.

    ``base`` names the public files the frozen parts came from and their SHA-256. ``half`` keeps numbers in 16 bits,
    which are read as 32 again. Raises ``OSError`` when the disk refuses.
    """
    path = Path(path)
    config = model.config
    base = public_files(config) if base is None else base
    own = {k: v.detach().contiguous().cpu() for k, v in model.state_dict().items() if is_own(k, base)}
    if half:
        own = {k: v.half() if v.is_floating_point() else v for k, v in own.items()}
    about = {
        "format": FORMAT,
        "config": config.to_dict(),
        "base": base,
        "training": training or {},
        "metrics": metrics or {},
    }

    def write(partial: Path) -> None:
        save_file(own, partial, metadata={"avseg": json.dumps(about)})
        partial.chmod(0o666 & ~_umask())  # safetensors makes files that only their owner may read

    write_whole(path, write)


def _umask() -> int:
    """The permissions new files lack; the system tells them only while it changes them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read_info(path: str | Path) -> CheckpointInfo:
    """What the checkpoint at ``path`` says of itself, without loading its weights.

    Raises ``CheckpointError`` when the file is missing, is not safetensors, or is not one of ours.
    """
    path = Path(path)
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        about = parse_json(metadata["avseg"])
        if about["format"] != FORMAT:
            raise CheckpointError(f"{path}: written in format {about['format']!r}; this avseg reads {FORMAT}")
        config = ModelConfig.from_dict(about["config"])
        if not all(isinstance(about[key], dict) for key in ("base", "training", "metrics")):
            raise ValueError("a record is not a dictionary")
        return CheckpointInfo(path, config, about["base"], about["training"], about["metrics"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a safetensors file, but not an avseg checkpoint; "
            "turn other checkpoints into ours with `avseg weights import`"
        ) from error


def _check_header(path: Path) -> None:
    """Refuse what cannot be a checkpoint before a library reads it."""
    if not path.is_file() and str(path) in manifest():
        raise CheckpointError(
            f"{path}: public weights that models are built on, not a model that segments; leave "
            f"{named('checkpoint')} out, or give a checkpoint that was trained"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file; `avseg weights list` shows the named ones")
    with open(path, "rb") as file:
        start = file.read(9)
    header = int.from_bytes(start[:8], "little")
    if start[:2] in (b"PK", b"\x80\x02"):
        raise CheckpointError(f"{path}: a PyTorch checkpoint; turn it into ours with `avseg weights import {path}`")
    if len(start) < 9 or start[8:] != b"{" or header > min(MAX_HEADER, path.stat().st_size - 8):
        raise CheckpointError(f"{path}: not a safetensors file, or a truncated one; get or make it again")


def load_checkpoint(path: str | Path) -> tuple[AvsegModel, CheckpointInfo]:
    """The model in ``path``, strictly, in eval mode on the CPU in float32, and what the file says of itself.

    Frozen parts of a SAM backbone are read (memory-mapped) from the public files in the cache folder.
    Raises ``CheckpointError`` naming missing, unexpected, misshapen or non-finite tensors.
    """
    info = read_info(path)
    model = empty_model(info.config)
    expected = {name: tensor for name, tensor in model.state_dict().items() if is_own(name, info.base)}
    state = _read_tensors(info.path, expected)
    state.update(load_public_weights(info.config, info.base))
    model.load_state_dict(state, strict=True, assign=True)
    model.about, model.sha256 = info.about, hash_file(info.path)
    return model.eval().requires_grad_(False), info


def _read_tensors(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        missing, unexpected = sorted(set(expected) - names), sorted(names - set(expected))
        if missing or unexpected:
            raise CheckpointError(
                f"{path}: its tensors do not fit its configuration: "
                f"missing {_some(missing)}; unexpected {_some(unexpected)}"
            )
        state = {name: file.get_tensor(name) for name in expected}
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} is {tuple(tensor.shape)}, the configuration needs {tuple(expected[name].shape)}"
            )
        if expected[name].is_floating_point() != tensor.is_floating_point() or tensor.is_complex():
            raise CheckpointError(f"{path}: {name} has type {tensor.dtype}, not {expected[name].dtype}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} has values that are not finite; the file is damaged")
        state[name] = tensor.to(expected[name].dtype)
    return state


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def find_checkpoint(name: str | Path) -> Path:
    """The file behind a checkpoint's name: a path, a name in the embedded weights, or ``default``."""
    if str(name) == DEFAULT:
        return default_checkpoint()
    embedded = weights_dir() / f"{name}.safetensors"
    path = Path(name).expanduser()
    return embedded if not path.exists() and path.name == str(name) and embedded.is_file() else path


def load_model(checkpoint: str | Path = DEFAULT, device: str = "auto", precision: str = "auto") -> AvsegModel:
    """A model to segment with: in eval mode, on its device, in its precision.

    It is an ordinary module, to be copied, saved and trained; ``Segmenter`` makes it fast.

    checkpoint: ``"default"`` (the embedded model), a name, or a file. device: ``"auto"``, ``"cpu"``, ``"cuda"``,
    ``"cuda:1"``, ``"mps"``. precision: ``"auto"`` (bf16 where this device is faster in it, else fp32),
    ``"fp32"``, ``"bf16"``, ``"fp16"``.
    Raises ``CheckpointError`` or ``DeviceError``.
    """
    target = choose_device(device)
    model, _ = load_checkpoint(find_checkpoint(checkpoint))
    return model.set_precision(choose_precision(precision, target)).to(target)


def choose_device(name: str) -> torch.device:
    """The device of that name; ``"auto"`` takes CUDA, else the CPU. Raises ``DeviceError`` if it is not there.

    Processes that share a job take one GPU after the other, unless one is named.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.device_count() > 1 and (own := own_of(torch.cuda.device_count())):
        name = f"cuda:{own}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(
            f"no device {name!r} on this machine; use {named('device')} cpu, or auto to take what is there"
        ) from error
    return device
