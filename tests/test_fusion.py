"""The fusion modules of Table 6.2: each as its paper defines it, each hearing, each trainable."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset
from avseg_cli.model.fusion import FUSIONS, build_fusion
from avseg_cli.model.fusion.cmran import SpatialChannelAttention
from avseg_cli.model.fusion.han import HAN
from avseg_cli.model.fusion.jca import JointAttention
from avseg_cli.model.fusion.tpavi import TPAVI

NAMES = tuple(name for name in FUSIONS if FUSIONS[name].build)
SMALL = {"out_chans": 64, "fusion_depth": 2}
B, T, N, C = 2, 5, 9, 64


def _inputs(time: int = T) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(B, time, N, C), torch.randn(B, time, C), torch.randn(N, C)


def _stirred(module: nn.Module) -> nn.Module:
    """Weights away from their start: a block that starts as the identity hears nothing yet."""
    torch.manual_seed(2)
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("time", [1, 5, 10])
def test_shapes_for_clips_of_any_length(name: str, time: int) -> None:
    module = build_fusion(preset("tiny", fusion=name, **SMALL)).eval()
    pixels, sound, positions = _inputs(time)
    dense, sparse = module(pixels, sound, positions)
    assert dense.shape == pixels.shape and sparse.shape == sound.shape


@pytest.mark.parametrize("name", NAMES)
def test_what_is_seen_depends_on_what_is_heard(name: str) -> None:
    module = _stirred(build_fusion(preset("tiny", fusion=name, **SMALL)))
    pixels, sound, positions = _inputs()
    dense, _ = module(pixels, sound, positions)
    other, _ = module(pixels, -sound, positions)
    assert (dense - other).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    module = _stirred(build_fusion(preset("tiny", fusion=name, **SMALL)))
    dense, sparse = module(*_inputs())
    (dense * torch.randn_like(dense)).sum().add((sparse * torch.randn_like(sparse)).sum()).backward()
    still = [key for key, p in module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


def test_no_fusion_is_no_module_and_each_name_its_own_outcome() -> None:
    assert build_fusion(preset("tiny", fusion="none")) is None
    frames = torch.randint(0, 255, (T, 32, 32, 3), dtype=torch.uint8)
    log_mel = torch.randn(T, 1, 96, 64)
    outcomes = []
    for name in ("none", *NAMES):
        torch.manual_seed(0)
        model = AvsegModel(preset("tiny", fusion=name, image_size=32, adapters=False, **SMALL)).eval()
        if model.fusion is not None:
            _stirred(model.fusion)
        with torch.no_grad():
            outcomes.append(model(frames, log_mel))
    for i, one in enumerate(outcomes):
        for other in outcomes[i + 1 :]:
            assert (one - other).abs().max() > 1e-4


def test_tpavi_is_the_non_local_block_over_all_pixels_of_all_frames() -> None:
    module = _stirred(TPAVI(preset("tiny", **SMALL)))
    pixels, sound, positions = _inputs()
    flat = pixels.flatten(1, 2)  # (B, T*N, C)
    repeated = sound[:, :, None].expand(-1, -1, N, -1).flatten(1, 2)
    similarity = module.query(flat) @ module.key(repeated).transpose(1, 2) / (T * N)  # (B, T*N, T*N)
    expected = module.norm(flat + module.out(similarity @ module.value(flat))).view_as(pixels)
    torch.testing.assert_close(module(pixels, sound, positions)[0], expected, rtol=1e-4, atol=1e-5)


def test_han_adds_what_each_snippet_finds_in_both_modalities() -> None:
    module = _stirred(HAN(preset("tiny", **SMALL)))
    pixels, sound, positions = _inputs()
    dense, sparse = module(pixels, sound, positions)

    def attend(layer: nn.MultiheadAttention, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        w, b = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
        q, k, v = (s @ w[i].T + b[i] for i, s in enumerate((x, memory, memory)))
        return layer.out_proj((q @ k.T / C**0.5).softmax(-1) @ v)

    def snippet(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        x = module.norm1(x + attend(module.own, x, x) + attend(module.other, x, other))
        return module.norm2(x + module.lin2(module.lin1(x).relu()))

    torch.testing.assert_close(dense[1, :, 4], snippet(pixels[1, :, 4], sound[1]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sparse[0], snippet(sound[0], pixels[0].mean(1)), rtol=1e-4, atol=1e-5)


def test_cmran_weighs_channels_then_pixels() -> None:
    module = _stirred(SpatialChannelAttention(C))
    pixels, sound, _ = _inputs()
    weighted, pooled = module(pixels, sound)
    torch.testing.assert_close(pooled, weighted.mean(2), rtol=1e-4, atol=1e-5)  # weights sum to 1 over a frame
    ratio = weighted / pixels  # gate (per channel) times weight (per pixel): rank one
    torch.testing.assert_close(
        ratio[0, 0, 1] * ratio[0, 0, 0, 0], ratio[0, 0, 0] * ratio[0, 0, 1, 0], rtol=1e-3, atol=1e-4
    )


def test_jca_correlates_with_the_joint_feature() -> None:
    module = _stirred(JointAttention(C))
    torch.manual_seed(3)
    x, joint = torch.randn(1, T, C), torch.randn(1, T, 2 * C)
    correlation = torch.tanh(x[0] @ (joint[0] @ module.correlate.weight.T).T / (2 * C) ** 0.5)
    attended = (module.own(x[0]) + correlation @ (joint[0] @ module.joint.weight.T)).relu()
    torch.testing.assert_close(module(x, joint)[0], module.norm(x[0] + module.out(attended)), rtol=1e-4, atol=1e-5)
