"""Other people's parameter names and ours: the authors' code, SAMA-AVS, SAM itself, and VGGish.

``NAMES`` is the one table. A name that is not in it is an error, never ignored; what is known and not
used (SAM's prompt encoder, which the model does not call) is in the table too, mapped to None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from avseg_cli.base.errors import CheckpointError
from avseg_cli.checkpoints.state_files import some

Table = tuple[tuple[str, str | None], ...]
Value = TypeVar("Value")  # a tensor, or whatever is known by the tensor's name

_FOURIER = "positional_encoding_gaussian_matrix"

# (their name, ours); \1, \2 … are what the parentheses matched. The first line that fits counts.
NAMES: Table = (
    (r"image_encoder\.prompt_generator\.shared_mlp\.(.+)", r"image_encoder.adapters.shared.\1"),
    (r"image_encoder\.prompt_generator\.lightweight_mlp_(\d+)\.0\.(.+)", r"image_encoder.adapters.own.\1.\2"),
    (r"(image_encoder\.(?:pos_embed|patch_embed|blocks|neck)(?:\..+)?)", r"\1"),
    (r"(mask_decoder\..+)", r"\1"),
    (r"(no_mask_embed\.weight)", r"\1"),  # SAMA-AVS's own; SAM's is in its prompt encoder
    (r"audio_encoder\.audio_backbone\.((?:features|embeddings)\..+)", r"vggish.\1"),
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


def rename(tensors: dict[str, Value], path: str | Path, table: Table = NAMES) -> dict[str, Value]:
    """``tensors`` under our names, by ``table``; ``CheckpointError`` lists names not in it."""
    patterns = tuple((re.compile(theirs), ours) for theirs, ours in table)
    renamed: dict[str, Value] = {}
    unexpected = []
    for name, tensor in tensors.items():
        try:
            ours = _our_name(name, patterns)
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


def _our_name(name: str, patterns: Iterable[tuple[re.Pattern[str], str | None]]) -> str | None:
    for pattern, ours in patterns:
        match = pattern.fullmatch(name)
        if match:
            return match.expand(ours) if ours is not None else None
    raise KeyError(name)
