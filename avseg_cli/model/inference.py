"""What a loaded model gets before it only predicts: packed linear layers, and memory that is kept.

Both change speed alone; the tests hold every prepared model against the plain one. A prepared model
cannot be trained, copied or saved: packed weights are opaque.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.fusion import FUSIONS
from avseg_cli.model.linear import GeluLinear

# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_ROWS = 4096  # the number of tokens packed weights are laid out for; others work too


def every_layer(linear: nn.Linear) -> bool:
    """All are packed."""
    return True


def prepare_for_inference(
    model: AvsegModel, compiled: bool = False, pays: Callable[[nn.Linear], bool] = every_layer
) -> AvsegModel:
    """Make ``model`` (on its device, in its precision) ready to predict fast; returns it.

    pays: which of the encoder's linear layers are packed, where packing is possible.
    compiled: also compile the image encoder. It costs a minute or so when first called, then is kept on
    disk; it pays for jobs of thousands of frames on a GPU.
    """
    encoder: Any = model.image_encoder
    parameter = next(encoder.parameters())
    if parameter.device.type == "cpu":
        keep_freed_memory()
        if can_pack(parameter.dtype):
            for name in encoder.packed:
                pack_linears(encoder.get_submodule(name), pays)
        if encoder.channels_last:
            encoder.to(memory_format=torch.channels_last)
        if can_pack(parameter.dtype) and FUSIONS[model.config.fusion].packed:
            pack_linears(model.fusion)
    if compiled:
        encoder.compile()
    return model


class PackedLinear(nn.Module):
    """A linear layer, and the GELU or residual that follows, in oneDNN's own weight layout: (..., in) -> (..., out)."""

    def __init__(self, linear: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.activation = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if residual is not None:
            return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, *self.activation)


def pack_linears(module: nn.Module, pays: Callable[[nn.Linear], bool] = every_layer) -> None:
    """Replace linear layers inside ``module``; each original is freed as soon as it is packed."""
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            pack_linears(child, pays)
        elif pays(child):
            setattr(module, name, PackedLinear(child, isinstance(child, GeluLinear)))


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's packed linear layers for ``dtype`` on this CPU."""
    if not torch.backends.mkldnn.is_available() or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def keep_freed_memory() -> None:
    """Have malloc keep what is freed: fresh pages for every large tensor cost more than the arithmetic on it.

    Only glibc can; elsewhere nothing happens. It holds for the whole process, whose memory then stays at
    its peak.
    """
    _mallopt((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> None:
    """As malloc behaves by itself once it has seen large blocks: those over 32 MiB go back when freed."""
    _mallopt((_M_MMAP_MAX, 65536), (_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 64 << 20))


def _mallopt(*settings: tuple[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):  # other C libraries may have a mallopt that does nothing
        for name, value in settings:
            libc.mallopt(name, value)
