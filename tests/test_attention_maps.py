"""The maps are the weights of nn.MultiheadAttention, and the fast path's output can be rebuilt from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from published import shake
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.attention.maps import FusionMaps, Maps, fusion_maps
from avseg_cli.base.errors import CheckpointError
from avseg_cli.bench.reference import ReferenceBlock
from avseg_cli.checkpoints.names import rename
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import stbava

CONFIG = replace(preset("tiny"), out_chans=32, fusion_depth=2, decoder_mlp_dim=32)
FRAMES, GRID = CONFIG.clip_frames, CONFIG.grid


def make_model(config: ModelConfig = CONFIG) -> AvsegModel:
    torch.manual_seed(3)
    model = shake(AvsegModel(config), 0.5).double().eval().requires_grad_(False)
    for block in model.fusion.blocks:  # else every softmax is nearly even, and a wrong map nearly right
        for attention in (block.temporal_attention, block.spatial_attention):
            if attention is not None:
                attention.in_proj_weight.mul_(3)
    return model


def clips(config: ModelConfig = CONFIG) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(2, FRAMES, config.out_chans, GRID, GRID, generator=generator, dtype=torch.float64)
    return embeddings, torch.rand(2, FRAMES, config.audio_dim, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def model() -> AvsegModel:
    return make_model()


@pytest.fixture(scope="module")
def maps(model: AvsegModel) -> FusionMaps:
    with torch.inference_mode():
        return fusion_maps(model, *clips())


def plain_weights(model: AvsegModel, clip: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """space, time and listening of each block for one clip, from nn.MultiheadAttention over repeated tokens."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    visual, audio, positions = model.fusion_inputs(*clips())
    v, a, p_v = visual[clip], audio[clip][:, None], positions[None]
    p_a = a
    for block in model.fusion.blocks:
        plain = ReferenceBlock(CONFIG.out_chans).double().eval()
        names = rename({f"layers.0.{name}": name for name in plain.state_dict()}, "a block")
        own = {f"fusion.blocks.0.{name}": tensor for name, tensor in block.state_dict().items()}
        plain.load_state_dict({theirs: own[ours] for ours, theirs in names.items()})
        calls: list[Tensor] = []
        for module in (plain.avt_attention, plain.avs_attention):
            keep_weights(module, calls)
        with torch.inference_mode():
            v, a = plain(v, a, p_v, p_a)
        listening, constant, time, space = calls
        torch.testing.assert_close(constant, torch.ones_like(constant), rtol=0, atol=0)  # one key: no information
        found.append((space[:, :, 0], time.permute(2, 1, 3, 0), listening.permute(2, 1, 3, 0)))  # (N, h, T, S) first
    return found


def keep_weights(module: nn.MultiheadAttention, calls: list[Tensor]) -> None:
    forward = module.forward

    def watched(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        out, weights = forward(*arguments, need_weights=True, average_attn_weights=False)
        calls.append(weights)
        return out, weights

    module.forward = watched


def test_maps_are_those_of_multihead_attention(model: AvsegModel, maps: FusionMaps) -> None:
    for clip in (0, 1):
        for ours, (space, time, listening) in zip(maps.blocks, plain_weights(model, clip), strict=True):
            torch.testing.assert_close(ours.space[clip], space.float())
            torch.testing.assert_close(ours.time[clip], time.float())
            torch.testing.assert_close(ours.listening[clip], listening.float())
            assert ours.space.std() > 0.1 / GRID**2 and ours.time.std() > 0.05 and ours.listening.std() > 0.05


def test_the_blocks_outputs_rebuilt_from_the_maps_are_the_fast_path_s(model: AvsegModel, maps: FusionMaps) -> None:
    visual, audio, positions = model.fusion_inputs(*clips())
    pixels, sound = visual, audio
    with torch.inference_mode():
        for block, weights in zip(model.fusion.blocks, maps.blocks, strict=True):
            want = block(pixels.clone(), sound, positions, audio)
            pixels, sound = rebuilt(block, weights, pixels, sound)
            torch.testing.assert_close(pixels, want[0], rtol=1e-5, atol=1e-5)  # maps are float32
            torch.testing.assert_close(sound, want[1], rtol=1e-5, atol=1e-5)


def rebuilt(block: stbava.STBAVABlock, maps: Maps, pixels: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
    """A block (its MLPs and norms as they are) whose attention only mixes values by the weights of the maps."""
    temporal, spatial = block.temporal_attention, block.spatial_attention
    time, space, listening = (x.double() for x in (maps.time, maps.space, maps.listening))
    sound = block.norm_audio_mlp(block.audio_mlp(sound))
    pixels = block.norm_visual_mlp(block.visual_mlp(pixels))
    heard = torch.einsum("bthsn,bshd->btnhd", listening, values(temporal, sound))
    sound = block.norm_audio_temporal(sound + projected(temporal, heard).mean(2))
    sound = block.norm_audio_spatial(sound + projected(spatial, values(spatial, sound)))
    sound = block.norm_audio_out(block.audio_out_mlp(sound))
    seen = torch.einsum("bthsn,bsnhd->btnhd", time, values(temporal, pixels))
    pixels = block.norm_visual_temporal(pixels + projected(temporal, seen))
    seen = torch.einsum("bthn,btnhd->bthd", space, values(spatial, pixels))
    pixels = block.norm_visual_spatial(pixels + projected(spatial, seen)[:, :, None])
    return block.norm_visual_out(block.visual_out_mlp(pixels)), sound


def values(attention: nn.Module, x: Tensor) -> Tensor:
    weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
    return F.linear(x, weight, bias).unflatten(-1, (attention.num_heads, -1))


def projected(attention: nn.Module, heads: Tensor) -> Tensor:
    return attention.out_proj(heads.flatten(-2))


def test_looking_changes_nothing_and_nobody_watches_afterwards(model: AvsegModel, maps: FusionMaps) -> None:
    inputs = clips()
    with torch.inference_mode():
        before = model.decode(*inputs)
        fusion_maps(model, *inputs)
        assert torch.equal(model.decode(*inputs), before)
    assert all(m.watch is None for m in model.modules() if isinstance(m, stbava.CrossModalAttention))


def test_maps_do_not_depend_on_the_parts_pixels_are_taken_in(
    model: AvsegModel, maps: FusionMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stbava, "CHUNK", 100)  # 256 pixels: 100, 100, 56
    with torch.inference_mode():
        again = fusion_maps(model, *clips())
    for ours, theirs in zip(again.blocks, maps.blocks, strict=True):
        torch.testing.assert_close(ours.time, theirs.time)


def test_every_map_sums_to_one(maps: FusionMaps) -> None:
    for stage in (maps.before, *maps.blocks, maps.after):
        for weights, axis in ((stage.space, -1), (stage.time, -2), (stage.listening, -2)):
            torch.testing.assert_close(weights.sum(axis), torch.ones_like(weights.sum(axis)))


def test_before_and_after_use_the_last_block_s_eyes(model: AvsegModel, maps: FusionMaps) -> None:
    """``after`` is what one more pass of the last block's spatial attention would weigh; by hand, without folding."""
    visual, audio, positions = model.fusion_inputs(*clips())
    attention = model.fusion.blocks[-1].spatial_attention
    with torch.inference_mode():
        fused, heard = model.fusion(visual, audio, positions)
        for queries, pixels, ours in ((2 * audio, visual, maps.before), (heard, fused, maps.after)):
            q, k = attention._heads(0, queries), attention._heads(1, pixels + positions)
            plain = (torch.einsum("bthd,btnhd->bthn", q, k) / q.shape[-1] ** 0.5).softmax(-1)
            torch.testing.assert_close(ours.space, plain.float())


@pytest.mark.parametrize(("temporal", "bidirectional"), [(False, True), (True, False), (False, False)])
def test_ablated_models_have_the_maps_they_have(temporal: bool, bidirectional: bool) -> None:
    config = replace(CONFIG, temporal=temporal, bidirectional=bidirectional)
    with torch.inference_mode():
        found = fusion_maps(make_model(config), *clips())
    for stage in (found.before, *found.blocks, found.after):
        assert (stage.time is not None, stage.listening is not None) == (temporal, temporal and bidirectional)


def test_another_fusion_is_refused() -> None:
    model = AvsegModel(replace(CONFIG, fusion="none"))
    with pytest.raises(CheckpointError, match="fusion is 'none'.*stbava"):
        fusion_maps(model, *(x.float() for x in clips()))
