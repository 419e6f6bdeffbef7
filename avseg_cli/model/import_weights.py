"""Other people's checkpoints in our names: the authors' code, SAMA-AVS, SAM itself, and VGGish.

``NAMES`` is the one table. A name that is not in it is an error, never ignored; what is known and not
used (SAM's prompt encoder, which the model does not call) is in the table too, mapped to None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from avseg_cli.errors import CheckpointError
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig, preset
from avseg_cli.model.state_files import checked, read_state, some

_FOURIER = "positional_encoding_gaussian_matrix"

# (their name, ours); \1, \2 … are what the parentheses matched. The first line that fits counts.
NAMES: tuple[tuple[str, str | None], ...] = (
    (r"image_encoder\.prompt_generator\.shared_mlp\.(.+)", r"image_encoder.adapters.shared.\1"),
    (r"image_encoder\.prompt_generator\.lightweight_mlp_(\d+)\.0\.(.+)", r"image_encoder.adapters.own.\1.\2"),
    (r"(image_encoder\.(?:pos_embed|patch_embed|blocks|neck)(?:\..+)?)", r"\1"),
    (r"(mask_decoder\..+)", r"\1"),
    (rf"pe_layer\.({_FOURIER})", r"positions.\1"),
    (r"prompt_encoder\..+", None),
    (r"audio_embed_layer\.(.+)", r"audio_embed.\1"),
    (r"layers\.(\d+)\.embed_audio\.(.+)", r"fusion.blocks.\1.audio_mlp.\2"),
    (r"layers\.(\d+)\.embed_vis\.(.+)", r"fusion.blocks.\1.visual_mlp.\2"),
    (r"layers\.(\d+)\.embed_audio2\.(.+)", r"fusion.blocks.\1.audio_out_mlp.\2"),
    (r"layers\.(\d+)\.embed_av\.(.+)", r"fusion.blocks.\1.visual_out_mlp.\2"),
    (r"layers\.(\d+)\.avt_attention\.(.+)", r"fusion.blocks.\1.temporal_attention.\2"),
    (r"layers\.(\d+)\.avs_attention\.(.+)", r"fusion.blocks.\1.spatial_attention.\2"),
    (r"layers\.(\d+)\.norm1\.(.+)", r"fusion.blocks.\1.norm_audio_mlp.\2"),
    (r"layers\.(\d+)\.norm2\.(.+)", r"fusion.blocks.\1.norm_visual_mlp.\2"),
    (r"layers\.(\d+)\.norm3_1\.(.+)", r"fusion.blocks.\1.norm_audio_temporal.\2"),
    (r"layers\.(\d+)\.norm3_2\.(.+)", r"fusion.blocks.\1.norm_audio_spatial.\2"),
    (r"layers\.(\d+)\.norm4\.(.+)", r"fusion.blocks.\1.norm_audio_out.\2"),
    (r"layers\.(\d+)\.norm5_1\.(.+)", r"fusion.blocks.\1.norm_visual_temporal.\2"),
    (r"layers\.(\d+)\.norm5_2\.(.+)", r"fusion.blocks.\1.norm_visual_spatial.\2"),
    (r"layers\.(\d+)\.norm6\.(.+)", r"fusion.blocks.\1.norm_visual_out.\2"),
    (r"((?:features|embeddings)\.\d+\.(?:weight|bias))", r"vggish.\1"),
)
_PATTERNS = tuple((re.compile(theirs), ours) for theirs, ours in NAMES)

# Not in the files and not readable off the tensors: as the authors set them.
_FUSION_HEADS = 8


@dataclass(frozen=True)
class Imported:
    """A checkpoint of other code under our names: everything its configuration needs but VGGish."""

    kind: str  # "SAM_STBAVA" (the authors') or "SAMA-AVS"
    config: ModelConfig
    state: dict[str, Tensor]


def import_checkpoint(path: str | Path) -> Imported:
    """Read the authors' or a SAMA-AVS checkpoint, strictly; every dimension is read off its tensors.

    Raises ``CheckpointError`` naming what is missing, unexpected, misshapen or not finite, and for a
    file of SAM's or VGGish's public weights, which are bases rather than models.
    """
    path = Path(path)
    state = rename(read_state(path), path)
    _refuse_bases(path, state)
    config = infer_config(state, path)
    expected = {name: tensor.shape for name, tensor in _empty_model(config).state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if not name.startswith("vggish.")}
    kind = "SAM_STBAVA" if config.fusion == "stbava" else "SAMA-AVS"
    return Imported(kind, config, fit(state, expected, path))


def rename(tensors: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """``tensors`` under our names, by ``NAMES``; ``CheckpointError`` lists names not in the table."""
    renamed: dict[str, Tensor] = {}
    unexpected = []
    for name, tensor in tensors.items():
        try:
            ours = _our_name(name)
        except KeyError:
            unexpected.append(name)
            continue
        if ours is not None:
            renamed[ours] = tensor
    if unexpected:
        raise CheckpointError(f"{path}: not a checkpoint avseg knows: unexpected {some(sorted(unexpected))}")
    # SAM's own file keeps the Fourier matrix in the prompt encoder; the authors' pe_layer goes before it.
    sams = tensors.get(f"prompt_encoder.pe_layer.{_FOURIER}")
    if sams is not None:
        renamed.setdefault(f"positions.{_FOURIER}", sams)
    return renamed


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


def _our_name(name: str) -> str | None:
    for pattern, ours in _PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            return match.expand(ours) if ours is not None else None
    raise KeyError(name)


def _refuse_bases(path: Path, state: dict[str, Tensor]) -> None:
    has_sound = any(name.startswith("audio_embed.") for name in state)
    if any(name.startswith("image_encoder.") for name in state) and not has_sound:
        raise CheckpointError(
            f"{path}: SAM's own weights, a base and not a model of sounding objects; "
            "put it in the cache with `avseg weights download NAME --from FOLDER`"
        )
    if all(name.startswith("vggish.") for name in state):
        raise CheckpointError(
            f"{path}: VGGish's weights, a base and not a model of sounding objects; "
            "put it in the cache with `avseg weights download vggish --from FOLDER`"
        )


def _infer(state: dict[str, Tensor]) -> ModelConfig:
    _, grid, _, embed_dim = _shape(state, "image_encoder.pos_embed", 4)
    patch_size = _shape(state, "image_encoder.patch_embed.proj.weight", 4)[-1]
    depth = _count(state, r"image_encoder\.blocks\.(\d+)\..+")
    sizes = [(_shape(state, f"image_encoder.blocks.{j}.attn.rel_pos_h", 2)[0] + 1) // 2 for j in range(depth)]
    head_dim = _shape(state, "image_encoder.blocks.0.attn.rel_pos_h", 2)[1]
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
        audio_dim=_shape(state, "audio_embed.weight", 2)[1],
        fusion_heads=_FUSION_HEADS,
        **_infer_adapters(state),
        **_infer_fusion(state),
    )
    return replace(config, backbone=_backbone_name(config))


def _infer_adapters(state: dict[str, Tensor]) -> dict[str, object]:
    if not any(name.startswith("image_encoder.adapters.") for name in state):
        return {"adapters": False}
    return {"adapters": True, "adapter_dim": _shape(state, "image_encoder.adapters.shared.weight", 2)[1]}


def _infer_fusion(state: dict[str, Tensor]) -> dict[str, object]:
    if not any(name.startswith("fusion.") for name in state):
        return {"fusion": "none"}
    return {
        "fusion": "stbava",
        "fusion_depth": _count(state, r"fusion\.blocks\.(\d+)\..+"),
        "temporal": any(".temporal_attention." in name for name in state),
        "bidirectional": any(".audio_out_mlp." in name for name in state),
    }


def _backbone_name(config: ModelConfig) -> str:
    """SAM's name for an encoder of these dimensions, or "custom"."""
    fields = ("image_size", "patch_size", "embed_dim", "depth", "num_heads", "window_size", "global_blocks")
    for name in ("vit_h", "vit_l", "vit_b"):
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


def _empty_model(config: ModelConfig) -> AvsegModel:
    """Names and shapes without memory."""
    with torch.device("meta"):
        return AvsegModel(config)
