"""Several masks a second, steadied: each agrees with its neighbours, carried to where things are in its picture.

What sounds is what the mask itself says, unless the seconds around clearly say otherwise; where its outline lies is
what it and the nearest say, fewer of them where things move, which are carried the less exactly the further they come.
As many neighbours count before as after, so that nothing lags behind.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.motion.elsewhere import elsewhere
from avseg_cli.motion.flow import carried, joined, moved
from avseg_cli.motion.trail import Trail
from avseg_cli.outputs.logits import logit
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.unmarked import PAUSE

REACH = 1.0  # seconds on either side at which a neighbour counts for nothing
OUTLINE = 0.3  # and at which it counts for nothing in where an outline lies
RESTING = 0.5  # the same where nothing moves
DRIFT = 0.5  # cells of a way by which a place that rests may seem to have moved
SPARSE = 0.1  # seconds between the neighbours that count, beyond ``RESTING``
CLEAR = 1.0  # mean logit from the level from which others overrule a mask: around a switch they are of two minds
SURE = np.float32(3)  # logits from the level: none counts as more than that, so that one cannot outvote two

Steps = tuple[np.ndarray | None, np.ndarray | None]  # the ways from a result to the next, and back


def steadied(results: Generator[MaskResult], trail: Trail, forget: bool) -> Generator[MaskResult]:
    """The results in order of time, with steadied logits, ``REACH`` seconds late. forget: whether nobody else follows
    the trail."""
    held: list[MaskResult] = []
    steps: list[Steps] = []  # from each of them to the next
    done = 0  # of those held
    with closing(results):
        for result in results:
            if held:
                ways = trail.ways(held[-1].time, result.time)
                steps.append(
                    (None, None) if ways is None else (ways.to_last(held[-1].time), ways.to_first(result.time))
                )
                if forget:
                    trail.forget(result.time)
            held.append(result)
            while result.time - held[done].time >= REACH:
                yield _steadied(held, steps, done)
                held[done] = replace(held[done], frame=None, guide=None)  # it only counts as a neighbour from now on
                done += 1
            while done and held[done].time - held[0].time >= REACH:
                del held[0], steps[0]
                done -= 1
    for place in range(done, len(held)):
        yield _steadied(held, steps, place)


def _steadied(held: Sequence[MaskResult], steps: Sequence[Steps], place: int) -> MaskResult:
    """One result as it and its neighbours have it, all drawn on its picture."""
    own, level = held[place], np.float32(logit(held[place].threshold))
    if own.ruled_out == PAUSE:  # nothing is marked in a quiet second, however loud it is around
        return own
    voices = np.clip(own.logits - level, -SURE, SURE)
    outline, heard, near = own.logits.copy(), np.ones_like(voices), np.ones_like(voices)
    for neighbour, way in _neighbours(held, steps, place):
        away = abs(neighbour.time - own.time)
        there, trust = carried(neighbour.logits, way), resized(way[..., 2], own.logits.shape)
        weight = trust * np.float32(1 - away / REACH)
        voices += weight * np.clip(there - level, -SURE, SURE)
        heard += weight
        if away < RESTING:
            rests = np.exp(-moved(way) / DRIFT**2) * np.float32(1 - away / RESTING)
            weight = trust * np.maximum(resized(rests, trust.shape), np.float32(1 - away / OUTLINE))
            outline += weight * there
            near += weight
    voices /= heard
    outline /= near
    shown = outline > level
    overruled = (np.abs(voices) >= CLEAR) & ((voices > 0) != shown)
    return replace(own, logits=np.where(elsewhere(overruled, shown & ~overruled), voices + level, outline))


def _neighbours(
    held: Sequence[MaskResult], steps: Sequence[Steps], place: int
) -> Iterator[tuple[MaskResult, np.ndarray]]:
    """Those that count for a result, with the way to each from its picture."""
    later = zip(held[place + 1 :], (step[0] for step in steps[place:]), strict=True)
    earlier = zip(held[:place][::-1], (step[1] for step in steps[:place][::-1]), strict=True)
    for neighbours in (later, earlier):
        way, last = None, 0.0
        for neighbour, step in neighbours:
            away = abs(neighbour.time - held[place].time)
            if step is None or away >= REACH:
                break
            way = step if way is None else joined(way, step)
            if away < RESTING or away - last >= SPARSE:
                last = away
                yield neighbour, way
