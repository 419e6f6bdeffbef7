"""Every form that exists for speed gives what the plain form gives."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from avseg_cli.bench.parts import build_model
from avseg_cli.model import relative_attention
from avseg_cli.model.backbones import preset
from avseg_cli.model.fusion import stbava
from avseg_cli.model.fusion.stbava import STBAVA
from avseg_cli.model.image_encoder import PatchEmbed
from avseg_cli.model.inference import PackedLinear, can_pack, keep_freed_memory, pack_linears, prepare_for_inference
from avseg_cli.model.linear import ResidualLinear
from avseg_cli.model.mask_decoder import quarter

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TRAINED = 0.1  # about the size of SAM's relative positions; larger ones sharpen the softmax until bf16 cannot follow
needs_packing = pytest.mark.skipif(not can_pack(torch.float32), reason="this torch has no packed linear layers")


def attention_inputs(
    height: int, width: int, heads: int = 2, dim: int = 8, table_scale: float = 1.0
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, heads, height * width, dim)
    qkv = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    tables = [table_scale * torch.randn(n, n, dim, generator=generator, dtype=torch.float64) for n in (height, width)]
    return *qkv, *tables


def plain_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Written down pair by pair from the definition: no separable tricks."""
    height, width = len(rows), len(columns)
    row, column = torch.arange(height * width) // width, torch.arange(height * width) % width
    table_h, table_w = rows[row[:, None], row[None]], columns[column[:, None], column[None]]  # (N, N, d)
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    logits = logits + torch.einsum("bhqd,qkd->bhqk", q, table_h) + torch.einsum("bhqd,qkd->bhqk", q, table_w)
    return logits.softmax(-1) @ v


@pytest.mark.parametrize(("height", "width"), [(7, 7), (6, 9), (5, 1)])
def test_small_grids_add_the_bias_at_once(height: int, width: int) -> None:
    inputs = attention_inputs(height, width)
    torch.testing.assert_close(relative_attention.relative_position_attention(*inputs), plain_attention(*inputs))


@pytest.mark.parametrize("tile", [16, 20, 64])  # dividing the 48 queries evenly, unevenly, not at all
def test_tiles_agree(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relative_attention, "TILE", tile)
    q, k, v, rows, columns = inputs = attention_inputs(6, 8)
    rel_h, rel_w = relative_terms(q, rows, columns)
    with torch.no_grad():
        torch.testing.assert_close(relative_attention.tiled_attention(q, k, v, rel_h, rel_w), plain_attention(*inputs))
        torch.testing.assert_close(relative_attention.relative_position_attention(*inputs), plain_attention(*inputs))


def test_codes_agree_and_so_do_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relative_attention, "TILE", 16)  # with gradients a large grid goes through the codes
    inputs = [x.requires_grad_() for x in attention_inputs(6, 8)]
    ours, plain = relative_attention.relative_position_attention(*inputs), plain_attention(*inputs)
    torch.testing.assert_close(ours, plain)
    toward = torch.randn_like(plain)
    gradients = [torch.autograd.grad(result, inputs, toward) for result in (ours, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize(("side", "dim"), [(14, 64), (14, 80), (24, 80)])
def test_codes_agree_in_a_flash_kernel(side: int, dim: int, dtype: torch.dtype, tolerance: float) -> None:
    """What runs on CUDA, at SAM's head sizes, through the CPU's flash kernel, which like CUDA's takes no bias."""
    on_kernel = [x.to(dtype) for x in attention_inputs(side, side, dim=dim, table_scale=TRAINED)]
    q, k, v, rows, columns = on_kernel
    rel_h, rel_w = (x.to(dtype) for x in relative_terms(q, rows, columns))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION), torch.inference_mode():
        ours = relative_attention.coded_attention(q, k, v, rel_h, rel_w).double()
    want = plain_attention(*(x.double() for x in on_kernel))
    assert (ours - want).abs().max() < tolerance * want.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_the_encoder_as_cuda_runs_it_agrees(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block, windows that need padding too, through codes; held against the same weights in fp32."""
    config = replace(preset("tiny"), window_size=6)  # 16 tokens a side: the third window is padded
    model = build_model(config, seed=0)
    frames, sound = torch.randn(2, 3, config.image_size, config.image_size), torch.rand(2, config.audio_dim)
    with torch.inference_mode():
        want = model.embed_frames(frames, sound)
        monkeypatch.setattr(relative_attention, "TILE", 0)
        monkeypatch.setattr(relative_attention, "tiled_attention", relative_attention.coded_attention)
        ours = model.set_precision(dtype).embed_frames(frames, sound).float()
    assert (ours - want).abs().max() < tolerance * want.abs().max()


def relative_terms(q: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    grid = q.unflatten(2, (len(rows), len(columns)))
    rel_h = torch.einsum("bnhwc,hkc->bnhwk", grid, rows).flatten(2, 3)
    return rel_h, torch.einsum("bnhwc,wkc->bnhwk", grid, columns).flatten(2, 3)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_cuda_agrees_with_the_plain_form(dtype: torch.dtype, tolerance: float) -> None:
    for height, width, dim in ((14, 14, 80), (64, 64, 80)):
        inputs = attention_inputs(height, width, dim=dim, table_scale=TRAINED)
        on_gpu = [x.to("cuda", dtype) for x in inputs]
        ours = relative_attention.relative_position_attention(*on_gpu).double().cpu()
        q, k, v, rows, columns = (x.double().cpu() for x in on_gpu)
        rel_h, rel_w = relative_terms(q, rows, columns)
        bias = (rel_h[..., None] + rel_w[..., None, :]).flatten(3)
        want = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        assert (ours - want).abs().max() < tolerance * want.abs().max()


@pytest.mark.gpu
def test_the_whole_model_on_cuda_agrees_with_the_cpu() -> None:
    model = build_model(preset("tiny"), seed=0)
    size = model.config.image_size
    frames, log_mel = torch.randn(5, 3, size, size), torch.randn(5, 1, 96, 64)
    with torch.inference_mode():
        want = model(frames, log_mel)
        ours = prepare_for_inference(model.to("cuda"))(frames.cuda(), log_mel.cuda()).cpu()
    assert (ours - want).abs().max() < 1e-2 * want.abs().max()  # convolutions may use TF32


def test_patch_embedding_is_its_convolution() -> None:
    embed = PatchEmbed(8, 12).double()
    frames = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(embed(frames), embed.proj(frames).permute(0, 2, 3, 1))


def test_quarters_are_the_transposed_convolution() -> None:
    conv = nn.ConvTranspose2d(6, 4, 2, stride=2).double()
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    quarters = quarter(x.permute(0, 2, 3, 1), conv)  # (B, H, W, 2, 2, C')
    torch.testing.assert_close(quarters.permute(0, 5, 1, 3, 2, 4).reshape(2, 4, 6, 10), conv(x))


@needs_packing
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_is_the_layer(gelu: bool, bias: bool) -> None:
    linear = nn.Linear(24, 40, bias=bias)
    x = torch.randn(2, 5, 7, 24)
    want = F.gelu(linear(x)) if gelu else linear(x)
    torch.testing.assert_close(PackedLinear(linear, gelu)(x), want, **CLOSE)


@needs_packing
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_adds_the_residual(bias: bool) -> None:
    linear = ResidualLinear(24, 40, bias=bias)
    x, residual = torch.randn(2, 5, 7, 24), torch.randn(2, 7, 5, 40).transpose(1, 2)
    packed = PackedLinear(linear)
    torch.testing.assert_close(packed(x, residual), residual + F.linear(x, linear.weight, linear.bias), **CLOSE)
    torch.testing.assert_close(packed(x), linear(x), **CLOSE)


@needs_packing
@torch.inference_mode()
def test_a_packed_fusion_is_the_fusion() -> None:
    fusion = build_model(preset("tiny"), seed=0).fusion
    inputs = torch.randn(2, 5, 64, 128), F.normalize(torch.randn(2, 5, 128), dim=-1), torch.randn(64, 128)
    want = fusion(*inputs)
    pack_linears(fusion)
    assert not any(isinstance(layer, nn.Linear) for layer in fusion.modules())
    for got, plain in zip(fusion(*inputs), want, strict=True):
        assert (got - plain).abs().max() < 1e-5 * plain.abs().max()


@needs_packing
def test_a_packed_encoder_is_the_encoder() -> None:
    model = build_model(preset("tiny", depth=2, global_blocks=(1,)), seed=0)
    size = model.config.image_size
    frames, sound = torch.randn(2, 3, size, size), torch.rand(2, 128)
    with torch.inference_mode():
        want = model.embed_frames(frames, sound)
        pack_linears(model.image_encoder.blocks)
        got = model.embed_frames(frames, sound)
    assert not any(isinstance(layer, nn.Linear) for layer in model.image_encoder.blocks.modules())
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


FAULTS = """
import resource, sys
import torch
from avseg_cli.model import inference
torch.set_num_threads(1)
getattr(inference, sys.argv[1])()
def touch():
    for _ in range(3):
        torch.empty(48 << 20, dtype=torch.uint8).fill_(1)
for _ in range(8):
    touch()  # where the blocks end up settles, sooner or later by how the process's addresses are laid out
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc only")
def test_kept_memory_is_not_fetched_again() -> None:
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep_freed_memory", "return_freed_memory")
    )
    assert kept * 2 < returned


def test_keeping_memory_twice_is_harmless() -> None:
    keep_freed_memory()
    keep_freed_memory()
    assert torch.ones(10_000_000).sum() == 10_000_000


def test_st_bava_in_parts_is_st_bava_at_once_and_leaves_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stbava, "CHUNK", 24)  # 64 pixels: two parts and a rest
    fusion = STBAVA(preset("tiny")).eval().double()
    pixels = torch.randn(2, 5, 64, 128, dtype=torch.float64)
    sound, positions = torch.randn(2, 5, 128, dtype=torch.float64), torch.randn(64, 128, dtype=torch.float64)
    before = pixels.clone()
    at_once = fusion(pixels, sound, positions)  # with gradients
    with torch.no_grad():
        in_parts = fusion(pixels, sound, positions)
    torch.testing.assert_close(in_parts, tuple(x.detach() for x in at_once))
    assert torch.equal(pixels, before)
