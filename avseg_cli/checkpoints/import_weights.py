"""``avseg weights import``: a checkpoint of the authors' code or of SAMA-AVS becomes one of ours.

Nothing is asked of the user: every dimension is read off the tensors, every name is in ``names.NAMES``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from avseg_cli.base.errors import CheckpointError, OutputError, named
from avseg_cli.checkpoints.checkpoint import save_checkpoint
from avseg_cli.checkpoints.manifest import checksum, hash_file, public_file, status
from avseg_cli.checkpoints.names import rename
from avseg_cli.checkpoints.public_weights import VGGISH, is_own, read_public
from avseg_cli.checkpoints.state_files import checked, read_state, some
from avseg_cli.model.backbones import preset, sam_backbones
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.empty import empty_model
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.model.image_size import at_image_size

# Not in the files and not readable off the tensors: as the authors set them.
_FUSION_HEADS = 8
_HEARING = {"sama": "image_encoder.adapters.own.0.weight"}  # what hears first, where it is not the audio linear


@dataclass(frozen=True)
class Imported:
    """A checkpoint of other code under our names: everything its configuration needs, VGGish only where it has it."""

    kind: str  # "SAM_STBAVA" (the authors') or "SAMA-AVS"
    config: ModelConfig
    state: dict[str, Tensor]
    base: dict[str, str]  # public files the model stands on -> SHA-256


def import_checkpoint(path: str | Path, image_size: int | None = None) -> Imported:
    """Read the authors' or a SAMA-AVS checkpoint, strictly; every dimension is read off its tensors.

    ``image_size`` (pixels) interpolates its positions for inputs of another size. Raises ``CheckpointError`` naming
    what is missing, unexpected, misshapen or not finite, and for a file of SAM's or VGGish's public weights, which are
    bases rather than models.
    """
    path = Path(path)
    state = rename(read_state(path), path)
    _refuse_bases(path, state)
    config = infer_config(state, path)
    expected = {name: tensor.shape for name, tensor in empty_model(config).state_dict().items()}
    if not any(name.startswith("vggish.") for name in state):  # only SAMA-AVS saves it too
        expected = {name: shape for name, shape in expected.items() if not name.startswith("vggish.")}
    kind = "SAM_STBAVA" if FUSIONS[config.fusion].prompts else "SAMA-AVS"
    state = fit(state, expected, path)
    if image_size is not None:
        config = replace(config, image_size=image_size)
        state = at_image_size(state, config)
    return Imported(kind, config, state, _bases(config, state))


def convert(path: str | Path, out: str | Path, overwrite: bool = False, image_size: int | None = None) -> Imported:
    """Write the checkpoint ``path`` of other code as ``out`` in our format, and return what it was.

    The image encoder is left out of ``out`` when SAM's public file is in the cache and has the same
    values; otherwise ``out`` carries it. VGGish comes from its public file, unless SAMA-AVS's code saved it and it
    cannot be held against that. Raises
    ``CheckpointError`` as ``import_checkpoint``, and ``OutputError`` when ``out`` exists.
    """
    path, out = Path(path), Path(out)
    check_output(path, out, overwrite)
    imported = import_checkpoint(path, image_size)
    model = empty_model(imported.config)
    left = model.load_state_dict(imported.state, strict=False, assign=True)  # VGGish stays empty: see base
    assert not left.unexpected_keys and all(name.startswith("vggish.") for name in left.missing_keys)
    source = {"code": imported.kind, "file": path.name, "sha256": hash_file(path)}
    save_checkpoint(out, model, training={"imported": source}, base=imported.base)
    return imported


def check_output(path: Path, out: Path, overwrite: bool) -> None:
    """Refuse an output that exists, unless ``overwrite``, or is the input itself; raises ``OutputError``."""
    if out.exists() and (not overwrite or (path.exists() and out.samefile(path))):
        raise OutputError(
            f"{out} already exists; name another file with {named('output')}, or use {named('overwrite')}"
        )


def fit(state: dict[str, Tensor], expected: dict[str, torch.Size], path: str | Path) -> dict[str, Tensor]:
    """``state`` as finite float32 tensors with exactly the names and shapes of ``expected``."""
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unexpected:
        raise CheckpointError(
            f"{path}: does not fit the model its tensors describe (in avseg's names): "
            f"missing {some(missing)}; unexpected {some(unexpected)}"
        )
    return {name: checked(Path(path), name, state[name], shape) for name, shape in expected.items()}


def infer_config(state: dict[str, Tensor], path: str | Path) -> ModelConfig:
    """The configuration whose model has these tensors (our names), read off their shapes.

    Raises ``CheckpointError`` when a tensor that decides a dimension is missing or makes no sense.
    """
    try:
        return _infer(state)
    except KeyError as error:
        raise CheckpointError(f"{path}: not a checkpoint of the model: missing {error.args[0]}") from error
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: its tensors do not describe a model: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _refuse_bases(path: Path, state: dict[str, Tensor]) -> None:
    if any(name.startswith("image_encoder.") for name in state) and not hears(state):
        raise CheckpointError(
            f"{path}: SAM's own weights, a base and not a model of sounding objects; "
            "put it in the cache with `avseg weights download NAME --from FOLDER`"
        )
    if all(name.startswith("vggish.") for name in state):
        raise CheckpointError(
            f"{path}: VGGish's weights, a base and not a model of sounding objects; "
            "put it in the cache with `avseg weights download vggish --from FOLDER`"
        )


def hears(state: dict[str, Tensor]) -> bool:
    """Whether the tensors (our names) are of a model of sounding objects, rather than of SAM alone."""
    return any(name.startswith(("audio_embed.", "image_encoder.adapters.")) for name in state)


def _bases(config: ModelConfig, state: dict[str, Tensor]) -> dict[str, str]:
    """The public files whose part the checkpoint lacks, or has with exactly their values; those must be at hand."""
    lacks_vggish = not any(name.startswith("vggish.") for name in state)
    base = {VGGISH: checksum(VGGISH)} if lacks_vggish or _has_all_of(VGGISH, config, state) else {}
    sam = sam_backbones().get(config.backbone)
    if sam is not None and _has_all_of(sam, config, state):
        base[sam] = checksum(sam)
    return base


def _has_all_of(name: str, config: ModelConfig, state: dict[str, Tensor]) -> bool:
    """Whether the frozen part that public file ``name`` gives is in ``state`` with its values, as far as is known."""
    if status(public_file(name)) == "missing":
        return False
    public = {
        key: tensor for key, tensor in at_image_size(read_public(name), config).items() if not is_own(key, {name: ""})
    }
    return all(key in state and torch.equal(state[key], tensor.float()) for key, tensor in public.items())


def _infer(state: dict[str, Tensor]) -> ModelConfig:
    _, grid, _, embed_dim = _shape(state, "image_encoder.pos_embed", 4)
    patch_size = _shape(state, "image_encoder.patch_embed.proj.weight", 4)[-1]
    depth = _count(state, r"image_encoder\.blocks\.(\d+)\..+")
    sizes = [(_shape(state, f"image_encoder.blocks.{j}.attn.rel_pos_h", 2)[0] + 1) // 2 for j in range(depth)]
    head_dim = _shape(state, "image_encoder.blocks.0.attn.rel_pos_h", 2)[1]
    fusion = _infer_fusion(state)
    windows = {size for size in sizes if size != grid}
    if len(windows) > 1:
        raise ValueError(f"attention windows of several sizes: {sorted(windows)}")
    config = ModelConfig(
        image_size=grid * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // head_dim,
        window_size=windows.pop() if windows else 0,
        global_blocks=tuple(j for j, size in enumerate(sizes) if size == grid),
        out_chans=_shape(state, "image_encoder.neck.0.weight", 4)[0],
        decoder_mlp_dim=_shape(state, "mask_decoder.transformer.layers.0.mlp.lin1.weight", 2)[0],
        audio_dim=_shape(state, _HEARING.get(fusion["fusion"], "audio_embed.weight"), 2)[1],
        fusion_heads=_FUSION_HEADS,
        **_infer_adapters(state),
        **fusion,
    )
    return replace(config, backbone=_backbone_name(config))


def _infer_adapters(state: dict[str, Tensor]) -> dict[str, object]:
    if not any(name.startswith("image_encoder.adapters.") for name in state):
        return {"adapters": False}
    return {"adapters": True, "adapter_dim": _shape(state, "image_encoder.adapters.shared.weight", 2)[1]}


def _infer_fusion(state: dict[str, Tensor]) -> dict[str, object]:
    if "no_mask_embed.weight" in state:
        return {"fusion": "sama"}
    if not any(name.startswith("fusion.") for name in state):
        return {"fusion": "none"}
    return {
        "fusion": "stbava",
        "fusion_depth": _count(state, r"fusion\.blocks\.(\d+)\..+"),
        "temporal": any(".temporal_attention." in name for name in state),
        "bidirectional": any(".audio_out_mlp." in name for name in state),
    }


def _backbone_name(config: ModelConfig) -> str:
    """SAM's name for an encoder of these dimensions, whatever the size of its input, or "custom"."""
    fields = ("patch_size", "embed_dim", "depth", "num_heads", "window_size", "global_blocks")
    for name in sam_backbones():
        if all(getattr(config, field) == getattr(preset(name), field) for field in fields):
            return name
    return "custom"


def _shape(state: dict[str, Tensor], name: str, dims: int) -> torch.Size:
    shape = state[name].shape
    if len(shape) != dims:
        raise ValueError(f"{name} is {tuple(shape)}")
    return shape


def _count(state: dict[str, Tensor], pattern: str) -> int:
    """How many numbered parts there are, 0, 1, 2 …"""
    numbers = set(_numbers(state, pattern))
    if numbers != set(range(len(numbers))):
        raise ValueError(f"numbered parts with gaps: {sorted(numbers)[:8]}")
    return len(numbers)


def _numbers(state: dict[str, Tensor], pattern: str) -> Iterator[int]:
    for name in state:
        match = re.fullmatch(pattern, name)
        if match:
            yield int(match[1])
