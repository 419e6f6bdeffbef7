"""How long a step takes, tried before the first one on a copy of what trains: of the trial nothing is left behind."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from avseg_cli.base.sharing import Sharing
from avseg_cli.data.dataset import Sample
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.training.loop import NonFiniteLoss, Setup, Trainer
from avseg_cli.training.memory import clip_of_zeros
from avseg_cli.training.run_folder import StageFolder
from avseg_cli.training.tasks import SegmentationModule, Task

STEPS = 3  # the first starts things up
ENOUGH = 20.0  # seconds, after which one step has to do


class OneBatch(Task):
    """As much of a task as a step needs."""

    skips_parameters = True

    def __init__(self, module: SegmentationModule) -> None:
        self.module = module

    def batch_count(self) -> int:
        return 1

    def batches(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        """None: they are handed to the step."""
        return iter(())

    def validate(self, sharing: Sharing) -> list[tuple[dict[str, float], float]]:
        """Nothing is judged."""
        return []

    def loss(self, module: torch.nn.Module, samples: list[Sample]) -> torch.Tensor:
        return module(samples)


def step_seconds(
    model: AvsegModel, setup: Setup, folder: StageFolder, annotated: int, cached: bool
) -> float | None:  # fmt: skip
    """Seconds of an optimizer step of a stage that learns masks from clips; None where none can be made.

    annotated and cached as in ``step_memory``. What processes tell each other is not in it. Frozen weights are shared
    with the copy, and random states are put back, so that training gives the same bytes as without.
    """
    frozen = {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
    twin = copy.deepcopy(model, frozen)
    trained = {name: parameter for name, parameter in twin.named_parameters() if parameter.requires_grad}
    batch = [clip_of_zeros(model.config, annotated, cached, setup.device)] * setup.recipe.batch_size
    with torch.random.fork_rng([setup.device] if setup.device.type == "cuda" else []):
        task = OneBatch(SegmentationModule(twin, setup.recipe.loss, setup.device))
        trainer = Trainer(task, trained, replace(setup, sharing=Sharing()), folder)
        try:
            return min(_times(trainer, batch)) * setup.accumulate
        except (NonFiniteLoss, torch.OutOfMemoryError):  # the run itself will say so
            return None


def _times(trainer: Trainer, batch: list[Sample]) -> list[float]:
    """Seconds of each step: the first is left out if it was not long."""
    times: list[float] = []
    while len(times) < STEPS and sum(times) < ENOUGH:
        began = time.perf_counter()
        trainer.step([batch])
        if trainer.setup.device.type == "cuda":
            torch.cuda.synchronize(trainer.setup.device)
        times.append(time.perf_counter() - began)
    return times[1:] or times
