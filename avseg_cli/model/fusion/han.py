"""HAN: hybrid attention network (Tian et al., Unified Multisensory Perception, ECCV 2020, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import Fusion


class HAN(nn.Module):
    """Each snippet plus what it finds in its own and in the other modality over time; weights shared by both.

    f <- norm(f + self_attention(f, F_own) + cross_attention(f, F_other)), then a feed-forward layer. Pixels
    attend over time one by one; sound attends to the frames' mean.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.out_chans
        self.own = nn.MultiheadAttention(dim, 1, batch_first=True)
        self.other = nn.MultiheadAttention(dim, 1, batch_first=True)
        self.lin1, self.lin2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, pixels: Tensor, sound: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """pixels (B, T, N, C), sound (B, T, C) -> the same shapes. Positions play no part along time."""
        batch, time, count, dim = pixels.shape
        over_time = pixels.transpose(1, 2).reshape(batch * count, time, dim)
        heard = sound[:, None].expand(-1, count, -1, -1).reshape(batch * count, time, dim)
        seen = self._layer(over_time, heard).view(batch, count, time, dim).transpose(1, 2)
        return seen, self._layer(sound, pixels.mean(2))

    def _layer(self, x: Tensor, other: Tensor) -> Tensor:
        own, _ = self.own(x, x, x, need_weights=False)
        crossed, _ = self.other(x, other, other, need_weights=False)
        x = self.norm1(x + own + crossed)
        return self.norm2(x + self.lin2(F.relu(self.lin1(x))))


FUSION = Fusion(HAN)
