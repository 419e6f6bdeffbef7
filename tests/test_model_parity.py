"""Our model against the slow ones it must equal: segment_anything, nn.MultiheadAttention, torchvggish."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from plain_forms import second_log_mel
from published import relative_error, sam_decoder, sam_encoder, shake
from segment_anything.modeling import Sam
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn
from torch.nn import functional as F
from torchvggish import torchvggish as their_vggish
from torchvggish import vggish_input

from avseg_cli.bench.reference import ReferenceBlock
from avseg_cli.checkpoints.names import rename
from avseg_cli.model.adapters import AudioAdapters
from avseg_cli.model.backbones import preset
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion.stbava import STBAVA, CrossModalAttention
from avseg_cli.model.image_encoder import ImageEncoder
from avseg_cli.model.image_size import at_image_size
from avseg_cli.model.log_mel import SAMPLE_RATE, clip_log_mel, log_mel_examples
from avseg_cli.model.mask_decoder import MaskDecoder
from avseg_cli.model.positional import RandomFourierPositions
from avseg_cli.model.transforms import MEAN, STD, prepare_frames, upsample_logits
from avseg_cli.model.vggish import VGGish

SMALL = preset(
    "vit_b", image_size=128, embed_dim=48, depth=4, num_heads=4, window_size=4, global_blocks=(1, 3),
    out_chans=64, decoder_mlp_dim=96, fusion_depth=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def ours_like(encoder: nn.Module, config: ModelConfig) -> ImageEncoder:
    ours = ImageEncoder(config).eval()
    state = encoder.state_dict()
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("adapters.") for name in missing)
    return ours


# --- image encoder -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"window_size": 4},  # 8x8 tokens in whole windows
        {"window_size": 3},  # windows that stick out
        {"window_size": 5, "global_blocks": ()},  # no global block
        {"global_blocks": (0, 1, 2, 3)},  # no window
        {"num_heads": 1},
        {"num_heads": 12, "depth": 1, "global_blocks": ()},
        {"image_size": 96, "patch_size": 8, "window_size": 7},
        {"image_size": 1024, "embed_dim": 32, "depth": 2, "global_blocks": (1,), "window_size": 14},  # SAM's own grid
    ],
    ids=str,
)
@torch.no_grad()
def test_encoder_equals_segment_anything(changes: dict) -> None:
    config = replace(SMALL, **changes)
    theirs = sam_encoder(config)
    assert all(block.attn.rel_pos_h.abs().max() > 0 for block in theirs.blocks)
    frames = torch.randn(1 if config.grid == 64 else 2, 3, config.image_size, config.image_size)
    assert relative_error(ours_like(theirs, config)(frames), theirs(frames)) < 1e-4


@pytest.mark.parametrize(
    ("trained", "size"), [(128, 64), (1024, 512), (1024, 256), (64, 96)], ids=lambda side: f"{side} px"
)
@torch.no_grad()
def test_other_sizes_equal_segment_anything_with_interpolated_positions(trained: int, size: int) -> None:
    """segment_anything interpolates distances itself where they do not fit; positions are resized here."""
    config = replace(SMALL, image_size=trained, embed_dim=32, depth=2, global_blocks=(1,), window_size=14)
    theirs, small = sam_encoder(config), replace(config, image_size=size)
    state = {f"image_encoder.{name}": tensor.clone() for name, tensor in theirs.state_dict().items()}
    ours = ImageEncoder(small).eval()
    fitted = at_image_size(state, small)
    ours.load_state_dict({name.removeprefix("image_encoder."): t for name, t in fitted.items()}, strict=False)
    theirs.pos_embed = nn.Parameter(
        F.interpolate(theirs.pos_embed.permute(0, 3, 1, 2), (small.grid,) * 2, mode="bilinear").permute(0, 2, 3, 1)
    )
    frames = torch.randn(1, 3, size, size)
    assert relative_error(ours(frames), theirs(frames)) < 1e-4


def test_weights_of_the_same_size_are_the_same_tensors() -> None:
    state = {f"image_encoder.{name}": tensor for name, tensor in sam_encoder(SMALL).state_dict().items()}
    fitted = at_image_size(state, SMALL)
    assert fitted.keys() == state.keys() and all(fitted[name] is state[name] for name in state)


@torch.no_grad()
def test_encoder_pads_windows_with_the_bias_only() -> None:
    """A padded token is zero before the qkv projection, so its qkv is the bias: a large one shows."""
    config = replace(SMALL, window_size=3)
    theirs = sam_encoder(config)
    for block in theirs.blocks:
        block.attn.qkv.bias.mul_(50)
    frames = torch.randn(1, 3, config.image_size, config.image_size)
    assert relative_error(ours_like(theirs, config)(frames), theirs(frames)) < 1e-4


def test_encoder_gradients_equal_segment_anything() -> None:
    config = replace(SMALL, window_size=3, depth=2, global_blocks=(1,))
    theirs = sam_encoder(config)
    ours = ours_like(theirs, config)
    frames = torch.randn(2, 3, config.image_size, config.image_size)
    weights = torch.randn(2, config.out_chans, config.grid, config.grid)
    for encoder in (ours, theirs):
        (encoder(frames) * weights).sum().backward()
    gradients = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        assert relative_error(gradients[name].grad, parameter.grad) < 1e-3, name


@torch.no_grad()
def test_adapters_add_to_the_input_of_every_block() -> None:
    config = replace(SMALL, adapter_dim=24)
    theirs = sam_encoder(config)
    ours = ours_like(theirs, config)
    shake(ours.adapters, 1.0)
    frames, sound = torch.randn(2, 3, 128, 128), torch.randn(2, 128)
    x = theirs.patch_embed(frames) + theirs.pos_embed
    for own, block in zip(ours.adapters.own, theirs.blocks, strict=True):
        x = block(x + ours.adapters.shared(F.gelu(own(sound)))[:, None, None, :])
    expected = theirs.neck(x.permute(0, 3, 1, 2))
    assert relative_error(ours(frames, sound), expected) < 1e-4
    assert relative_error(ours(frames), expected) > 1e-2  # the sound made a difference


def test_adapters_are_as_many_as_published() -> None:
    count = sum(parameter.numel() for parameter in AudioAdapters(32, 1280).parameters())
    assert count == 32 * (128 * 512 + 512) + 512 * 1280 + 1280


# --- mask decoder ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "tokens"), [(8, 2), (5, 1), (16, 4)])
@torch.no_grad()
def test_decoder_equals_one_sam_call_a_frame(grid: int, tokens: int) -> None:
    dim = SMALL.out_chans
    theirs = sam_decoder(SMALL)
    ours = MaskDecoder(SMALL).eval()
    ours.load_state_dict(theirs.state_dict())
    embeddings, dense = torch.randn(3, dim, grid, grid), torch.randn(3, dim, grid, grid)
    sparse, image_pe = torch.randn(3, tokens, dim), torch.randn(1, dim, grid, grid)
    calls = []
    for t in (slice(0, 1), slice(1, 2), slice(2, 3)):
        masks, _ = theirs(embeddings[t], image_pe, sparse[t], dense[t], multimask_output=True)
        calls.append(masks.sum(1))
    expected = torch.cat(calls)  # (3, 4g, 4g)
    pixels = (embeddings + dense).flatten(2).transpose(1, 2)
    got = ours(pixels, sparse, image_pe.flatten(2)[0].T)
    assert got.shape == (3, 4 * grid, 4 * grid)
    assert relative_error(got, expected) < 1e-4


def test_decoder_gradients_equal_sam() -> None:
    dim, grid = SMALL.out_chans, 4
    theirs = sam_decoder(SMALL)
    ours = MaskDecoder(SMALL).eval()
    ours.load_state_dict(theirs.state_dict())
    embedding, sparse = torch.randn(1, dim, grid, grid), torch.randn(1, 2, dim)
    image_pe, weights = torch.randn(1, dim, grid, grid), torch.randn(1, 4 * grid, 4 * grid)
    masks, _ = theirs(embedding, image_pe, sparse, torch.zeros_like(embedding), multimask_output=True)
    (masks.sum(1) * weights).sum().backward()
    (ours(embedding.flatten(2).mT, sparse, image_pe.flatten(2)[0].T) * weights).sum().backward()
    gradients = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        got = gradients[name].grad
        if parameter.grad is None or parameter.grad.abs().max() < 1e-4:  # unread, or a bias that cancels
            assert got is None or got.abs().max() < 1e-4, name
            continue
        assert relative_error(got, parameter.grad) < 1e-3, name


# --- ST-BAVA -----------------------------------------------------------------------------------------


def reference_fusion(config: ModelConfig, dropout: float = 0.1) -> tuple[nn.ModuleList, STBAVA]:
    """A literal transcription and ours, with the same weights (by the import's name table)."""
    blocks = nn.ModuleList(
        ReferenceBlock(config.out_chans, dropout, config.temporal, config.bidirectional)
        for _ in range(config.fusion_depth)
    )
    shake(blocks, 0.5)
    ours = STBAVA(config)
    named = {f"layers.{name}": tensor for name, tensor in blocks.state_dict().items()}
    renamed = {name.removeprefix("fusion."): tensor for name, tensor in rename(named, "reference").items()}
    kept = ours.state_dict().keys()
    assert kept <= renamed.keys()
    ours.load_state_dict({name: renamed[name] for name in kept})
    return blocks, ours


def run_reference(blocks: nn.ModuleList, v: Tensor, a: Tensor, p_v: Tensor) -> tuple[Tensor, Tensor]:
    """One clip after the other: v (B, T, N, C), a (B, T, C), p_v (N, C)."""
    outputs = []
    for pixels, sound in zip(v, a, strict=True):
        sound_0 = sound = sound[:, None]
        for block in blocks:
            pixels, sound = block(pixels, sound, p_v[None], sound_0)
        outputs.append((pixels, (sound + sound_0)[:, 0]))
    return torch.stack([out[0] for out in outputs]), torch.stack([out[1] for out in outputs])


def fusion_inputs(time: int = 5, tokens: int = 36, dim: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    sound = F.normalize(torch.randn(2, time, dim), dim=-1)
    return torch.randn(2, time, tokens, dim), sound, torch.randn(tokens, dim)


@pytest.mark.parametrize("time", [5, 1, 2, 8])
@torch.no_grad()
def test_st_bava_equals_multihead_attention(time: int) -> None:
    blocks, ours = reference_fusion(SMALL)
    inputs = fusion_inputs(time)
    expected_pixels, expected_sound = run_reference(blocks.eval(), *inputs)
    pixels, sound = ours.eval()(*inputs)
    assert relative_error(pixels, expected_pixels) < 1e-4
    assert relative_error(sound, expected_sound) < 1e-4


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@torch.no_grad()
def test_ablation_switches_leave_out_what_they_say(temporal: bool, bidirectional: bool) -> None:
    config = replace(SMALL, temporal=temporal, bidirectional=bidirectional)
    blocks, ours = reference_fusion(config)
    inputs = fusion_inputs()
    expected_pixels, expected_sound = run_reference(blocks.eval(), *inputs)
    pixels, sound = ours.eval()(*inputs)
    assert relative_error(pixels, expected_pixels) < 1e-4
    assert relative_error(sound, expected_sound) < 1e-4
    if temporal and bidirectional:
        return
    _, whole = reference_fusion(SMALL)
    assert relative_error(whole.eval()(*inputs)[0], pixels) > 1e-3  # the switch is not without effect


def test_st_bava_gradients_equal_multihead_attention() -> None:
    """In training mode, without dropout: every parameter's gradient."""
    blocks, ours = reference_fusion(SMALL, dropout=0.0)
    for module in ours.modules():
        if isinstance(module, CrossModalAttention):
            module.dropout = 0.0
    v, a, p_v = fusion_inputs(time=3, tokens=9)
    weights_v, weights_a = torch.randn_like(v), torch.randn_like(a)
    for run in (lambda: run_reference(blocks.train(), v, a, p_v), lambda: ours.train()(v, a, p_v)):
        pixels, sound = run()
        ((pixels * weights_v).sum() + (sound * weights_a).sum()).backward()
    named = {f"layers.{name}": parameter.grad for name, parameter in blocks.named_parameters()}
    expected = {name.removeprefix("fusion."): grad for name, grad in rename(named, "reference").items()}
    for name, parameter in ours.named_parameters():
        if name.endswith("in_proj_bias"):  # the key's bias cancels in the softmax: ours is never read there
            parts = zip(parameter.grad.chunk(3)[::2], expected[name].chunk(3)[::2], strict=True)
            assert all(relative_error(got, want) < 1e-3 for got, want in parts), name
            assert expected[name].chunk(3)[1].abs().max() < 1e-3 * expected[name].abs().max(), name
            continue
        assert relative_error(parameter.grad, expected[name]) < 1e-3, name


def test_dropout_acts_in_training_only() -> None:
    _, ours = reference_fusion(SMALL)
    inputs = fusion_inputs()
    with torch.no_grad():
        trained = [ours.train()(*inputs)[0] for _ in range(2)]
        judged = [ours.eval()(*inputs)[0] for _ in range(2)]
    assert not torch.equal(*trained)
    assert torch.equal(*judged)


def test_a_block_is_as_large_as_published() -> None:
    fusion = STBAVA(preset("vit_b", fusion_depth=1))
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 1_056_768


# --- positions, pictures, masks ----------------------------------------------------------------------


@pytest.mark.parametrize("grid", [1, 5, 64])
def test_positions_equal_sam(grid: int) -> None:
    theirs, ours = PositionEmbeddingRandom(32), RandomFourierPositions(64)
    ours.load_state_dict(theirs.state_dict())
    expected = theirs((grid, grid)).flatten(1).T
    torch.testing.assert_close(ours(grid), expected, atol=2e-4, rtol=0)  # phases up to ~100


@pytest.mark.parametrize("size", [(70, 150), (128, 128), (31, 20), (400, 300)])
def test_frames_are_squashed_as_the_authors_do_with_pillow(size: tuple[int, int]) -> None:
    from torchvision.transforms.v2 import functional as tv

    frames = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
    pictures = [Image.fromarray(f.numpy()).resize((128, 128), Image.Resampling.BILINEAR) for f in frames]
    expected = torch.stack([tv.normalize(tv.pil_to_tensor(picture) / 255, MEAN, STD) for picture in pictures])
    off = (prepare_frames(frames, 128) - expected).abs() * torch.tensor(STD).view(3, 1, 1) * 255  # in levels
    assert off.max() < 1.001 and (off > 0.001).float().mean() < 0.01


def test_frames_are_normalised_as_sam_does() -> None:
    frames = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in Sam.__init__.__defaults__)
    expected = (frames.permute(0, 3, 1, 2) - mean) / std
    torch.testing.assert_close(prepare_frames(frames, 64), expected, atol=2e-3, rtol=0)


def test_summing_before_upsampling_is_the_same() -> None:
    masks = torch.randn(2, 3, 16, 16) * 10
    side = F.interpolate(masks, (64, 64), mode="bilinear", align_corners=False)
    expected = F.interpolate(side, (224, 224), mode="bilinear", align_corners=False).sum(1)
    torch.testing.assert_close(upsample_logits(masks.sum(1), 64, (224, 224)), expected, atol=1e-4, rtol=1e-5)


# --- sound -------------------------------------------------------------------------------------------


def tone(seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return 0.4 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 3100 * time)


def speech_like(seconds: float) -> np.ndarray:
    """A buzz at a wandering pitch through two moving formants, in syllables: what speech is made of."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(
        np.sin(k * phase) * np.exp(-(((k * pitch - 600 - 300 * np.sin(9 * time)) / 250) ** 2))
        + 0.5 * np.sin(k * phase) * np.exp(-(((k * pitch - 1900) / 300) ** 2))
        for k in range(1, 30)
    )
    syllables = np.clip(np.sin(2 * np.pi * 3.3 * time), 0, 1) ** 0.5
    breath = 0.02 * rng.standard_normal(len(time))
    return (0.5 * voice / np.abs(voice).max() + breath) * syllables


SOUNDS = {
    "tone": tone(5.0),
    "speech": speech_like(5.0),
    "noise": 0.3 * np.random.default_rng(1).standard_normal(5 * SAMPLE_RATE),
    "silence": np.zeros(2 * SAMPLE_RATE),
    "click": np.eye(1, 3 * SAMPLE_RATE, 20_000)[0],
}


@pytest.mark.parametrize("sound", SOUNDS)
def test_log_mel_equals_torchvggish(sound: str) -> None:
    wave = SOUNDS[sound].astype(np.float32)
    expected = vggish_input.waveform_to_examples(wave.astype(np.float64), SAMPLE_RATE).detach()
    got = log_mel_examples(wave)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, atol=2e-4, rtol=0)


def test_clip_log_mel_repeats_the_last_example_and_makes_silence_of_nothing() -> None:
    wave = speech_like(2.5)
    examples = vggish_input.waveform_to_examples(wave, SAMPLE_RATE).detach()
    got = clip_log_mel(wave, 5)
    torch.testing.assert_close(got[:2], examples, atol=2e-4, rtol=0)
    assert len(examples) == 2 and all(torch.equal(got[k], got[1]) for k in (2, 3, 4))
    torch.testing.assert_close(clip_log_mel(np.zeros(10), 3), torch.full((3, 1, 96, 64), float(np.log(0.01))))


def test_second_log_mel_is_of_the_second_that_ends_there() -> None:
    wave = speech_like(4.0)
    got = second_log_mel(wave, [1.0, 2.5])
    for k, start in enumerate((0.0, 1.5)):
        piece = wave[int(start * SAMPLE_RATE) : int((start + 1) * SAMPLE_RATE)]
        expected = vggish_input.waveform_to_examples(piece, SAMPLE_RATE).detach()
        torch.testing.assert_close(got[k : k + 1], expected, atol=2e-4, rtol=0)


@torch.no_grad()
def test_vggish_equals_torchvggish() -> None:
    theirs = their_vggish.VGG(their_vggish.make_layers(), postprocess=False).eval()
    ours = VGGish().eval()
    ours.load_state_dict(theirs.state_dict())
    log_mel = torch.cat([log_mel_examples(SOUNDS["speech"])[:2], log_mel_examples(SOUNDS["noise"])[:1]])
    expected = theirs(log_mel)
    assert expected.abs().max() > 0
    assert relative_error(ours(log_mel), expected) < 1e-4
