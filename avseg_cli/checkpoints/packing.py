"""Which linear layers are packed for a CPU: those that are faster so, which no name of a processor tells.

oneDNN's packed layers and MKL's plain ones are each the faster for some processors, shapes and precisions. A layer of
each shape is tried once, on fewer tokens than a frame has, which takes milliseconds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import nn

from avseg_cli.checkpoints.trials import fastest, outcome
from avseg_cli.model.inference import PackedLinear, can_pack
from avseg_cli.model.linear import GeluLinear

RECORD = "packing.json"
_TOKENS, _ROUNDS = 256, 4  # of one try, and tries: all of ViT-H in a second on two cores


def packing_pays(linear: nn.Linear) -> bool:
    """Whether this layer, on this processor, is faster when it is packed."""
    dtype = linear.weight.dtype
    return can_pack(dtype) and _speedup(linear.in_features, linear.out_features, type(linear), dtype) > 1


@lru_cache
def _speedup(inputs: int, outputs: int, kind: type[nn.Linear], dtype: torch.dtype) -> float:
    """How many times as fast the packed layer is as the plain one: as kept from the first time, or tried now."""
    shape = f"{inputs} > {outputs}{' GELU' if issubclass(kind, GeluLinear) else ''}"
    precision = str(dtype).removeprefix("torch.")
    return outcome(RECORD, lambda: try_packed(inputs, outputs, kind, dtype), precision, shape)


def try_packed(inputs: int, outputs: int, kind: type[nn.Linear], dtype: torch.dtype) -> float:
    """The speed of a packed layer over that of the plain one, with what follows it."""
    layer = filled(kind, inputs, outputs, dtype)
    packed = PackedLinear(layer, isinstance(layer, GeluLinear))
    tokens = torch.ones(_TOKENS, inputs, dtype=dtype)
    plain, fast = fastest((lambda: layer(tokens), lambda: packed(tokens)), _ROUNDS)
    return min(999.0, max(0.001, plain / fast))


def filled(kind: type[nn.Linear], inputs: int, outputs: int, dtype: torch.dtype) -> nn.Linear:
    """A layer of ones, made without drawing numbers."""
    layer: Any = nn.utils.skip_init(kind, inputs, outputs, dtype=dtype)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
