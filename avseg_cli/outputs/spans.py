"""What is heard over a video, in stretches that share a name: for a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

MOST = 400  # stretches on a timeline; of more the longest are kept


class HeardSecond(NamedTuple):
    """A mask's stretch of time in seconds, what is heard most in it, and how probably where it is a kind.

    It ends where the next one begins; ``end`` counts for the last one.
    """

    since: float
    end: float
    name: str
    probability: float | None


@dataclass(frozen=True)
class Span:
    """A stretch in which the same is heard, with the mean probability where it is a kind; words are both."""

    since: float  # seconds
    end: float  # seconds
    name: str
    words: str
    probability: float | None = None


def spans(seconds: Sequence[HeardSecond], most: int | None = MOST) -> list[Span]:
    """Neighbours of the same name joined, in order of time, the longest ``most``; none where nothing has a name."""
    groups = [list(group) for _, group in groupby(seconds, key=lambda second: second.name)]
    ends = [*(group[0].since for group in groups[1:]), *(group[-1].end for group in groups[-1:])]
    joined = [_span(group, end) for group, end in zip(groups, ends, strict=True) if group[0].name]
    longest = sorted(joined, key=lambda span: span.since - span.end)[:most]
    return sorted(longest, key=lambda span: span.since)


def _span(group: list[HeardSecond], end: float) -> Span:
    name, sure = group[0].name, [second.probability for second in group if second.probability is not None]
    mean = sum(sure) / len(sure) if sure else None
    words = name if mean is None else f"{name} {mean:.2f}"
    return Span(group[0].since, end, name, words, mean)
