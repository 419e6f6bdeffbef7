"""Several masks a second, steadied: each agrees with its neighbours, carried to where things are in its picture.

What sounds is what most masks around say, each with one vote: what only a few of them show, or only a few do not, is
shorter than the second of sound that the model hears at a time, and a mistake. As many vote before as after, so that
nothing lags behind, and a switch stays where it is: fewer near the ends, and near cuts, over which nobody votes. Where
an outline lies is what the mask and the nearest say, fewer of them where things move, which are carried the less
exactly the further they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain

import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.motion.elsewhere import elsewhere
from avseg_cli.motion.flow import carried, joined, moved
from avseg_cli.motion.trail import Trail
from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.unmarked import PAUSE

REACH = 0.6  # seconds on either side in which a neighbour has a vote
OUTLINE = 0.3  # seconds at which it no longer counts for where an outline lies
RESTING = 0.5  # the same where nothing moves
DRIFT = 0.5  # cells of a way by which a place that rests may seem to have moved

Steps = tuple[np.ndarray | None, np.ndarray | None]  # the ways from a result to the next, and back; none over a cut
Neighbour = tuple[MaskResult, np.ndarray]  # with the way to it


def steadied(results: Generator[MaskResult], trail: Trail, forget: bool) -> Generator[MaskResult]:
    """The results in order of time, with steadied logits, ``REACH`` seconds late. forget: whether nobody else follows
    the trail."""
    held: list[MaskResult] = []
    steps: list[Steps] = []  # from each of them to the next
    done = 0  # of those held
    with closing(results):
        for result in results:
            if held:
                steps.append(_step(trail, held[-1].time, result.time))
                if forget:
                    trail.forget(result.time)
            held.append(result)
            while result.moment - held[done].moment >= REACH:
                yield _steadied(held, steps, done)
                held[done] = replace(held[done], frame=None, guide=None)  # it only counts as a neighbour from now on
                done += 1
            while done and held[done].moment - held[0].moment >= REACH:
                del held[0], steps[0]
                done -= 1
    for place in range(done, len(held)):
        yield _steadied(held, steps, place)


def _step(trail: Trail, start: float, end: float) -> Steps:
    ways = None if trail.cuts.between(start, end) else trail.ways(start, end)
    return (None, None) if ways is None else (ways.to_last(start), ways.to_first(end))


def _steadied(held: Sequence[MaskResult], steps: Sequence[Steps], place: int) -> MaskResult:
    """One result as it and its neighbours have it, all drawn on its picture."""
    own, level = held[place], np.float32(logit(held[place].threshold))
    if own.ruled_out == PAUSE:  # nothing is marked in a quiet second, however loud it is around
        return own
    poll = Poll(own.logits.shape)
    poll.ask(own.logits - level)
    outline, near = own.logits.copy(), np.ones_like(own.logits)
    sides = _neighbours(held, steps, place)
    even, reasons = min(map(len, sides)), Counter([own.ruled_out])
    for number, (neighbour, way) in chain(*map(enumerate, sides)):
        away = abs(neighbour.moment - own.moment)
        there = carried(neighbour.logits, way)
        if number < even:
            poll.ask(there - level)
            reasons[neighbour.ruled_out] += 1
        if away < RESTING:
            trust = resized(way[..., 2], own.logits.shape)
            rests = np.exp(-moved(way) / DRIFT**2) * np.float32(1 - away / RESTING)
            weight = trust * np.maximum(resized(rests, trust.shape), np.float32(1 - away / OUTLINE))
            outline += weight * there
            near += weight
    outline /= near
    shown = outline > level
    overruled = np.where(shown, poll.votes, -poll.votes) < 0
    agreed = np.where(elsewhere(overruled, shown & ~overruled), poll.won + level, outline)
    if (own.logits > level).any() and not (agreed > level).any():
        return replace(own, logits=agreed, ruled_out=reasons.most_common(1)[0][0])  # why those that won are empty
    return replace(own, logits=agreed)


class Poll:
    """What some masks say of every place: logits from the level, above 0 where something sounds."""

    def __init__(self, size: tuple[int, ...]) -> None:
        self.voices, self.number = np.zeros((2, 2, *size), np.float32)  # of those for, and of those against

    def ask(self, mask: np.ndarray) -> None:
        """Count a mask, once at every place: counted by the trust in its way, which is uneven, it would tear things."""
        for side, agrees in enumerate((mask > 0, mask <= 0)):
            self.voices[side] += agrees * mask
            self.number[side] += agrees

    @property
    def votes(self) -> np.ndarray:
        """Those for less those against."""
        return self.number[0] - self.number[1]

    @property
    def won(self) -> np.ndarray:
        """The mean of those on the winning side. An odd number was asked, so there is one, and it is not empty."""
        ahead = self.number[0] > self.number[1]
        return np.where(ahead, *self.voices) / np.where(ahead, *self.number)


def _neighbours(held: Sequence[MaskResult], steps: Sequence[Steps], place: int) -> tuple[list[Neighbour], ...]:
    """Those that count for a result, after and before it, the nearest first."""
    later = zip(held[place + 1 :], (step[0] for step in steps[place:]), strict=True)
    earlier = zip(held[:place][::-1], (step[1] for step in steps[:place][::-1]), strict=True)
    return tuple(list(_within_reach(held[place].moment, neighbours)) for neighbours in (later, earlier))


def _within_reach(time: float, neighbours: Iterable[tuple[MaskResult, np.ndarray | None]]) -> Iterator[Neighbour]:
    way = None
    for neighbour, step in neighbours:
        if step is None or abs(neighbour.moment - time) >= REACH:
            return
        way = step if way is None else joined(way, step)
        yield neighbour, way
