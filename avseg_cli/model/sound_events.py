"""A sound network that knows kinds of sounds: YAMNet (Google; MobileNet v1, trained on AudioSet) and a small head.

YAMNet names 521 events of AudioSet's two million films. Its word for the events of one kind (bark, yip and growl: a
dog) is weighed for every kind, and a small network adds what it learnt from recordings, which name kinds better than
films do. It reads what earlier layers of YAMNet answer too: the timbre of an instrument is there, and mostly lost in
the last one, which was trained to name events. It takes VGGish's log-mel, so clips of AVSBench need nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avseg_cli.model.efficientnet import SameConv
from avseg_cli.model.log_mel import LOG_OFFSET

EVENTS = 521  # of AudioSet's ontology
FIRST = 32  # channels of the first convolution
# (stride, channels out) of the separable convolutions
SEPARABLE = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))
NAMED = SEPARABLE[-1][1]  # channels of the last layer, by which YAMNet names events
READ = (5, 11, 13)  # separable convolutions whose answers the head reads, from 1 on
HIDDEN = 640  # 256 and 384: the shipped head is two of them, side by side
BANDS = 4  # of the first of these, whose answers still tell high from low
OFFSET = 0.001  # YAMNet's, where VGGish adds 0.01 before the logarithm
TAUGHT = 0.6  # how often what recordings taught counts while it is learnt, and how much it counts later
_LEAST = 1e-4  # probability below which an event says nothing


def yamnet_convolutions() -> nn.Sequential:
    """Log-mel with YAMNet's offset (B, 1, 96, 64) -> (B, 1024, 3, 2); batch norms folded."""
    layers: list[nn.Module] = [SameConv(1, FIRST, 3, 2), nn.ReLU(inplace=True)]
    inputs = FIRST
    for stride, outputs in SEPARABLE:
        layers += [SameConv(inputs, inputs, 3, stride, groups=inputs), nn.ReLU(inplace=True)]
        layers += [SameConv(inputs, outputs, 1), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)


class SoundEventsNet(nn.Module):
    """One second of log-mel -> what is heard: the probability of each of ``ModelConfig.kinds``."""

    members: Tensor
    FEATURES = 2 * sum(SEPARABLE[number - 1][1] for number in READ) + (BANDS - 1) * SEPARABLE[READ[0] - 1][1]

    def __init__(self, kinds: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.cnn = yamnet_convolutions()
        self.events = nn.Linear(NAMED, EVENTS)
        self.register_buffer("members", torch.zeros(EVENTS, kinds))  # which events are of which kind
        self.trust = nn.Parameter(torch.ones(kinds))  # in YAMNet's word for a kind
        self.usual = nn.Parameter(torch.zeros(kinds))
        self.lin1 = nn.Linear(self.FEATURES, hidden)
        self.drop = nn.Dropout(0.3)
        self.heard = nn.Linear(hidden, kinds)

    def forward(self, log_mel: Tensor) -> Tensor:
        """(B, 1, 96, 64) -> (B, kinds)."""
        return self.describe(self.features(log_mel))

    def describe(self, features: Tensor) -> Tensor:
        """What YAMNet's convolutions answered (B, FEATURES) -> probabilities of the kinds (B, kinds)."""
        return self.logits(features).sigmoid()

    def logits(self, features: Tensor) -> Tensor:
        """The same before the sigmoid.

        YAMNet met films, recordings are studied in games and archives: its word must do alone now and then, so that
        what these teach adds to it rather than stands in its place.
        """
        taught = self.heard(self.drop(F.relu(self.lin1(features))))
        share = (torch.rand_like(taught[:, :1]) < TAUGHT).to(taught.dtype) if self.training else TAUGHT
        return self.usual + self.trust * self.word(features) + share * taught

    def word(self, features: Tensor) -> Tensor:
        """The logit that any event of a kind is heard, as YAMNet has it; 0 for kinds that are none of its events."""
        events = self.events(features[:, :NAMED]).sigmoid().clamp(max=1 - _LEAST)
        any_of = 1 - torch.exp(torch.log1p(-events) @ self.members)
        return torch.logit(any_of, _LEAST) * self.members.any(0)

    def features(self, log_mel: Tensor) -> Tensor:
        """What convolutions answer, the last first: the mean over time and frequency, and the largest; (B, FEATURES).

        Of the earliest it is the means of bands of frequencies.
        """
        mel = (log_mel.exp() - LOG_OFFSET).clamp_min(0)
        x = torch.log(mel + OFFSET).contiguous(memory_format=torch.channels_last)
        answers, start = [], 0
        for number in READ:
            stop = 2 + 4 * number  # each separable convolution has four modules, the first convolution two
            x = self.cnn[start:stop](x)
            means = F.adaptive_avg_pool2d(x, (1, 1 if answers else BANDS))
            answers, start = [means.flatten(1), x.amax((2, 3)), *answers], stop
        return torch.cat(answers, 1)
