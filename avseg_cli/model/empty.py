"""A model without memory: its names and shapes, to be filled with a checkpoint's tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig


def empty_model(config: ModelConfig) -> AvsegModel:
    """The model of ``config`` on the meta device: every parameter has a shape and no values."""
    with torch.device("meta"), _WithoutRandomValues():
        return AvsegModel(config)


class _WithoutRandomValues(TorchFunctionMode):
    """Skip random initialisation: on the meta device it draws nothing, but imports the compiler (seconds)."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (Tensor.normal_, Tensor.uniform_, torch.nn.init.normal_, torch.nn.init.uniform_):
            return args[0] if args else kwargs["tensor"]
        if function is torch.randn:
            return torch.empty(*args, device="meta")
        return function(*args, **(kwargs or {}))
