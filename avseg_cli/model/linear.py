"""Linear layers that do what follows them too: one layer, because packed weights do both in one pass (inference.py)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GeluLinear(nn.Linear):
    """Linear, then GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(super().forward(x))


class ResidualLinear(nn.Linear):
    """Linear, then the residual (..., out) added, if there is one."""

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        out = super().forward(x)
        return out if residual is None else residual + out
