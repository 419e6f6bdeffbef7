"""Several masks a second, steadied: each is averaged with its neighbours, carried to where things are in its picture.

As many neighbours before as after, so that nothing lags behind.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from avseg_cli.base.grids import resized
from avseg_cli.motion.flow import carried, joined
from avseg_cli.motion.trail import Trail
from avseg_cli.outputs.results import MaskResult

REACH = 0.3  # seconds on either side at which a neighbour counts for nothing

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
                done += 1
            while done and held[done].time - held[0].time >= REACH:
                del held[0], steps[0]
                done -= 1
    for place in range(done, len(held)):
        yield _steadied(held, steps, place)


def _steadied(held: Sequence[MaskResult], steps: Sequence[Steps], place: int) -> MaskResult:
    """One result with the mean of its own logits and those of its neighbours, all drawn on its picture."""
    own = held[place]
    total, weights = own.logits.copy(), np.float32(1)
    later = zip(held[place + 1 :], (step[0] for step in steps[place:]), strict=True)
    earlier = zip(held[:place][::-1], (step[1] for step in steps[:place][::-1]), strict=True)
    for neighbours in (later, earlier):
        way: np.ndarray | None = None
        for neighbour, step in neighbours:
            weight = np.float32(1 - abs(neighbour.time - own.time) / REACH)
            if step is None or weight <= 0:
                break
            way = step if way is None else joined(way, step)
            trust = weight * resized(way[..., 2], own.logits.shape)
            total += trust * carried(neighbour.logits, way)
            weights = weights + trust
    return replace(own, logits=total / weights)
