"""What a stage will take: steps, memory and time before the first step, and time again from the first ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from avseg_cli.base.text import counted, lasting
from avseg_cli.training.memory import StepMemory
from avseg_cli.training.recipe import Recipe

FIRST, LAST = 3, 8  # the steps that are timed; those before them start things up


def epoch_steps(clips: int, recipe: Recipe, accumulate: int, processes: int) -> int:
    """Steps of an epoch."""
    batches = math.ceil(clips / (recipe.batch_size * processes))
    return math.ceil(batches / accumulate)


def steps_in_words(steps: int, epochs: int) -> str:
    """Of an epoch, and of all, so that a time per step says how long it takes."""
    return f"{steps:,} steps an epoch, {steps * epochs:,} in all"


def time_in_words(each: float, steps: int, blocks: int | None = None) -> str:
    """What ``steps`` steps of ``each`` seconds take. blocks: as many of the encoder's were tried, if not all."""
    how = "a step was tried and takes"
    if blocks is not None:
        how = f"by a trial of {counted(blocks, 'block')} of the encoder and the others' arithmetic a step takes about"
    told = f"{each:.2g} s" if each < 60 else lasting(each)
    return f"{how} {told}: all {steps:,} about {lasting(each * steps)}, besides validation"


def memory_in_words(memory: StepMemory, recompute: bool, free: int | None) -> str:
    """What a step takes of the device, and what would be otherwise."""
    said = f"a step takes about {memory.peak(recompute) / 1e9:.1f} GB"
    if free is not None:
        said += f" of {free / 1e9:.1f} GB free"
    if memory.blocks:
        how, other = ("twice", "once") if recompute else ("once", "twice")
        said += f" with activations computed {how} ({memory.peak(not recompute) / 1e9:.1f} GB if {other}: "
        said += "`avseg train --recompute` says which)"
    return said


class Pace:
    """Tells once, after some steps, how long all of them will take, and once more after the first whole epoch."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.tell, self.clock = tell, clock
        self._steps, self._began = 0, 0.0
        self._epoch_began: float | None = None
        self._told = False

    def stepped(self, left: int) -> None:
        """A step is done and ``left`` are to come, in this epoch and all others."""
        self._steps += 1
        if self._steps == FIRST:
            self._began = self.clock()
        elif self._steps == LAST and left:
            each = (self.clock() - self._began) / (LAST - FIRST)
            self.tell(f"{each:.2g} s a step: the {left:,} steps left take about {lasting(each * left)}")

    def epoch_begins(self) -> None:
        """A whole one."""
        self._epoch_began = self.clock()

    def epoch_ended(self, left: int) -> None:
        """With its validation; ``left`` epochs are to come."""
        if self._epoch_began is not None and left and not self._told:
            self._told = True
            each = self.clock() - self._epoch_began
            said = f"an epoch takes {lasting(each)} with its validation"
            self.tell(f"{said}: the {left} left take about {lasting(each * left)}")
