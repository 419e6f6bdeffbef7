"""Tasks whose epochs are draws with chances of their own rather than passes over everything."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from avseg_cli.data.dataset import Sample
from avseg_cli.training.tasks import Task, TaskSetup


class DrawnTask(Task):
    """Each batch is drawn with randomness of its own, so that a resumed run draws what an unbroken one does."""

    skips_parameters = True
    setup: TaskSetup
    draws: int  # of an epoch, over all processes

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> list[Sample]:
        """So many samples."""

    def batch_count(self) -> int:
        return math.ceil(self.draws / (self.setup.recipe.batch_size * self.setup.sharing.world))

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        setup = self.setup
        for number in range(first, self.batch_count()):
            rng = np.random.default_rng((setup.seed, epoch, number * setup.sharing.world + setup.sharing.rank))
            yield self.draw(rng, setup.recipe.batch_size)
