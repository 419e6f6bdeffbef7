"""VGGish (Hershey et al., 2017): 0.96 s of log-mel -> 128 numbers, after the last ReLU, no PCA, no quantisation."""

from __future__ import annotations

from torch import Tensor, nn


def _scaled(channels: int, width: float) -> int:
    return max(8, int(channels * width))


class VGGish(nn.Module):
    """Parameter names are torchvggish's (``features.*``, ``embeddings.*``); ``width`` narrows every layer."""

    def __init__(self, embedding_dim: int = 128, width: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for step in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool"):
            if step == "pool":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(channels, _scaled(step, width), 3, padding=1), nn.ReLU()]
            channels = _scaled(step, width)
        hidden = _scaled(4096, width / 4 if width < 1 else 1.0)  # the two wide layers hold most weights
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(channels * 6 * 4, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, embedding_dim),
            nn.ReLU(),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """(B, 1, 96, 64) -> (B, embedding_dim)."""
        x = self.features(log_mel)  # (B, C, 6, 4)
        return self.embeddings(x.permute(0, 2, 3, 1).flatten(1))  # TensorFlow's channels-last order
