"""What ST-BAVA looks at: the attention weights of every block, those that the fast path itself computes and uses.

Three of a block's four attentions say something. The fourth, pixels looking at the one sound of their frame, is a
softmax over a single key: 1 whatever is seen and heard (``CrossModalAttention.sound_over_space``), so it has no map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from avseg_cli.base.errors import CheckpointError, named
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.fusion.stbava import STBAVA, STBAVABlock

Seen = dict[str, list[Tensor]]  # direction -> weights, in the pieces in which they were computed


@dataclass(frozen=True)
class Maps:
    """Attention weights, float32, of B clips with T = S frames, h heads and N pixels.

    space: (B, T, h, N), the sound of t over the pixels of its own frame; sums to 1 over N.
    time: (B, T, h, S, N), the sound of t over the S frames, at each pixel; sums to 1 over S.
    listening: (B, T, h, S, N), each pixel of frame t over the S sounds; sums to 1 over S.
    time and listening are None in models without temporal attention, listening also in those that are not
    bidirectional.
    """

    space: Tensor
    time: Tensor | None
    listening: Tensor | None


@dataclass(frozen=True)
class FusionMaps:
    """The maps of every block, and, with one yardstick, those of what enters ST-BAVA and of what leaves it.

    The yardstick is the last block's attention. ``before`` is what it would weigh if it were given the image
    embedding V and the sound A_0; ``after`` what it weighs when it is given the fused V_aq and A_vq.
    """

    before: Maps
    blocks: list[Maps]
    after: Maps


def stbava_of(model: AvsegModel) -> STBAVA:
    """The fusion that has maps. Raises ``CheckpointError`` for another, and for one without blocks."""
    fusion = model.fusion
    if not isinstance(fusion, STBAVA):
        raise CheckpointError(
            f"attention maps are those of ST-BAVA, and this checkpoint's fusion is {model.config.fusion!r}; "
            f"give one trained with {named('fusion')} stbava"
        )
    if not fusion.blocks:
        raise CheckpointError(
            "attention maps are those of ST-BAVA's blocks, and this checkpoint has none (fusion_depth 0); "
            "give one with at least one"
        )
    return fusion


def fusion_maps(model: AvsegModel, embeddings: Tensor, sound: Tensor) -> FusionMaps:
    """The maps of clips: embeddings (B, T, C, g, g) and VGGish vectors (B, T, 128), as ``AvsegModel.decode`` takes.

    Raises ``CheckpointError`` for a model that has none.
    """
    fusion = stbava_of(model)
    pixels, sound_0, positions = model.fusion_inputs(embeddings, sound)
    with ExitStack() as watches:
        seen = [watches.enter_context(_watched(block)) for block in fusion.blocks]
        fused, heard = fusion(pixels, sound_0, positions)
    last = fusion.blocks[-1]
    return FusionMaps(
        before=_maps_of(last, pixels, sound_0, 2 * sound_0, positions),
        blocks=[_maps(block) for block in seen],
        after=_maps_of(last, fused, heard - sound_0, heard, positions),
    )


def _maps_of(block: STBAVABlock, pixels: Tensor, sound: Tensor, queries: Tensor, positions: Tensor) -> Maps:
    """What the attention of ``block`` weighs given these features; ``queries`` is the sound with P_a = A_0 added."""
    with _watched(block) as seen:
        if block.temporal_attention is not None:
            block.temporal_attention.pixels_over_time(queries, pixels)
            if block.bidirectional:
                block.temporal_attention.sound_over_time(pixels, positions, queries, sound)
        block.spatial_attention.pixels_over_space(queries, pixels, positions)
    return _maps(seen)


@contextmanager
def _watched(block: STBAVABlock) -> Iterator[Seen]:
    """Collect what the attention modules of ``block`` weigh."""
    seen: Seen = {}
    modules = [module for module in (block.temporal_attention, block.spatial_attention) if module is not None]
    for module in modules:
        module.watch = lambda direction, weights: seen.setdefault(direction, []).append(weights)
    try:
        yield seen
    finally:
        for module in modules:
            module.watch = None


def _maps(seen: Seen) -> Maps:
    def over_time(direction: str, pixels: int, order: tuple[int, ...]) -> Tensor | None:
        if direction not in seen:
            return None
        whole = torch.cat(seen[direction], dim=pixels)  # the CPU takes pixels in parts
        return whole.float().permute(order)

    return Maps(
        space=seen["pixels_over_space"][0].float(),
        time=over_time("pixels_over_time", 2, (0, 3, 4, 1, 2)),  # (B, S, N, T, h) -> (B, T, h, S, N)
        listening=over_time("sound_over_time", 4, (0, 1, 3, 2, 4)),  # (B, T, S, h, N) -> (B, T, h, S, N)
    )
