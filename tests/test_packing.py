"""Which linear layers are packed: those that a trial found faster so, on this processor, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from avseg_cli.bench.parts import build_model
from avseg_cli.checkpoints import packing, trials
from avseg_cli.checkpoints.packing import RECORD, packing_pays, try_packed
from avseg_cli.doctor.examine import _packed
from avseg_cli.model.backbones import preset
from avseg_cli.model.inference import PackedLinear, can_pack, prepare_for_inference
from avseg_cli.model.linear import GeluLinear
from avseg_cli.segment.segmenter import Segmenter

needs_packing = pytest.mark.skipif(not can_pack(torch.float32), reason="this torch has no packed linear layers")


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """An empty cache folder on a processor that is faster with packed layers where they widen; the trials made."""
    made: list[tuple[int, int]] = []

    def trial(inputs: int, outputs: int, kind: type[nn.Linear], dtype: torch.dtype) -> float:
        made.append((inputs, outputs))
        return 1.4 if outputs > inputs else 0.7

    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packing, "try_packed", trial)
    packing._speedup.cache_clear()
    yield made
    packing._speedup.cache_clear()


@needs_packing
def test_each_layer_is_packed_where_that_is_faster(tried: list, tmp_path: Path) -> None:
    model = build_model(preset("tiny"), seed=0)
    dim = model.config.embed_dim
    frames, sound = torch.randn(2, 3, *(model.config.image_size,) * 2), torch.randn(2, 128)
    with torch.inference_mode():
        want = model.embed_frames(frames, sound)
    fast = Segmenter(model).model
    with torch.inference_mode():
        got = fast.embed_frames(frames, sound)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    encoder: Any = fast.image_encoder
    for block in encoder.blocks:
        layers = (block.attn.qkv, block.attn.proj, block.mlp.lin1, block.mlp.lin2)
        assert [isinstance(layer, PackedLinear) for layer in layers] == [True, False, True, False]
    assert sorted(tried) == sorted({(dim, 3 * dim), (dim, dim), (dim, 4 * dim), (4 * dim, dim)})
    kept = trials.read(tmp_path / "cache" / RECORD)
    assert len(kept) == 4 and any(name.endswith(f"float32 | {dim} > {4 * dim} GELU") for name in kept)
    facts: dict = {}
    assert _packed(fast, facts).startswith(f"; {2 * model.config.depth} of {4 * model.config.depth} linear layers")


@needs_packing
def test_a_trial_is_made_once_for_all_processes(tried: list) -> None:
    for _ in range(2):
        assert packing_pays(nn.Linear(8, 16)) and not packing_pays(nn.Linear(8, 8))
        packing._speedup.cache_clear()  # a new process begins without memory
    assert tried == [(8, 16), (8, 8)]
    assert packing_pays(GeluLinear(8, 16)) and len(tried) == 3


def test_the_default_models_kind_has_nothing_to_try(tried: list) -> None:
    model = build_model(preset("small"), seed=0)
    prepare_for_inference(model, pays=packing_pays)
    assert tried == [] and _packed(model, {}) == ""


@needs_packing
@pytest.mark.alone
def test_a_trial_measures_in_a_moment() -> None:
    assert 0.01 < try_packed(768, 3072, GeluLinear, torch.float32) < 100
