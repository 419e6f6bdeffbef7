"""The small backbone's parts against plain forms of the same: folded features, frozen trunk, what is heard and seen."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from avseg_cli.base.errors import CheckpointError
from avseg_cli.model import kinds, log_mel
from avseg_cli.model.avseg import AvsegModel, steadied
from avseg_cli.model.backbones import preset
from avseg_cli.model.efficientnet import CLASSES, SameConv
from avseg_cli.model.inference import prepare_for_inference
from avseg_cli.model.kind_encoder import HeardAndSeen
from avseg_cli.model.mask_decoder import MaskDecoder
from avseg_cli.model.sound_events import SoundEventsNet


@pytest.fixture(scope="module")
def model() -> AvsegModel:
    torch.manual_seed(0)
    return AvsegModel(preset("small", image_size=128)).eval()


@pytest.mark.parametrize(("backbone", "stem"), [("tiny", "lite2"), ("small", "conv"), ("vit_b", "none")])
def test_an_encoder_refuses_a_stem_that_it_does_not_know(backbone: str, stem: str) -> None:
    with torch.device("meta"), pytest.raises(CheckpointError, match=f"stem is '{stem}', not one of"):
        AvsegModel(preset(backbone, stem=stem))


def test_shapes_from_pictures_and_sound_to_logits(model: AvsegModel) -> None:
    frames = torch.randint(0, 256, (5, 90, 160, 3), dtype=torch.uint8)
    sound = torch.cat([model.front_end(np.random.default_rng(i).normal(0, 0.1, 15600)) for i in range(5)])
    assert sound.shape == (5, 1, 96, 64)
    with torch.inference_mode():
        logits = model(frames, sound)
    assert logits.shape == (5, 32, 32)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("side", "kernel", "stride"), [(16, 3, 2), (17, 3, 2), (16, 5, 2), (17, 5, 2), (9, 3, 1)])
def test_padding_is_tensorflows_same(side: int, kernel: int, stride: int) -> None:
    conv = SameConv(2, 3, kernel, stride)
    x = torch.randn(1, 2, side, side)
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    padded = torch.zeros(1, 2, side + total, side + total)
    padded[..., total // 2 : total // 2 + side, total // 2 : total // 2 + side] = x
    torch.testing.assert_close(conv(x), F.conv2d(padded, conv.weight, conv.bias, stride))


def test_finer_features_land_on_their_own_pixels() -> None:
    """Folded behind the tokens and unfolded in the decoder, against adding them to the upscaled picture."""
    torch.manual_seed(1)
    config = preset("small", image_size=128)
    decoder, grid, width = MaskDecoder(config).eval(), config.grid, config.out_chans
    pixels, hyper = torch.randn(2, grid * grid, width), torch.randn(2, width // 8)
    stride8 = torch.randn(2, width // 4, 2 * grid, 2 * grid)
    stride4 = torch.randn(2, width // 8, 4 * grid, 4 * grid)
    folded = torch.cat([F.pixel_unshuffle(stride8, 2), F.pixel_unshuffle(stride4, 4)], 1).flatten(2).mT
    up1, norm, act, up2, _ = decoder.output_upscaling
    x = act(norm(up1(pixels.mT.unflatten(2, (grid, grid))) + stride8))
    x = act(up2(x) + stride4)
    expected = torch.einsum("bchw,bc->bhw", x, hyper)
    torch.testing.assert_close(decoder._masks(pixels, hyper, folded), expected, rtol=1e-4, atol=1e-4)


def test_sound_is_heard_as_yamnet_hears_it() -> None:
    """Against its layers one by one, on log-mel with its own offset."""
    torch.manual_seed(2)
    net = SoundEventsNet(3).eval()
    wave = np.random.default_rng(0).normal(0, 0.1, 15600)
    magnitude = torch.fft.rfft(torch.as_tensor(wave).float().unfold(0, 400, 160) * torch.hann_window(400), 512).abs()
    x = torch.log(magnitude @ log_mel._mel_matrix() + 0.001)[None, None]
    answers = []
    for conv in (layer for layer in net.cnn if isinstance(layer, torch.nn.Conv2d)):
        if conv.kernel_size[0] == 3:
            x = F.pad(x, (0, 1, 0, 1) if conv.stride[0] == 2 else (1, 1, 1, 1))
        x = F.relu(F.conv2d(x, conv.weight, conv.bias, conv.stride, groups=conv.groups))
        answers.append(x)
    early, middle, last = answers[2 * 5], answers[2 * 11], answers[2 * 13]  # after the first: two for each separable
    assert (early.shape, middle.shape, last.shape) == ((1, 256, 12, 8), (1, 512, 6, 4), (1, 1024, 3, 2))
    bands = early.mean(2).view(1, 256, 4, 2).mean(3)  # of frequencies; time comes first
    expected = [last.mean((2, 3)), last.amax((2, 3)), middle.mean((2, 3)), middle.amax((2, 3))]
    expected += [bands.flatten(1), early.amax((2, 3))]
    heard = net.features(log_mel.log_mel_examples(wave))
    assert heard.shape == (1, net.FEATURES)
    torch.testing.assert_close(heard, torch.cat(expected, 1), rtol=1e-3, atol=1e-5)


def test_a_kind_is_heard_where_any_of_its_events_is() -> None:
    net = SoundEventsNet(3).eval()
    net.members.copy_(kinds.members([(5, 7), (9,), ()], len(net.members)))
    features = torch.rand(4, net.FEATURES)
    events = net.events(features[:, :1024]).sigmoid()
    word = net.word(features)
    torch.testing.assert_close(word[:, 0].sigmoid(), 1 - (1 - events[:, 5]) * (1 - events[:, 7]))
    torch.testing.assert_close(word[:, 1].sigmoid(), events[:, 9])
    assert not word[:, 2].any()  # no event: what recordings taught decides alone


def test_every_kind_of_sound_has_its_events_or_is_learnt() -> None:
    assert list(kinds.EVENTS) == list(kinds.HEARD)
    assert [kind for kind, events in kinds.EVENTS.items() if not events] == ["elephant", "monkey"]
    assert 70 in kinds.EVENTS["dog"] and 340 in kinds.EVENTS["lawn_mower"]  # Bark, Lawn mower


def test_the_adapter_marks_what_is_both_heard_and_seen() -> None:
    adapter = HeardAndSeen(2, 3, 8)
    adapter.relation.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    seen = torch.zeros(1, 3, 2, 2)
    seen[0, 0, 0, 0] = seen[0, 1, 1, 1] = 0.9
    facts = adapter.facts(seen, torch.tensor([[1.0, 0.0]]))
    assert facts[0, 0, 0, 0] > 0.8 and facts[0, 0, 1, 1] < 0.1  # the evidence
    assert facts[0, 4, 1, 1] > 0.8 and facts[0, 4, 0, 0] < 0.1  # what else is there


def test_every_sound_points_at_things_that_the_encoder_knows() -> None:
    relation, members = kinds.relation(), kinds.members(list(kinds.SEEN.values()), CLASSES)
    silent = [name for name, row in zip(kinds.HEARD, relation, strict=True) if not row.any()]
    assert silent == ["none"]
    assert 0 < max(kinds.HEARD["music"].values()) < 0.7  # it points at instruments, and teaches of none that it plays
    assert set(kinds.HEARD["siren"]) <= set(kinds.SEEN)
    assert members[402, list(kinds.SEEN).index("acoustic_guitar")] == 1  # ImageNet's acoustic guitar
    assert members[151:269, list(kinds.SEEN).index("dog")].all()


def test_made_fast_it_predicts_the_same(model: AvsegModel) -> None:
    frames = torch.randint(0, 256, (5, 90, 160, 3), dtype=torch.uint8)
    sound = torch.cat([model.front_end(np.random.default_rng(i).normal(0, 0.1, 15600)) for i in range(5)])
    fast = prepare_for_inference(deepcopy(model))
    with torch.inference_mode():
        torch.testing.assert_close(fast(frames, sound), model(frames, sound), rtol=1e-3, atol=1e-3)


def test_a_stray_pixel_is_steadied_away_and_a_region_stays() -> None:
    logits = torch.full((1, 8, 8), -1.0)
    logits[0, 1, 6] = 3.0
    logits[0, 3:, :4] = 2.0
    masks = steadied(logits, 3) > 0
    assert not masks[0, :3, 4:].any()
    assert masks[0, 4:, :3].all()
    assert steadied(logits, 1) is logits


def test_what_is_seen_for_sure_stays_finite_in_training_with_bf16(model: AvsegModel) -> None:
    """In 8 bits a probability of 0.9999 is 1, and its logit infinite."""
    encoder = deepcopy(model.image_encoder)
    encoder.members[:, 0] = 1  # every class of ImageNet is of the first kind: it is there for sure
    last, middle = torch.rand(1, encoder.trunk.widths[3], 4, 4), torch.rand(1, encoder.trunk.widths[2], 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        tokens, seen = encoder.look(middle, last)
        facts = encoder.adapters.facts((seen + 20).sigmoid(), torch.ones(1, 65))
    assert all(torch.isfinite(x).all() for x in (tokens, seen, facts))
