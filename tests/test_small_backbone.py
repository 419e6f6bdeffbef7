"""The small backbone's parts against plain forms of the same: folded features, frozen trunk, what is heard and seen."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from avseg_cli.model import kinds
from avseg_cli.model.avseg import AvsegModel, steadied
from avseg_cli.model.backbones import preset
from avseg_cli.model.efficientnet import SameConv
from avseg_cli.model.inference import prepare_for_inference
from avseg_cli.model.kind_encoder import HeardAndSeen
from avseg_cli.model.mask_decoder import MaskDecoder
from avseg_cli.model.sound_effects import HIGHEST, MEL_BANDS, SoundEffectsNet, power_log_mel_examples
from avseg_cli.tracks.naming import placed


@pytest.fixture(scope="module")
def model() -> AvsegModel:
    torch.manual_seed(0)
    return AvsegModel(preset("small", image_size=128)).eval()


def test_shapes_from_pictures_and_sound_to_logits(model: AvsegModel) -> None:
    frames = torch.randint(0, 256, (5, 90, 160, 3), dtype=torch.uint8)
    sound = torch.cat([model.front_end(np.random.default_rng(i).normal(0, 0.1, 15600)) for i in range(5)])
    assert sound.shape == (5, 1, 41, 96)
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


def test_front_end_is_aisfxs_spectrogram_of_the_same_sound() -> None:
    """A tone's energy lies in its own mel band, in the strength that windows of 2048 samples at 44.1 kHz give."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(15600) / 16000)
    band = power_log_mel_examples(tone)[0, 0].mean(0).argmax()
    top = 2595 * np.log10(1 + HIGHEST / 700)
    assert abs(float(band) - (2595 * np.log10(1 + 1000 / 700) / top * (MEL_BANDS + 1) - 1)) < 1
    bins = np.abs(np.fft.rfft(tone[:742] * torch.hann_window(742).numpy(), 1024)) ** 2
    total = power_log_mel_examples(tone)[0, 0].exp().max() / ((2048 / 742) ** 2)
    assert 0.2 * bins.max() < float(total) < bins.max()


def test_loudness_does_not_change_what_is_heard_but_the_level() -> None:
    torch.manual_seed(2)
    net = SoundEffectsNet(3).eval()
    wave = np.random.default_rng(0).normal(0, 0.1, 15600)
    loud, soft = (net.features(power_log_mel_examples(wave * gain)) for gain in (1.0, 0.1))
    torch.testing.assert_close(loud[:, :-1], soft[:, :-1], rtol=2e-3, atol=2e-3)
    assert (loud - soft)[0, -1].item() == pytest.approx(1.0, abs=0.01)  # 20 dB


def test_the_adapter_marks_what_is_both_heard_and_seen() -> None:
    adapter = HeardAndSeen(2, 3, 8)
    adapter.relation.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    seen = torch.zeros(1, 3, 2, 2)
    seen[0, 0, 0, 0] = seen[0, 1, 1, 1] = 0.9
    facts = adapter.facts(seen, torch.tensor([[1.0, 0.0]]))
    assert facts[0, 0, 0, 0] > 0.8 and facts[0, 0, 1, 1] < 0.1  # the evidence
    assert facts[0, 4, 1, 1] > 0.8 and facts[0, 4, 0, 0] < 0.1  # what else is there


def test_every_sound_points_at_things_that_the_encoder_knows() -> None:
    relation, members = kinds.relation(), kinds.members()
    silent = [name for name, row in zip(kinds.HEARD, relation, strict=True) if not row.any()]
    assert silent == list(kinds.NOTHING)
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


@torch.inference_mode()
def test_where_a_kind_is_seen_and_heard_comes_with_the_embeddings(model: AvsegModel) -> None:
    model = deepcopy(model)
    model.image_encoder.adapters.relation.copy_(kinds.relation())
    model.image_encoder.usual.fill_(12.0)  # every kind is seen everywhere
    frames, sound = torch.rand(2, 3, 128, 128), torch.zeros(2, len(kinds.HEARD))
    sound[0, list(kinds.HEARD).index("dog")] = 0.9
    embeddings, maps = model.embed_and_place(frames, sound)
    assert torch.equal(embeddings, model.embed_frames(frames, sound))
    assert maps is not None and maps.shape == (2, len(kinds.SEEN), 8, 8)
    there = {kind for kind, most in zip(kinds.SEEN, maps[0].amax((1, 2)), strict=True) if most > 1e-3}
    assert there == {"dog", "wolf"} and maps[1].max() < 1e-3, "what is heard in the first, nothing in the second"
    places = placed(tuple(kinds.SEEN), maps, 2)
    assert set(places[0]) <= there and places[1] == {} and placed((), None, 2) == [{}, {}]


@torch.inference_mode()
def test_a_model_without_kinds_places_none() -> None:
    tiny = AvsegModel(preset("tiny")).eval()
    side, width = tiny.config.image_size, tiny.config.audio_dim
    assert tiny.embed_and_place(torch.rand(1, 3, side, side), torch.zeros(1, width))[1] is None
